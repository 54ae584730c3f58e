"""Fourier transforms in single precision, of a whole sound or frame by frame."""

from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from sordino.train.levels import FloatArray

ComplexArray = NDArray[np.complex64]


def rfft(x: FloatArray) -> ComplexArray:
    """Spectrum of real signals over the last axis, shape `(..., samples // 2 + 1)`."""
    return cast(Any, fft.rfft(x))


def irfft(spectrum: ComplexArray, size: int) -> FloatArray:
    """The real signals of `size` samples with these spectra."""
    return cast(Any, fft.irfft(spectrum, size))


def good_size(least: int) -> int:
    """The smallest size from `least` samples on that transforms fast."""
    return cast(Any, fft.next_fast_len(least, real=True))


def to_frames(x: FloatArray, hop: int) -> ComplexArray:
    """Spectra of frames of two hops, shape `(frames, hop + 1)`; square-root Hann window.

    The first frame begins a hop before the sound, the last one ends behind it.
    """
    count = -(-len(x) // hop) + 1
    padded = np.zeros((count + 1) * hop, np.float32)
    padded[hop : hop + len(x)] = x
    return rfft(sliding_window_view(padded, 2 * hop)[::hop] * _window(hop))


def from_frames(frames: ComplexArray, samples: int) -> FloatArray:
    """The sound of these frames, `samples` long; the inverse of `to_frames`."""
    hop = frames.shape[1] - 1
    pieces = irfft(frames, 2 * hop) * _window(hop)
    sound = np.asarray(pieces[:-1, hop:] + pieces[1:, :hop], np.float32)
    return sound.reshape(-1)[:samples]


def _window(hop: int) -> FloatArray:
    return np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32)
