"""Levels: how loud the sounding part of a signal is, and where it sounds."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

HOPS_PER_SECOND = 100  # 10 ms per frame
ACTIVE_RANGE_DB = 40.0  # a frame counts as active when it is at most this far under the loudest
SILENCE_DB = -200.0  # what digital silence is called, so that no level is infinite


def frame_power(x: FloatArray, sample_rate: int) -> FloatArray:
    """Mean square of each whole 10 ms frame, shape `(len(x) // hop,)`."""
    hop = sample_rate // HOPS_PER_SECOND
    frames = x[: len(x) // hop * hop].reshape(-1, hop)
    return np.einsum("th,th->t", frames, frames) / np.float32(hop)


def active_level(x: FloatArray, sample_rate: int, span_db: float = ACTIVE_RANGE_DB) -> float:
    """RMS level in dBFS of the frames at most `span_db` under the loudest one.

    Pauses do not count, so that a word in a long silence is as loud as one without, and
    a few key strokes are as loud as a fan.  Digital silence gives -200.
    """
    power = frame_power(x, sample_rate)
    peak = float(power.max(initial=0.0))
    if peak < 1e-19:
        return SILENCE_DB
    return float(10 * np.log10(power[power >= peak * 10 ** (-span_db / 10)].mean()))


def activity(
    x: FloatArray, sample_rate: int, span_db: float = ACTIVE_RANGE_DB, floor_dbfs: float = -85.0
) -> FloatArray:
    """1 for each 10 ms frame that sounds, else 0, shape `(len(x) // hop,)`.

    A frame sounds when it is at most `span_db` under the loudest frame and above `floor_dbfs`.
    """
    power = frame_power(x, sample_rate)
    peak = float(power.max(initial=0.0))
    threshold = max(peak * 10 ** (-span_db / 10), 10 ** (floor_dbfs / 10))
    return (power >= threshold).astype(np.float32)


def db(gain_db: float) -> np.float32:
    """Amplitude factor of a gain in dB."""
    return np.float32(10 ** (gain_db / 20))
