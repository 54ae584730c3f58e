"""Test signals, and how well two signals agree."""

import numpy as np
from hypothesis import strategies as st

ALL_RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)


def noise(samples, seed=0, level=0.1):
    """White noise; `samples` may be a shape."""
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def tone(frequency, rate, seconds=1.0, amplitude=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def agreement_db(reference, other):
    """Power of the reference over that of the difference, in dB; infinite if they are equal."""
    assert reference.shape == other.shape
    difference = np.sum((other.astype(np.float64) - reference) ** 2)
    if not difference:
        return np.inf
    return 10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / difference)


def level_db(x):
    return 10 * np.log10(np.mean(np.asarray(x, np.float64) ** 2) + 1e-30)


def block_sizes(largest):
    """Sizes of consecutive blocks: none, one sample, odd, large."""
    size = st.one_of(st.sampled_from([0, 1, 2]), st.integers(1, largest))
    return st.lists(size, min_size=1, max_size=8).filter(any)


def cut(x, sizes):
    """Yield blocks of these sizes along the first axis, over and over until the end."""
    start = index = 0
    while start < len(x):
        stop = start + sizes[index % len(sizes)]
        yield x[start:stop]
        start, index = stop, index + 1


def run(denoiser, x, sizes):
    """Feed a signal in blocks and return all that comes out."""
    blocks = [denoiser.feed(block) for block in cut(x, sizes)]
    return np.concatenate([*blocks, denoiser.flush()])
