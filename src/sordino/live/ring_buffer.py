"""A ring buffer between two threads: one writes, one reads, neither waits for the other."""

import threading
import time
from collections.abc import Callable

import numpy as np

from sordino.arrays import Mono


class RingBuffer:
    """Lock-free, of fixed size, for one writing and one reading thread.

    Each side changes its own counter only, and only after its samples have been copied; the
    other side reads that counter once and so sees a state that was true a moment ago, which
    errs to the safe side.  Nothing is allocated after construction.

    Args:
        capacity: samples that it can hold.
        clock: what time it is, in seconds.

    >>> buffer = RingBuffer(4)
    >>> buffer.write(np.arange(6, dtype=np.float32))
    4
    >>> out = np.empty(3, np.float32)
    >>> buffer.read(out), out.tolist(), buffer.readable
    (3, [0.0, 1.0, 2.0], 1)
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.capacity = capacity
        self.written = 0
        """Samples ever written; only the writer changes it."""
        self.taken = 0
        """Samples ever read or skipped; only the reader changes it."""
        self.requested = 0
        """Samples that the reader requested the last time; the size of its blocks."""
        self.reads = self.wanted = 0
        """How often the reader has read, and how many samples it requested in all."""
        self.threshold = 1
        """Samples that must wait for a write to set `arrived`; only the reader changes it."""
        self.written_at = self.taken_at = clock()
        """When that last happened.  A device reads or writes in step with its own clock."""
        self.arrived = threading.Event()
        """Set by a write; a reader that clears it before it reads can sleep until the next."""
        self._clock = clock
        self._data = np.zeros(capacity, np.float32)

    @property
    def readable(self) -> int:
        """Samples that wait to be read."""
        return self.written - self.taken

    @property
    def writable(self) -> int:
        """Samples that fit in."""
        return self.capacity - self.readable

    def write(self, samples: Mono) -> int:
        """Append samples, shape = (samples,), as far as there is room; return how many went in.

        For the writing thread only.
        """
        count = min(len(samples), self.writable)
        start = self.written % self.capacity
        first = min(count, self.capacity - start)
        self._data[start : start + first] = samples[:first]
        self._data[: count - first] = samples[first:count]
        self.written += count
        self.written_at = self._clock()
        if self.readable >= self.threshold:
            self.arrived.set()
        return count

    def read(self, out: Mono) -> int:
        """Move samples to the beginning of `out`, as many as there are; return how many.

        For the reading thread only.
        """
        self.requested = len(out)
        count = min(self.requested, self.readable)
        start = self.taken % self.capacity
        first = min(count, self.capacity - start)
        out[:first] = self._data[start : start + first]
        out[first:count] = self._data[: count - first]
        self.taken += count
        self.reads += 1
        self.wanted += self.requested
        self.taken_at = self._clock()
        return count

    def skip(self, count: int) -> int:
        """Forget the oldest samples, as many as there are; return how many.

        For the reading thread only.
        """
        count = min(count, self.readable)
        self.taken += count
        return count
