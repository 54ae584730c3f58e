"""Handling: what shakes the microphone, its cable or the table it stands on."""

import numpy as np

from sordino.train.effects import modulate
from sordino.train.levels import FloatArray, db
from sordino.train.noises import coloured, log_uniform, overlay

Rng = np.random.Generator


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
