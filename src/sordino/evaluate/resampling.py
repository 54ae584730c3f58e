"""Sample-rate conversion of whole clips."""

import numpy as np
import soxr

from sordino.evaluate.metrics import Signal


def resample(x: Signal, rate: int, to: int) -> Signal:
    """Return a mono clip as float32 at another rate, by soxr at its default quality (HQ)."""
    x = np.asarray(x, np.float32)
    return x if rate == to else soxr.resample(x, rate, to)
