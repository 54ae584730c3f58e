"""Noises that are made, not recorded: coloured noise, wind, hum, fans, clicks, calls."""

import numpy as np

from sordino.train.effects import modulate, random_eq
from sordino.train.fourier import irfft, rfft
from sordino.train.levels import FloatArray, db

Rng = np.random.Generator


def coloured(rng: Rng, samples: int, sample_rate: int, slope_db: float) -> FloatArray:
    """Gaussian noise whose spectrum changes by `slope_db` per octave above 50 Hz.

    0 is white, -3 pink, -6 brown; positive slopes hiss.  The root mean square is 0.1.
    """
    ratio = np.maximum(_frequencies(samples, sample_rate) / np.float32(50), 1)
    return _gaussian(rng, samples, ratio ** np.float32(slope_db / 6.0206))


def wind(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Wind in a microphone: low rumbling in gusts, which overload it at times, RMS 0.1.

    Turbulence is flat up to a corner between 40 and 90 Hz, and falls by 7 to 14 dB per octave
    above it; microphones hear less of it under 25 Hz.
    """
    ratio = _frequencies(samples, sample_rate) / np.float32(log_uniform(rng, 40, 90))
    gain = np.maximum(ratio, 1) ** np.float32(rng.uniform(-14, -7) / 6.0206)
    gain *= np.minimum(1, _frequencies(samples, sample_rate) / 25)
    x = _gaussian(rng, samples, gain)
    x = modulate(rng, x, sample_rate, rng.uniform(4, 10), rng.uniform(0.3, 1.2))  # gusts
    x = modulate(rng, x, sample_rate, rng.uniform(1, 4), rng.uniform(0.03, 0.12))  # flutter
    if rng.random() < 0.4:
        limit = np.float32(np.abs(x).max() * db(-rng.uniform(3, 12)))
        x = limit * np.tanh(x / limit)
    return _unit(x)


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
    """A fan: coloured noise with a random spectrum and blade tones, at times changing its speed.

    Blade tones go up to those of a laptop's blower, 30 to 60 blades at 50 to 80 turns a second.
    With the speed they slide, and the level changes by 50 dB per decade.
    """
    x = coloured(rng, samples, sample_rate, rng.uniform(-9, -1))
    shaped = rfft(x) * random_eq(rng, samples, sample_rate, 6.0)
    x = _unit(irfft(shaped, samples))
    way = np.ones(samples)
    if rng.random() < 0.4:
        seconds = np.arange(samples) / sample_rate - rng.uniform(-1, samples / sample_rate)
        way = np.clip(seconds / rng.uniform(0.5, 3.0), 0, 1)
    speed = 1 - rng.uniform(0, 0.4) * (way if rng.random() < 0.5 else 1 - way)
    if rng.random() < 0.6:
        blade = log_uniform(rng, 60, min(4000, 0.2 * sample_rate))
        angle = np.cumsum(speed) * (2 * np.pi * blade / sample_rate)
        angle = np.remainder(angle, 2 * np.pi).astype(np.float32)
        highest = min(int(rng.integers(1, 5)), int(0.45 * sample_rate / blade))
        for k in range(1, highest + 1):
            x += np.float32(0.1 * rng.uniform(0.05, 0.6) / k) * np.sin(np.float32(k) * angle)
    x *= (speed**2.5).astype(np.float32)
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
        burst = body * np.exp(-time / decay) * db(rng.uniform(-12, 0))
        overlay(x, burst.astype(np.float32), at)
    return x


def calls(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Beeps, whistles and sirens: a gliding tone with harmonics, heard again and again.

    Alarms, birds and ringing tones are of this kind, which a network easily takes for a voice.
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
        overlay(x, tone * db(rng.uniform(-4, 0)), at)
        at += int((seconds + gap * rng.uniform(0.7, 1.3)) * sample_rate)
    return x


def overlay(x: FloatArray, piece: FloatArray, at: int) -> None:
    """Add `piece` to `x` from sample `at` on, which may be negative; what juts out is cut off."""
    piece = piece[max(0, -at) : max(0, len(x) - at)]
    x[max(0, at) : max(0, at) + len(piece)] += piece


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number between two, equally likely in every octave."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _frequencies(samples: int, sample_rate: int) -> FloatArray:
    """Hz of the FFT bins."""
    return np.arange(samples // 2 + 1, dtype=np.float32) * np.float32(sample_rate / samples)


def _gaussian(rng: Rng, samples: int, gain: FloatArray) -> FloatArray:
    """Gaussian noise with this gain per FFT bin, RMS 0.1."""
    spectrum = np.empty((len(gain), 2), np.float32)
    rng.standard_normal(out=spectrum, dtype=np.float32)
    return _unit(irfft(spectrum.view(np.complex64)[:, 0] * gain, samples))


def _unit(x: FloatArray) -> FloatArray:
    """`x` as float32 with a root mean square of 0.1."""
    x = x.astype(np.float32, copy=False)
    return x * np.float32(0.1 / max(1e-9, float(np.sqrt(np.dot(x, x) / len(x)))))
