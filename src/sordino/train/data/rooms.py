"""Rooms: impulse responses split into what the target keeps and what is removed."""

import numpy as np

from sordino.train.data.corpus import ClipPool
from sordino.train.data.signal import FloatArray

Rng = np.random.Generator

EARLY_SECONDS = 0.050  # reflections that the target keeps: they help to understand speech
FADE_SECONDS = 0.010  # later ones are faded out over this long


def direct_sample(rir: FloatArray) -> int:
    """Sample of the direct path: the first peak within 10 dB of the greatest.

    Shape: (samples,).
    """
    size = np.abs(rir)
    first = int(np.argmax(size >= 0.316 * size.max()))
    return first + int(np.argmax(size[first : first + 16]))


def split_room(
    rir: FloatArray,
    sample_rate: int,
    length: int,
    early_seconds: float = EARLY_SECONDS,
    fade_seconds: float = FADE_SECONDS,
) -> tuple[FloatArray, FloatArray]:
    """The whole response and its early part, both without the direct path's delay.

    Both have the shape `(length,)` and are circular: the direct path is at sample 0 and what
    the resampler left before it stands at the end, so that a signal filtered with either in
    the FFT domain stays aligned with itself.

    Args:
        rir: impulse response, shape `(samples,)`.
        sample_rate: in Hz.
        length: FFT size in samples; a longer response is cut.
        early_seconds: reflections up to here after the direct path stay in the early part.
        fade_seconds: length of the fade-out behind it.
    """
    direct = direct_sample(rir)
    before = min(direct, sample_rate // 1000)
    tail = rir[direct : direct + length - before]
    early_end, fade = round(early_seconds * sample_rate), round(fade_seconds * sample_rate)
    keep = min(len(tail), early_end + fade)
    gain = np.ones(early_end + fade, np.float32)
    gain[early_end:] = np.cos(0.5 * np.pi * (np.arange(fade) + 0.5) / fade) ** 2
    whole = np.zeros(length, np.float32)
    whole[: len(tail)] = tail
    early = np.zeros(length, np.float32)
    early[:keep] = tail[:keep] * gain[:keep]
    if before:
        whole[-before:] = early[-before:] = rir[direct - before : direct]
    return whole, early


def draw_room(
    rng: Rng, rirs: ClipPool, sample_rate: int, length: int, seconds: float, early_seconds: float
) -> tuple[FloatArray, FloatArray]:
    """A random room of a pool, cut to `seconds` and split as `split_room` does."""
    response = rirs.read(rirs.draw(rng), sample_rate)[: round(seconds * sample_rate)]
    return split_room(response, sample_rate, length, early_seconds)
