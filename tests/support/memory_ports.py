"""A source that plays an array and a sink that records into memory."""

import numpy as np

from sordino.live.backends.base import Sink, Source
from support.thread_port import ThreadPort


class MemorySource(ThreadPort, Source):
    """Plays an array: as fast as it is read, or in blocks of 10 ms in real time."""

    alive = True  # a test may set it to False

    def __init__(self, sound, sample_rate=48000, realtime=False):
        super().__init__("memory", sample_rate, speed=1.0 if realtime else None)
        self.stalled = False  # if set by the test, no more sound comes, and nothing reports it
        self._sound = sound

    def _run(self):
        done, size = 0, self.sample_rate // 100
        while done < len(self._sound) and not self._stopping.is_set():
            if self.clocked:
                block = self._sound[done : done + size]
                done += size
                self._wait_until(done)
                if not self.stalled:
                    self.xruns += self.buffer.write(block) < len(block)
            else:
                done += self.buffer.write(self._sound[done:])
                self._stopping.wait(0.0005)
        self.ended = True


class MemorySink(ThreadPort, Sink):
    """Records what it is given."""

    alive = True  # a test may set it to False

    def __init__(self, sample_rate=48000, realtime=False):
        super().__init__("memory", sample_rate, speed=1.0 if realtime else None)
        self._blocks = []

    @property
    def sound(self):
        return np.concatenate(self._blocks)

    def _run(self):
        done = 0
        size = self.sample_rate // 100 if self.clocked else self.sample_rate
        while not self._stopping.is_set():
            done += size
            if self.clocked:
                self._wait_until(done)
            else:
                self._stopping.wait(0.0005)
            self._pull(size)
        self._pull(self.buffer.readable)

    def _pull(self, size):
        block = np.zeros(size, np.float32)
        count = self.buffer.read(block)
        self.xruns += self.clocked and count < size
        self._blocks.append(block if self.clocked else block[:count])
