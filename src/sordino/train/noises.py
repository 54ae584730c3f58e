"""Noises that are made, not recorded: coloured noise, hum, fans, clicks, calls, babble, typing."""

import numpy as np

from sordino.train.corpus import Pool
from sordino.train.effects import modulate, random_eq
from sordino.train.fourier import irfft, rfft
from sordino.train.levels import FloatArray, active_level, db

Rng = np.random.Generator


def coloured(rng: Rng, samples: int, sample_rate: int, slope_db: float) -> FloatArray:
    """Gaussian noise whose spectrum changes by `slope_db` per octave above 50 Hz.

    0 is white, -3 pink, -6 brown; positive slopes hiss.  The root mean square is 0.1.
    """
    bins = samples // 2 + 1
    spectrum = np.empty((bins, 2), np.float32)
    rng.standard_normal(out=spectrum, dtype=np.float32)
    frequency = np.maximum(np.arange(bins, dtype=np.float32) * (sample_rate / samples), 50.0)
    gain = (frequency / 50) ** np.float32(slope_db / 6.0206)
    return _unit(irfft(spectrum.view(np.complex64)[:, 0] * gain, samples))


def hum(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Mains hum: 50 or 60 Hz with up to 20 harmonics of falling level, RMS 0.1."""
    base = float(rng.choice([50.0, 60.0])) * rng.uniform(0.998, 1.002)
    harmonics = np.arange(1, min(int(rng.integers(3, 21)), int(0.45 * sample_rate / base)) + 1)
    levels = -harmonics * rng.uniform(0.3, 3.0) + rng.normal(0, 6, len(harmonics))
    phase = rng.uniform(0, 2 * np.pi, len(harmonics))
    angle = np.arange(samples) * (2 * np.pi * base / sample_rate)
    turn = np.exp(1j * angle).astype(np.complex64)
    now, x = np.ones(samples, np.complex64), np.zeros(samples, np.float32)
    for level, start in zip(levels, phase, strict=True):
        now *= turn  # the next harmonic: far cheaper than another sine
        x += (now * (np.exp(1j * start) * db(level)).astype(np.complex64)).real
    return _unit(x)


def fan(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """A fan: coloured noise with a random spectrum, blade tones and slow modulation."""
    x = coloured(rng, samples, sample_rate, rng.uniform(-9, -1))
    shaped = rfft(x) * random_eq(rng, samples, sample_rate, 6.0)
    x = _unit(irfft(shaped, samples))
    if rng.random() < 0.5:
        blade = rng.uniform(60, 400)
        time = np.arange(samples, dtype=np.float32) * np.float32(2 * np.pi * blade / sample_rate)
        for k in range(1, int(rng.integers(1, 5)) + 1):
            x += np.float32(0.1 * rng.uniform(0.05, 0.6) / k) * np.sin(np.float32(k) * time)
    return modulate(rng, x, sample_rate, rng.uniform(0.2, 1.5), rng.uniform(0.1, 1.0))


def clicks(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Short transients: decaying noise bursts and damped tones at random times."""
    x = np.zeros(samples, np.float32)
    for _ in range(1 + rng.poisson(1.5 * samples / sample_rate)):
        decay = log_uniform(rng, 0.001, 0.05)  # seconds
        time = np.arange(int(6 * decay * sample_rate) + 1, dtype=np.float32) / sample_rate
        if rng.random() < 0.6:
            body = rng.standard_normal(len(time), dtype=np.float32)
        else:
            body = np.sin(2 * np.pi * rng.uniform(150, 0.4 * sample_rate) * time)
        at = int(rng.integers(0, samples))
        burst = (body * np.exp(-time / decay) * db(rng.uniform(-12, 0)))[: samples - at]
        x[at : at + len(burst)] += burst.astype(np.float32)
    return x


def calls(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Beeps, whistles and cries: a gliding tone with harmonics, heard again and again.

    Animals, alarms and ringing tones are of this kind, and they are what a network most
    easily takes for a voice.
    """
    seconds = log_uniform(rng, 0.04, 0.9)
    time = np.arange(int(seconds * sample_rate) + 1, dtype=np.float32) / sample_rate
    way = time / seconds
    octaves = rng.normal(0, 0.5) * way + rng.normal(0, 0.3) * np.sin(np.pi * way)
    octaves += rng.uniform(0, 0.04) * np.sin(2 * np.pi * rng.uniform(4, 40) * time)
    frequency = np.clip(log_uniform(rng, 150, 5000) * 2**octaves, 50, 0.45 * sample_rate)
    phase = 2 * np.pi * np.cumsum(frequency) / sample_rate
    highest = max(1, int(0.45 * sample_rate / frequency.max()))
    slope = rng.uniform(1, 12)  # dB per harmonic
    tone = np.zeros(len(time), np.float32)
    for harmonic in range(1, min(highest, int(rng.integers(1, 13))) + 1):
        tone += np.sin(harmonic * phase) * db(-slope * (harmonic - 1) + rng.normal(0, 4))
    attack, release = log_uniform(rng, 0.003, 0.1), log_uniform(rng, 0.01, 0.3)
    tone *= np.minimum(1, time / attack) * np.minimum(1, (time[-1] - time) / release)
    x = np.zeros(samples, np.float32)
    gap = log_uniform(rng, 0.03, 1.5)
    at = int(rng.uniform(-seconds, seconds + gap) * sample_rate)
    while at < samples:
        piece = tone[max(0, -at) : samples - at] * db(rng.uniform(-4, 0))
        x[max(0, at) : max(0, at) + len(piece)] += piece
        at += int((seconds + gap * rng.uniform(0.7, 1.3)) * sample_rate)
    return x


def babble(
    rng: Rng, speech: Pool, avoid: str, samples: int, sample_rate: int, wide: bool
) -> FloatArray:
    """4 to 10 speakers at once, each within 4 dB of the others; none of them is `avoid`."""
    x = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(4, 11))):
        number = speech.draw(rng, wide)
        if avoid and speech.clips[number].label == avoid:
            continue
        voice = excerpt(rng, speech, number, samples, sample_rate)
        level = active_level(voice, sample_rate)
        if level > -60:
            x += voice * db(rng.uniform(-4, 0) - 25 - level)
    return x


def excerpt(rng: Rng, pool: Pool, number: int, samples: int, sample_rate: int) -> FloatArray:
    """A random stretch of a clip; one shorter than that is repeated with small pauses."""
    seconds, clip = samples / sample_rate, pool.clips[number]
    if clip.seconds >= seconds:
        start = rng.uniform(0, clip.seconds - seconds)
        return pool.read(number, sample_rate, start, samples)
    once = pool.read(number, sample_rate)
    x = np.zeros(samples, np.float32)
    at = -int(rng.integers(0, max(1, len(once))))
    while at < samples:
        first = max(0, -at)
        piece = once[first : first + samples - max(0, at)]
        x[max(0, at) : max(0, at) + len(piece)] = piece
        at += len(once) + int(rng.uniform(0.05, 0.5) * sample_rate)
    return x


def scatter(rng: Rng, pool: Pool, number: int, samples: int, sample_rate: int) -> FloatArray:
    """The short sounds of a clip at random times: single key strokes become typing.

    Sounds of other clips with the same label come in too, so that a folder of single
    strokes, one a file, makes typing as well.
    """
    kin = pool.kin(number)
    x = np.zeros(samples, np.float32)
    mean_gap = log_uniform(rng, 0.05, 0.8)  # seconds between sounds
    at = rng.exponential(mean_gap) - 0.2
    while at < samples / sample_rate:
        clip = pool.clips[number]
        start, stop = clip.events[int(rng.integers(len(clip.events)))]
        sound = pool.read(number, sample_rate, start, int((stop - start) * sample_rate))
        sound = sound * db(rng.uniform(-6, 0))
        first = round(at * sample_rate)
        piece = sound[max(0, -first) : max(0, samples - first)]
        x[max(0, first) : max(0, first) + len(piece)] += piece
        # A long sound (a bark) is heard out; strokes may overlap as they do on a keyboard.
        at += rng.exponential(mean_gap) + (stop - start if stop - start > 0.35 else 0.03)
        number = int(kin[int(rng.integers(len(kin)))])
    return x


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number between two, equally likely in every octave."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _unit(x: FloatArray) -> FloatArray:
    """`x` as float32 with a root mean square of 0.1."""
    x = x.astype(np.float32, copy=False)
    return x * np.float32(0.1 / max(1e-9, float(np.sqrt(np.dot(x, x) / len(x)))))
