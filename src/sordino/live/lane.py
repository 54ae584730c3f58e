"""One model at work on the live sound, in step with the untouched sound beside it."""

import threading
import time
from queue import SimpleQueue

import numpy as np

from sordino.denoiser import Denoiser
from sordino.live.drift import Samples


def lag(denoiser: Denoiser) -> int:
    """Return how many samples stay inside a denoiser that is fed whole frames of 10 ms."""
    native = denoiser.sample_rate in denoiser.model.info.native_rates
    return denoiser.latency_samples - (denoiser.sample_rate // 100 if native else 0)


class DelayLine:
    """Gives back as many samples as it takes, later.

    Args:
        delay: in samples.

    >>> line = DelayLine(2)
    >>> line(np.float32([1, 2, 3])).tolist(), line(np.float32([4])).tolist()
    ([0.0, 0.0, 1.0], [2.0])
    """

    def __init__(self, delay: int) -> None:
        self._inside = np.zeros(delay, np.float32)

    def __call__(self, samples: Samples, count: int | None = None) -> Samples:
        """Take samples and return the oldest `count`; by default as many as came in."""
        count = len(samples) if count is None else count
        sound = np.concatenate([self._inside, samples])
        self._inside = sound[count:]
        return sound[:count]


class Lane:
    """A denoiser whose output is as long as its input and always the same time behind.

    Args:
        denoiser: for mono sound.
        delay: of the output in samples, at least `lag(denoiser)`.
    """

    def __init__(self, denoiser: Denoiser, delay: int) -> None:
        self.denoiser = denoiser
        self._line = DelayLine(delay)

    def process(self, block: Samples) -> Samples:
        """Take whole frames of 10 ms and return as many samples."""
        return self._line(self.denoiser.feed(block), len(block))


class Trial:
    """A lane that runs unheard in a thread of its own, to see whether the processor keeps up.

    If it is too slow, nothing of that is heard.

    Args:
        lane: fresh.
        sample_rate: in Hz.
    """

    def __init__(self, lane: Lane, sample_rate: int) -> None:
        self.lane = lane
        self.sent_seconds = 0.0
        """Of sound, that it was given."""
        self.busy_seconds = 0.0
        """That it worked on the sound that is done."""
        self.done_seconds = 0.0
        self._rate, self._ended = sample_rate, False
        self._blocks: SimpleQueue[Samples | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="trial", daemon=True)
        self._thread.start()

    @property
    def behind_seconds(self) -> float:
        """Of sound, that it has been given and not yet done."""
        return self.sent_seconds - self.done_seconds

    def send(self, block: Samples) -> None:
        """Give it the next block."""
        self.sent_seconds += len(block) / self._rate
        self._blocks.put(block)

    def end(self) -> None:
        """Let its thread end, after the block that it works on; it is not waited for."""
        self._ended = True
        self._blocks.put(None)

    def take_lane(self) -> Lane:
        """Wait until all is done and return the lane, which goes on where the trial was."""
        self._blocks.put(None)
        self._thread.join()
        return self.lane

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None and not self._ended:
            start = time.perf_counter()
            self.lane.process(block)
            self.busy_seconds += time.perf_counter() - start
            self.done_seconds += len(block) / self._rate
