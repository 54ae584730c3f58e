"""Synthetic noises.

Coloured noise, wind, hum, fans, clicks and tones; engines, bursts and impacts, which are made of
many parts; handling noise, which shakes the microphone, its cable or its table; calls of animals.
Their parameters are drawn from wide ranges, so that no two are alike: what a network learns from
them is that there are more sounds than those of the recordings.

Calls of animals are made by the source-filter model: a buzz with a wandering pitch (a syrinx,
vocal folds) goes through resonances (the tract above them).  That is how speech is made, too
(Fant, "Acoustic Theory of Speech Production", 1960), so only two kinds are made that nobody takes
for a person: chirps above the pitch of any voice, and short rough barks.  Calls at the pitch of a
voice that glide and last are not noise here: they taught a network to delete shouting and children.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sordino.train.data.augment import modulate, random_eq
from sordino.train.data.signal import FloatArray, db, irfft, rfft

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


def tones(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
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
    """Add `piece` to `x` from sample `at` on, which may be negative; what juts out is cut off.

    Shape: (samples,).
    """
    piece = piece[max(0, -at) : max(0, len(x) - at)]
    start = max(0, at)
    x[start : start + len(piece)] += piece


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number between two, equally likely in every octave."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


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


PERIOD = 512  # points of a table that holds one turn of a periodic wave


def engine(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Motors, saws, drills, insects: a pulse that repeats 15 to 400 times a second, and hiss.

    The speed wanders, strokes differ in strength, and the hiss pulses with the turns.
    """
    base = log_uniform(rng, 15, 400)
    points = rng.normal(0, rng.uniform(0.005, 0.12), max(3, int(samples / sample_rate * 4)))
    wander = np.interp(np.linspace(0, len(points) - 1, samples), np.arange(len(points)), points)
    turn = rng.random() + np.cumsum(base * np.exp(wander)) / sample_rate
    x = periodic(rng, turn, (2, 9))
    strokes = int(rng.integers(1, 7))  # after so many turns the strokes repeat
    strength = np.exp(rng.normal(0, rng.uniform(0, 0.6), strokes)).astype(np.float32)
    x *= strength[turn.astype(np.int64) % strokes]
    hiss = coloured(rng, samples, sample_rate, rng.uniform(-6, 2)) * np.float32(10)
    pulse = 1 + rng.uniform(0, 1) * np.cos(2 * np.pi * turn)
    x += hiss * pulse.astype(np.float32) * db(rng.uniform(-24, 3))
    x = irfft(rfft(x) * random_eq(rng, samples, sample_rate, 6.0), samples)
    return modulate(rng, x, sample_rate, rng.uniform(0.3, 4), rng.uniform(0.1, 1.0))


def periodic(rng: Rng, turn: NDArray[np.float64], fall_db: tuple[float, float]) -> FloatArray:
    """A wave that is the same in every turn, with all harmonics under half the sample rate.

    Args:
        rng: random numbers.
        turn: how many turns are done at each sample, shape = (samples,).
        fall_db: dB per octave that the harmonics fall by, between these two.

    Returns:
        The wave with an RMS of 1 where it turns evenly.
    """
    fastest = float(np.diff(turn).max(initial=1e-3))  # turns per sample
    highest = max(1, min(PERIOD // 2 - 1, int(0.45 / fastest)))
    harmonic = np.arange(1, highest + 1)
    level = -rng.uniform(*fall_db) * np.log2(harmonic) + rng.normal(0, 5, highest)
    spectrum = np.zeros(PERIOD // 2 + 1, np.complex64)
    # Phases near 0 make a pulse, phases all over the circle a softer buzz.
    spectrum[1 : highest + 1] = 10 ** (level / 20) * np.exp(
        1j * rng.uniform(0, 2 * np.pi, highest) * rng.choice([0.2, 1.0])
    )
    table = irfft(spectrum, PERIOD)
    return table[(turn * PERIOD).astype(np.int64) % PERIOD] / np.float32(table.std() + 1e-9)


def bursts(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Coughs, sneezes, sprays, splashes, rustling: coloured noise that comes and goes."""
    gap = log_uniform(rng, 0.02, 1.2)  # mean seconds between bursts
    attack, decay = log_uniform(rng, 0.002, 0.15), log_uniform(rng, 0.01, 0.5)  # seconds
    rough = rng.uniform(15, 140) if rng.random() < 0.4 else 0.0  # Hz
    length = int((3 * attack + 5 * decay) * sample_rate) + 1
    time = np.arange(length, dtype=np.float32) / np.float32(sample_rate)
    shape = (1 - np.exp(-time / attack)) * np.exp(-time / decay)
    if rough:
        shape *= 1 + rng.uniform(0.3, 1) * np.sin(2 * np.pi * rough * time)
    kinds: list[FloatArray] = []
    for _ in range(int(rng.integers(1, 4))):
        body = coloured(rng, length, sample_rate, rng.uniform(-8, 4))
        body = irfft(rfft(body) * random_eq(rng, length, sample_rate, 9.0), length)
        kinds.append((body * shape).astype(np.float32))
    return strew(rng, kinds, samples, sample_rate, gap, quietest_db=-12)


def impacts(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Dishes, ticks, knocks, bells: things that ring when they are struck.

    Modal synthesis: a sum of decaying sines, higher ones dying sooner, and the blow itself.
    """
    longest = log_uniform(rng, 0.008, 0.35)  # seconds until the lowest mode falls by 8.7 dB
    length = int(4 * longest * sample_rate) + 1
    time = np.arange(length, dtype=np.float32) / np.float32(sample_rate)
    lowest = log_uniform(rng, 80, 0.25 * sample_rate)
    modes = np.exp(
        rng.uniform(np.log(lowest), np.log(0.45 * sample_rate), int(rng.integers(1, 16)))
    )
    damping = rng.uniform(0.2, 1.5)
    blow_length = int(log_uniform(rng, 0.001, 0.02) * sample_rate) + 1
    kinds: list[FloatArray] = []
    for _ in range(int(rng.integers(1, 4))):  # struck here or there
        body = np.zeros(length, np.float32)
        for frequency in modes:
            decay = longest * (lowest / frequency) ** damping
            tone = np.sin(np.float32(2 * np.pi * frequency) * time + np.float32(rng.uniform(0, 6)))
            body += tone * np.exp(-time / np.float32(decay)) * db(rng.normal(0, 8))
        body /= np.abs(body).max() + np.float32(1e-9)
        blow = rng.standard_normal(blow_length, dtype=np.float32) * np.hanning(blow_length)
        overlay(body, (blow * db(rng.uniform(-30, 0))).astype(np.float32), 0)
        kinds.append(body)
    gap = log_uniform(rng, 0.08, 1.5)
    if rng.random() < 0.4:
        return strew(rng, kinds, samples, sample_rate, gap, quietest_db=-3, regular=True)
    return strew(rng, kinds, samples, sample_rate, gap, quietest_db=-15)


def strew(
    rng: Rng,
    kinds: Sequence[FloatArray],
    samples: int,
    sample_rate: int,
    gap: float,
    quietest_db: float,
    regular: bool = False,
) -> FloatArray:
    """Sounds one after another, each the full sound or up to `quietest_db` under it.

    Args:
        rng: random numbers.
        kinds: which are drawn from.
        samples: length of what is returned.
        sample_rate: in Hz.
        gap: seconds from one to the next, in the mean.
        quietest_db: dB, the least level.
        regular: each comes exactly `gap` after the one before.

    Shape: each kind and the result (samples,).
    """
    x = np.zeros(samples, np.float32)
    at = rng.uniform(-0.2, 0.9) * min(gap, samples / sample_rate)
    while at < samples / sample_rate:
        piece = kinds[int(rng.integers(len(kinds)))]
        overlay(x, piece * db(rng.uniform(quietest_db, 0)), round(at * sample_rate))
        at += gap if regular else 0.02 + rng.exponential(gap)
    return x


@dataclass(frozen=True)
class Throat:
    """What one animal has to cry with.

    Attributes:
        pitch: Hz, of a call at rest.
        fall_db: dB per octave that the harmonics of its buzz fall by.
        rough: the buzz is uneven.
        breath: amplitude of its hiss; the buzz has about 1.
        resonances: Hz, width as a share of it, and height in dB of each.
    """

    pitch: float
    fall_db: float
    rough: bool
    breath: np.float32
    resonances: list[tuple[float, float, float]]

    @staticmethod
    def draw(rng: Rng, sample_rate: int) -> "Throat":
        """Any throat that is heard at a sample rate in Hz."""
        chirps = rng.random() < 0.6
        lowest, highest = (1200, min(4500, 0.15 * sample_rate)) if chirps else (120, 500)
        return Throat(
            pitch=log_uniform(rng, lowest, max(lowest, highest)),
            fall_db=rng.uniform(0, 9),
            rough=not chirps,
            breath=db(rng.uniform(-40, -6)),
            resonances=[
                (log_uniform(rng, 300, 9000), rng.uniform(0.05, 0.25), rng.uniform(6, 30))
                for _ in range(int(rng.integers(2, 7)))
            ],
        )

    def call(self, rng: Rng, seconds: float, sample_rate: int) -> FloatArray:
        """One call before the resonances, with a pitch that glides, breaks and trembles."""
        samples = int(seconds * sample_rate) + 1
        way = np.linspace(0, 1, samples)
        points = np.cumsum(rng.normal(0, [0.2, 0.35, 0.25, 0.25]))
        octaves = np.interp(way, [0, rng.uniform(0.05, 0.4), rng.uniform(0.5, 0.9), 1], points)
        octaves += rng.uniform(0, 0.05) * np.sin(2 * np.pi * rng.uniform(4, 30) * way * seconds)
        frequency = np.clip(self.pitch * 2**octaves, 40, 0.2 * sample_rate)
        turn = np.cumsum(frequency) / sample_rate
        x = periodic(rng, turn, (self.fall_db, self.fall_db + 2))
        if self.rough and rng.random() < 0.5:  # every second or third turn differs
            strength = rng.uniform(0.1, 1, int(rng.integers(2, 4))).astype(np.float32)
            x *= strength[turn.astype(np.int64) % len(strength)]
        elif self.rough:  # it flutters
            x = modulate(rng, x, sample_rate, rng.uniform(2, 8), log_uniform(rng, 0.01, 0.05))
        x += coloured(rng, samples, sample_rate, rng.uniform(-4, 2)) * (
            np.float32(10) * self.breath
        )
        attack, release = rng.uniform(0.02, 0.4), rng.uniform(0.05, 0.5)
        shape = np.minimum(1, np.minimum(way / attack, (1 - way) / release))
        return x * shape.astype(np.float32)

    def resound(self, x: FloatArray, sample_rate: int) -> FloatArray:
        """`x` through the resonances.

        Shape: (samples,).
        """
        spectrum = rfft(x)
        hz = np.linspace(0, sample_rate / 2, len(spectrum), dtype=np.float32)
        gain_db = np.zeros(len(spectrum), np.float32)
        for centre, width, height in self.resonances:
            gain_db += height / (1 + ((hz / centre - 1) / width) ** 2)
        return irfft(spectrum * np.asarray(10 ** (gain_db / 20), np.float32), len(x))


def animals(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Chirping or barking: phrases of 1 to 5 calls, again and again.

    Args:
        rng: random numbers.
        samples: length.
        sample_rate: in Hz.
    """
    throat = Throat.draw(rng, sample_rate)
    seconds = log_uniform(rng, 0.04, 0.2 if throat.rough else 0.5)  # of a call
    phrases: list[FloatArray] = []
    for _ in range(int(rng.integers(1, 4))):
        parts: list[FloatArray] = []
        for _ in range(int(rng.integers(1, 6))):
            call = throat.call(rng, seconds * rng.uniform(0.5, 1.5), sample_rate)
            silence = np.zeros(int(rng.uniform(0, 0.15) * sample_rate), np.float32)
            parts += [silence, call * db(rng.uniform(-8, 0))]
        phrases.append(throat.resound(np.concatenate(parts), sample_rate))
    length = float(np.mean([len(phrase) for phrase in phrases])) / sample_rate
    return strew(rng, phrases, samples, sample_rate, length + log_uniform(rng, 0.1, 2), -10)


def thump(rng: Rng, sample_rate: int) -> FloatArray:
    """One knock: a resonance of 40 to 180 Hz that dies away, peak about 1."""
    decay, attack = log_uniform(rng, 0.010, 0.060), rng.uniform(0.001, 0.004)  # seconds
    time = _time(6 * decay, sample_rate)
    frequency = log_uniform(rng, 40, 180)
    # The resonance sinks a little while it dies away, as that of a loose table does.
    phase = 2 * np.pi * frequency * (time + 0.3 * decay * (1 - np.exp(-time / decay)))
    return (np.sin(phase) * np.exp(-time / decay) * np.minimum(1, time / attack)).astype(np.float32)


def handling(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """A microphone that is touched: thumps, and rubs of fingers, cloth or cable."""
    seconds = samples / sample_rate
    envelope = np.zeros(samples, np.float32)
    for _ in range(rng.poisson(0.8 * seconds)):
        size = int(log_uniform(rng, 0.06, 0.7) * sample_rate)
        rise = np.sin(np.pi * (np.arange(size, dtype=np.float32) + 0.5) / size) ** 2
        overlay(envelope, rise * db(rng.uniform(-15, 0)), int(rng.integers(-size, samples)))
    rub = coloured(rng, samples, sample_rate, rng.uniform(-6, -1)) * db(rng.uniform(0, 12))
    # Friction sticks and slips.
    x = modulate(rng, rub, sample_rate, rng.uniform(3, 8), rng.uniform(0.02, 0.06)) * envelope
    for _ in range(1 + rng.poisson(1.2 * seconds)):
        knock = thump(rng, sample_rate) * db(rng.uniform(-18, 0))
        overlay(x, knock, int(rng.integers(0, samples)))
    return x


def keyboard(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Typing close to the microphone: every stroke clicks, shakes the table, and clicks again.

    A keyboard has its own resonances, table and typing speed; strokes differ a little.
    """
    tones = 2 ** rng.uniform(-0.4, 2.0, 3) * 1000  # Hz
    decays = 2 ** rng.uniform(-1.0, 1.5, 3) * 0.003  # seconds
    shake = db(rng.uniform(-24, -3))
    gap = log_uniform(rng, 0.08, 0.30)  # seconds between strokes
    knock = thump(rng, sample_rate) * shake
    x = np.zeros(samples, np.float32)
    at = rng.uniform(-gap, gap)
    while at < samples / sample_rate:
        loud = db(rng.uniform(-9, 0))
        overlay(x, _click(rng, tones, decays, sample_rate) * loud, round(at * sample_rate))
        overlay(x, knock * loud, round(at * sample_rate))
        release = round((at + rng.uniform(0.05, 0.12)) * sample_rate)
        overlay(x, _click(rng, tones, decays, sample_rate) * (loud * db(-8)), release)
        at += gap * float(np.exp(rng.normal(0, 0.35)))
        if rng.random() < 0.1:  # a word ends
            at += rng.uniform(0.2, 0.8)
    return x


def _click(rng: Rng, tones: np.ndarray, decays: np.ndarray, sample_rate: int) -> FloatArray:
    """The sound of one key: resonances in Hz that die away, over a burst of noise."""
    time = _time(6 * float(decays.max()), sample_rate)
    frequency = np.minimum(tones * np.exp(rng.normal(0, 0.06, 3)), 0.45 * sample_rate)
    phase = 2 * np.pi * frequency[:, None] * time + rng.uniform(0, 2 * np.pi, (3, 1))
    ring = (np.sin(phase) * np.exp(-time / decays[:, None])).sum(0) / 3
    burst = rng.standard_normal(len(time), dtype=np.float32) * np.exp(-time / 0.0015)
    return (ring + 0.5 * burst).astype(np.float32)


def _time(seconds: float, sample_rate: int) -> FloatArray:
    return np.arange(int(seconds * sample_rate) + 1, dtype=np.float32) / np.float32(sample_rate)
