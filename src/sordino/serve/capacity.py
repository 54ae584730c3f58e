"""How many live streams the machine can hold, and who is let in."""

from collections import deque
from dataclasses import dataclass
from time import perf_counter, thread_time

import numpy as np
from numpy.typing import NDArray

from sordino.denoiser import Denoiser
from sordino.model import Model
from sordino.serve.errors import Overloaded
from sordino.stft import FRAMES_PER_SECOND, hop, native_rate

BUDGET_SECONDS = 0.010  # a hop must be answered before the next one comes
HEADROOM = 0.5  # in use, caches are colder and batches smaller than in a measurement
SOCKET_RATIO = 2.5  # what a hop's two messages cost, beside what its spectra cost; measured
MEMORY_SECONDS = 5
FEWEST_BLOCKS = 100  # that say anything about a percentile
_BATCH, _WARM, _ROUNDS = 8, 3, 12


@dataclass(frozen=True)
class Cost:
    """What a stream takes, as shares of one processor.

    Args:
        network: of inference, which any number of threads do side by side.
        interpreter: of Python, which one thread at a time does.
    """

    network: float = 0.0
    interpreter: float = 0.0

    def __mul__(self, count: float) -> "Cost":
        return Cost(self.network * count, self.interpreter * count)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.network + other.network, self.interpreter + other.interpreter)

    def load(self, threads: int) -> float:
        """Return the share of the room that it takes on so many processors."""
        busy = (self.network + self.interpreter) / threads
        return max(busy, self.interpreter) / HEADROOM


class Share:
    """What a stream takes of the machine, until it gives it back."""

    def __init__(self, capacity: "Capacity", cost: Cost) -> None:
        self._capacity = capacity
        self._cost: Cost | None = cost

    def give_back(self) -> None:
        """Give it back; a second call does nothing."""
        if self._cost is not None:
            self._capacity.release(self._cost)
            self._cost = None


class Capacity:
    """Room for live streams, by measure: what a hop costs on this machine.

    Args:
        threads: of inference.
        max_streams: most streams, whatever was measured; None is no limit.
        late_share: share of late blocks that closes the door.
    """

    def __init__(
        self, threads: int, max_streams: int | None = None, late_share: float = 0.01
    ) -> None:
        self._threads = threads
        self._max_streams = max_streams
        self._late_share = late_share
        self._costs: dict[tuple[str, int], Cost] = {}
        self._taken = Cost()
        self._streams = 0
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=MEMORY_SECONDS)

    @property
    def load(self) -> float:
        """Share of the room that is taken, 0 to 1."""
        counted = self._streams / self._max_streams if self._max_streams else 0.0
        return max(counted, self._taken.load(self._threads))

    @property
    def late_share(self) -> float:
        """Share of the blocks of the last seconds that were late."""
        since = int(perf_counter()) - MEMORY_SECONDS
        recent = [(count, late) for second, count, late in self._seconds if second > since]
        total = sum(count for count, _ in recent)
        return sum(late for _, late in recent) / total if total >= FEWEST_BLOCKS else 0.0

    def measure(self, model: Model) -> None:
        """Measure what a hop of one channel costs at each of the model's rates."""
        for rate in model.info.native_rates:
            noise = np.random.default_rng(0).standard_normal(hop(rate)).astype(np.float32)
            denoisers = [Denoiser(model, rate) for _ in range(_BATCH)]
            times = np.array([_timed(denoisers, 0.01 * noise) for _ in range(_WARM + _ROUNDS)])
            spectra, network = np.median(times[_WARM:], axis=0) / _BATCH * FRAMES_PER_SECOND
            cost = Cost(float(network), float(spectra) * (1 + SOCKET_RATIO))
            self._costs[model.sha256, rate] = cost

    def check(self) -> None:
        """Refuse if there is certainly no room for one more.

        Raises:
            Overloaded: there is not.
        """
        if self._max_streams is not None and self._streams >= self._max_streams:
            raise Overloaded(f"all {self._max_streams} places for live streams are taken")
        if self.load >= 1:
            raise Overloaded("the processors are fully taken by live streams")
        if self.late_share > self._late_share:
            raise Overloaded("the machine is too busy to serve one more stream in time")

    def take(self, model: Model, sample_rate: int, channels: int) -> Share:
        """Take room for a stream.

        Raises:
            Overloaded: there is none.
        """
        self.check()
        cost = self._cost(model, sample_rate, channels)
        if (self._taken + cost).load(self._threads) > 1:
            raise Overloaded(
                f"no room for {channels} channel(s) at {sample_rate} Hz: the processors are taken "
                "by other live streams"
            )
        self._taken += cost
        self._streams += 1
        return Share(self, cost)

    def load_of(self, model: Model, sample_rate: int, channels: int) -> float:
        """Return the share of the room that a stream takes; 0 if that was not measured."""
        return self._cost(model, sample_rate, channels).load(self._threads)

    def release(self, cost: Cost) -> None:
        """Take back what a stream had."""
        self._streams -= 1
        self._taken = self._taken + cost * -1 if self._streams else Cost()

    def report(self, seconds: float) -> None:
        """Note how long a block took that came in time."""
        second, late = int(perf_counter()), int(seconds > BUDGET_SECONDS)
        if self._seconds and self._seconds[-1][0] == second:
            _, count, lates = self._seconds[-1]
            self._seconds[-1] = (second, count + 1, lates + late)
        else:
            self._seconds.append((second, 1, late))

    def _cost(self, model: Model, sample_rate: int, channels: int) -> Cost:
        native = native_rate(sample_rate, model.info.native_rates)
        return self._costs.get((model.sha256, native), Cost()) * channels


def _timed(denoisers: list[Denoiser], block: NDArray[np.float32]) -> tuple[float, float]:
    """Run a batch; return the processor time of spectra and of the network.

    Other programs may run beside, so that the clock on the wall would not do.
    """
    begin = thread_time()
    for each in denoisers:
        each.analyse(block)
    analysed = thread_time()
    Denoiser.run_batch(denoisers)
    run = thread_time()
    for each in denoisers:
        each.synthesise()
    return analysed - begin + thread_time() - run, run - analysed
