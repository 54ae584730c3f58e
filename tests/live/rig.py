"""Ports in memory, on the test's own account: what goes in, what came out."""

import threading
import time

import numpy as np

from sordino.live.ports import Sink, Source
from sordino.live.ring import Ring


class MemorySource(Source):
    """Gives an array: as fast as it is taken, or in blocks of 10 ms in real time."""

    name, latency, alive = "memory", 0.0, True

    def __init__(self, sound, sample_rate=48000, realtime=False):
        self.sample_rate, self.clocked = sample_rate, realtime
        self.ring = Ring(sample_rate)
        self.stalled = False  # if set by the test, no more sound comes, and no word of it
        self._sound = sound
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def open(self):
        self._thread.start()

    def close(self):
        self._stopping.set()
        self._thread.join()

    def _run(self):
        begun, done = time.perf_counter(), 0
        while done < len(self._sound) and not self._stopping.is_set():
            if self.clocked:
                size = self.sample_rate // 100
                due = begun + (done + size) / self.sample_rate
                self._stopping.wait(max(0, due - time.perf_counter()))
                block = self._sound[done : done + size]
                done += size
                if not self.stalled:
                    self.xruns += self.ring.write(block) < len(block)
            else:
                done += self.ring.write(self._sound[done:])
                self._stopping.wait(0.0005)
        self.ended = True


class MemorySink(Sink):
    """Keeps what it is given."""

    name, latency, alive = "memory", 0.0, True

    def __init__(self, sample_rate=48000, realtime=False):
        self.sample_rate, self.clocked = sample_rate, realtime
        self.ring = Ring(sample_rate)
        self._blocks = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def open(self):
        self._thread.start()

    def close(self):
        self._stopping.set()
        self._thread.join()

    @property
    def sound(self):
        return np.concatenate(self._blocks)

    def _run(self):
        begun, done = time.perf_counter(), 0
        size = self.sample_rate // 100 if self.clocked else self.sample_rate
        while not self._stopping.is_set():
            if self.clocked:
                due = begun + (done + size) / self.sample_rate
                self._stopping.wait(max(0, due - time.perf_counter()))
            else:
                self._stopping.wait(0.0005)
            self._pull(size)
            done += size
        self._pull(self.ring.readable)

    def _pull(self, size):
        block = np.zeros(size, np.float32)
        count = self.ring.read(block)
        self.xruns += self.clocked and count < size
        self._blocks.append(block if self.clocked else block[:count])
