"""Cries: what animals and infants do with a throat, made by the source-filter model.

A buzz with a wandering pitch (the vocal folds, a syrinx) goes through resonances (the tract
above them).  That is how speech is made, too (Fant, "Acoustic Theory of Speech Production",
1960); pitch, glides, roughness and resonances are drawn from ranges that leave speech behind.
"""

import numpy as np

from sordino.train.effects import modulate
from sordino.train.fourier import irfft, rfft
from sordino.train.levels import FloatArray, db
from sordino.train.noises import coloured, log_uniform, overlay
from sordino.train.textures import periodic, strew

Rng = np.random.Generator


def cries(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Crowing, barking, mewing, bleating, wailing: phrases of 1 to 5 calls, again and again.

    Args:
        rng: random numbers.
        samples: length.
        sample_rate: in Hz.
    """
    pitch = log_uniform(rng, 120, min(2000, 0.1 * sample_rate))  # Hz
    fall = rng.uniform(0, 9)  # dB per octave
    rough = rng.random() < 0.4
    breath = db(rng.uniform(-40, -6))
    resonances = _resonances(rng)
    seconds = log_uniform(rng, 0.06, 0.7)
    phrases = []
    for _ in range(int(rng.integers(1, 4))):
        calls = [
            _call(rng, seconds * rng.uniform(0.5, 1.5), sample_rate, pitch, fall, rough, breath)
            for _ in range(int(rng.integers(1, 6)))
        ]
        gaps = rng.uniform(0, 0.15, len(calls)) * sample_rate
        starts = np.cumsum([gap + len(call) for gap, call in zip(gaps, calls, strict=True)])
        phrase = np.zeros(int(starts[-1]) + 1, np.float32)
        for call, end in zip(calls, starts, strict=True):
            overlay(phrase, call * db(rng.uniform(-8, 0)), int(end) - len(call))
        phrases.append(_through(phrase, resonances, sample_rate))
    length = np.mean([len(phrase) for phrase in phrases]) / sample_rate
    return strew(rng, phrases, samples, sample_rate, float(length) + log_uniform(rng, 0.1, 2), -10)


def _call(
    rng: Rng,
    seconds: float,
    sample_rate: int,
    pitch: float,
    fall: float,
    rough: bool,
    breath: np.float32,
) -> FloatArray:
    """One call, of an RMS of about 1, with a pitch that glides, breaks and trembles."""
    samples = int(seconds * sample_rate) + 1
    way = np.linspace(0, 1, samples)
    points = np.cumsum(rng.normal(0, [0.2, 0.35, 0.25, 0.25]))
    octaves = np.interp(way, [0, rng.uniform(0.05, 0.4), rng.uniform(0.5, 0.9), 1], points)
    octaves += rng.uniform(0, 0.05) * np.sin(2 * np.pi * rng.uniform(4, 30) * way * seconds)
    frequency = np.clip(pitch * 2**octaves, 40, 0.2 * sample_rate)
    turn = np.cumsum(frequency) / sample_rate
    x = periodic(rng, turn, (fall, fall + 2))
    if rough:  # every second or third turn differs, or the throat flutters
        if rng.random() < 0.5:
            strength = rng.uniform(0.1, 1, int(rng.integers(2, 4))).astype(np.float32)
            x *= strength[turn.astype(np.int64) % len(strength)]
        else:
            x = modulate(rng, x, sample_rate, rng.uniform(2, 8), log_uniform(rng, 0.01, 0.05))
    x += coloured(rng, samples, sample_rate, rng.uniform(-4, 2)) * np.float32(10) * breath
    attack, release = rng.uniform(0.02, 0.4), rng.uniform(0.05, 0.5)
    return x * np.minimum(1, np.minimum(way / attack, (1 - way) / release)).astype(np.float32)


def _resonances(rng: Rng) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Hz, width in Hz and height in dB of the resonances of one throat."""
    count = int(rng.integers(2, 7))
    frequency = np.exp(rng.uniform(np.log(300), np.log(9000), count)).astype(np.float32)
    width = frequency * rng.uniform(0.05, 0.25, count).astype(np.float32)
    return frequency, width, rng.uniform(6, 30, count).astype(np.float32)


def _through(
    x: FloatArray, resonances: tuple[FloatArray, FloatArray, FloatArray], sample_rate: int
) -> FloatArray:
    """`x` through the resonances of a throat."""
    spectrum = rfft(x)
    hz = np.linspace(0, sample_rate / 2, len(spectrum), dtype=np.float32)
    gain_db = np.zeros(len(spectrum), np.float32)
    for frequency, width, height in zip(*resonances, strict=True):
        gain_db += height / (1 + ((hz - frequency) / width) ** 2)
    return irfft(spectrum * np.asarray(10 ** (gain_db / 20), np.float32), len(x))
