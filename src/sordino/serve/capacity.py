"""How many live streams the machine can hold, and who is let in."""

from collections import deque
from time import perf_counter

import numpy as np

from sordino.model import Model
from sordino.serve.denoiser import HeldDenoiser
from sordino.serve.errors import Overloaded
from sordino.spectrum import FRAMES_PER_SECOND, hop, native_rate

BUDGET_SECONDS = 0.010  # a hop must be answered before the next one comes
HEADROOM = 0.5  # share of the threads that inference may take: sockets need the rest
LATE_SHARE = 0.01  # of the blocks of the last seconds; more than that closes the door
MEMORY_SECONDS = 5
FEWEST_BLOCKS = 100  # that say anything about a percentile
_BATCH, _WARM, _ROUNDS = 8, 3, 12


class Share:
    """What a stream takes of the machine, until it gives it back."""

    def __init__(self, capacity: "Capacity", load: float) -> None:
        self._capacity = capacity
        self._load = load

    def give_back(self) -> None:
        """Give it back; a second call does nothing."""
        if self._load:
            self._capacity.release(self._load)
            self._load = 0.0


class Capacity:
    """Room for live streams, by measure: what a hop costs on this machine.

    Args:
        threads: of inference.
        max_streams: most streams, whatever was measured; None is no limit.
    """

    def __init__(self, threads: int, max_streams: int | None = None) -> None:
        self._room = threads * HEADROOM
        self._max_streams = max_streams
        self._costs: dict[tuple[str, int], float] = {}
        self._taken = 0.0
        self._streams = 0
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=MEMORY_SECONDS)

    @property
    def load(self) -> float:
        """Share of the room that is taken, 0 to 1."""
        loads = [self._taken / self._room]
        if self._max_streams:
            loads.append(self._streams / self._max_streams)
        return max(loads)

    @property
    def late_share(self) -> float:
        """Share of the blocks of the last seconds that were late."""
        since = int(perf_counter()) - MEMORY_SECONDS
        recent = [(count, late) for second, count, late in self._seconds if second > since]
        total = sum(count for count, _ in recent)
        return sum(late for _, late in recent) / total if total >= FEWEST_BLOCKS else 0.0

    def streams(self, model: Model, sample_rate: int) -> int | None:
        """Return how many streams of a rate in Hz there is room for; None is not known."""
        cost = self._cost(model, sample_rate)
        measured = int(self._room / cost) if cost else None
        known = [each for each in (measured, self._max_streams) if each is not None]
        return min(known, default=None)

    def measure(self, model: Model) -> None:
        """Measure what a hop of one channel costs at each of the model's rates."""
        for rate in model.info.native_rates:
            noise = np.random.default_rng(0).standard_normal(hop(rate)).astype(np.float32)
            block = 0.01 * noise
            denoisers = [HeldDenoiser(model, rate) for _ in range(_BATCH)]
            times: list[float] = []
            for _ in range(_WARM + _ROUNDS):
                begin = perf_counter()
                for each in denoisers:
                    each.hold(block)
                HeldDenoiser.run(denoisers)
                for each in denoisers:
                    each.take()
                times.append(perf_counter() - begin)
            seconds = float(np.median(times[_WARM:])) / _BATCH
            self._costs[model.sha256, rate] = seconds * FRAMES_PER_SECOND

    def check(self) -> None:
        """Refuse if there is certainly no room for one more.

        Raises:
            Overloaded: there is not.
        """
        if self._max_streams is not None and self._streams >= self._max_streams:
            raise Overloaded(f"all {self._max_streams} places for live streams are taken")
        if self._taken >= self._room:
            raise Overloaded("the processors are fully taken by live streams")
        if self.late_share > LATE_SHARE:
            raise Overloaded("the machine is too busy to serve one more stream in time")

    def take(self, model: Model, sample_rate: int, channels: int) -> Share:
        """Take room for a stream.

        Raises:
            Overloaded: there is none.
        """
        self.check()
        load = channels * self._cost(model, sample_rate)
        if self._taken + load > self._room:
            raise Overloaded(
                f"no room for {channels} channel(s) at {sample_rate} Hz: the processors are taken "
                "by other live streams"
            )
        self._taken += load
        self._streams += 1
        return Share(self, load or 1e-9)  # not measured: only counted

    def release(self, load: float) -> None:
        """Take back what a stream had."""
        self._taken = max(0.0, self._taken - load)
        self._streams -= 1

    def report(self, seconds: float) -> None:
        """Note how long a block took that came in time."""
        second, late = int(perf_counter()), int(seconds > BUDGET_SECONDS)
        if self._seconds and self._seconds[-1][0] == second:
            _, count, lates = self._seconds[-1]
            self._seconds[-1] = (second, count + 1, lates + late)
        else:
            self._seconds.append((second, 1, late))

    def _cost(self, model: Model, sample_rate: int) -> float:
        """Share of a thread that one channel takes, inference only."""
        native = native_rate(sample_rate, model.info.native_rates)
        return self._costs.get((model.sha256, native), 0.0)
