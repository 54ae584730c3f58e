"""Sample-rate conversion of a stream, by soxr.

soxr's filters are linear-phase and it takes their delay out itself: sample n of the output
lies at time n / out_rate, to within a nanosecond.  What remains is waiting time, because it
works in blocks; `Resampler.latency` is the longest such wait, measured.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]

from sordino.arrays import Planar

QUALITY = "HQ"  # 20 bit; passband to 0.91 of the lower Nyquist frequency


def _stream(in_rate: int, out_rate: int, channels: int) -> Any:
    return soxr.ResampleStream(in_rate, out_rate, channels, dtype="float32", quality=QUALITY)


class Resampler:
    """Converts blocks of any size from one sample rate to another.

    What lies above half of the lower rate is removed.

    Args:
        in_rate, out_rate: sample rates in Hz.
        channels: channels of every block.

    >>> up = Resampler(44100, 48000, channels=1)
    >>> up.process(np.zeros((1, 4410), "f4")).shape[1] + up.flush().shape[1]
    4800
    """

    def __init__(self, in_rate: int, out_rate: int, channels: int) -> None:
        self._stream = _stream(in_rate, out_rate, channels)
        self._channels = channels
        self.latency = _longest_wait(in_rate, out_rate)
        """The longest that a sample waits inside, in seconds."""

    def process(self, samples: Planar) -> Planar:
        """Take (channels, n) and return (channels, m), the samples that are ready."""
        return self._convert(samples, last=False)

    def flush(self) -> Planar:
        """Return what is still inside; the sound has ended, and nothing may follow."""
        return self._convert(np.zeros((self._channels, 0), np.float32), last=True)

    def _convert(self, samples: Planar, last: bool) -> Planar:
        converted: Planar = self._stream.resample_chunk(np.ascontiguousarray(samples.T), last)
        return converted.T


@lru_cache
def _longest_wait(in_rate: int, out_rate: int) -> float:
    """Run two seconds of silence through soxr and return its longest wait in seconds."""
    stream = _stream(in_rate, out_rate, 1)
    step = max(1, in_rate // 1000)
    silence = np.zeros(step, np.float32)
    taken = given = 0
    wait = 0.0
    while taken < 2 * in_rate:
        taken += step
        wait = max(wait, taken / in_rate - given / out_rate)
        given += len(stream.resample_chunk(silence))
    return wait
