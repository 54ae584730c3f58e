"""Fourier transforms in single precision, which NumPy's own has only since version 2."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from sordino.train.levels import FloatArray

ComplexArray = NDArray[np.complex64]


def rfft(x: FloatArray) -> ComplexArray:
    """Spectrum of a real signal, shape `(len(x) // 2 + 1,)`."""
    return cast(Any, fft.rfft(x))


def irfft(spectrum: ComplexArray, size: int) -> FloatArray:
    """The real signal of `size` samples with this spectrum."""
    return cast(Any, fft.irfft(spectrum, size))


def good_size(least: int) -> int:
    """The smallest size from `least` samples on that transforms fast."""
    return cast(Any, fft.next_fast_len(least, real=True))
