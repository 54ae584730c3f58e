"""Noises that are made of many parts: engines, bursts of noise, things that are struck.

Their parameters are drawn from wide ranges, so that no two are alike and none is any real
thing in particular: what a network learns from them is that there are more sounds than it
has heard.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sordino.train.effects import modulate, random_eq
from sordino.train.fourier import irfft, rfft
from sordino.train.levels import FloatArray, db
from sordino.train.noises import coloured, log_uniform, overlay

Rng = np.random.Generator

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
    kinds = []
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
    kinds = []
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
    """
    x = np.zeros(samples, np.float32)
    at = rng.uniform(-0.2, 0.9) * min(gap, samples / sample_rate)
    while at < samples / sample_rate:
        piece = kinds[int(rng.integers(len(kinds)))]
        overlay(x, piece * db(rng.uniform(quietest_db, 0)), round(at * sample_rate))
        at += gap if regular else 0.02 + rng.exponential(gap)
    return x
