"""Admission control: which live streams and uploads the server has the capacity for.

A stream is admitted if the processors can serve it in time; once admitted it is never degraded.  An
upload gets one of a fixed number of places, and keeps it unless its client is too slow.
"""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sordino.denoiser import Denoiser
from sordino.model import Model
from sordino.serve.errors import Overloaded, Refusal
from sordino.serve.settings import ServerSettings
from sordino.stft import FRAMES_PER_SECOND, hop, native_rate

BUDGET_SECONDS = 0.010  # a hop must be answered before the next one comes
HEADROOM = 0.5  # in use, caches are colder and batches smaller than in a measurement
SOCKET_RATIO = 2.5  # what a hop's two messages cost, beside what its spectra cost; measured
WINDOW_SECONDS = 5
MIN_BLOCKS = 100  # for a percentile that means anything
_BATCH, _WARM_UP, _ROUNDS = 8, 3, 12
TICK_SECONDS = 0.5  # how often somebody who waits looks for uploads that have become slow


@dataclass(frozen=True)
class Cost:
    """What a stream costs, as shares of one processor.

    Args:
        network: of inference, which threads run in parallel.
        interpreter: of Python code, which one thread at a time runs.
    """

    network: float = 0.0
    interpreter: float = 0.0

    def __mul__(self, count: float) -> "Cost":
        return Cost(self.network * count, self.interpreter * count)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.network + other.network, self.interpreter + other.interpreter)

    def load(self, threads: int) -> float:
        """Return the share of the capacity that it uses on this many processors."""
        busy = (self.network + self.interpreter) / threads
        return max(busy, self.interpreter) / HEADROOM


class Reservation:
    """What a stream uses of the machine, until it is released."""

    def __init__(self, admission: "StreamAdmission", cost: Cost) -> None:
        self._admission = admission
        self._cost: Cost | None = cost

    def release(self) -> None:
        """Release it; a second call does nothing."""
        if self._cost is not None:
            self._admission.release(self._cost)
            self._cost = None


class StreamAdmission:
    """Capacity for live streams, from measurements of what a hop costs on this machine.

    Args:
        threads: of inference.
        max_streams: streams at a time, whatever was measured; None is no limit.
        late_share: share of late blocks above which no stream is accepted.
    """

    def __init__(
        self, threads: int, max_streams: int | None = None, late_share: float = 0.01
    ) -> None:
        self._threads = threads
        self._max_streams = max_streams
        self._late_share = late_share
        self._costs: dict[tuple[str, int], Cost] = {}
        self._in_use = Cost()
        self._streams = 0
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=WINDOW_SECONDS)

    @property
    def load(self) -> float:
        """Share of the capacity in use, 0 to 1."""
        counted = self._streams / self._max_streams if self._max_streams else 0.0
        return max(counted, self._in_use.load(self._threads))

    @property
    def late_share(self) -> float:
        """Share of the blocks of the last seconds that were late."""
        since = int(perf_counter()) - WINDOW_SECONDS
        recent = [(count, late) for second, count, late in self._seconds if second > since]
        total = sum(count for count, _ in recent)
        return sum(late for _, late in recent) / total if total >= MIN_BLOCKS else 0.0

    def measure(self, model: Model) -> None:
        """Measure what a hop of one channel costs at each of the model's rates."""
        for rate in model.info.native_rates:
            noise = np.random.default_rng(0).standard_normal(hop(rate)).astype(np.float32)
            denoisers = [Denoiser(model, rate) for _ in range(_BATCH)]
            times = np.array([_timed(denoisers, 0.01 * noise) for _ in range(_WARM_UP + _ROUNDS)])
            spectra, network = np.median(times[_WARM_UP:], axis=0) / _BATCH * FRAMES_PER_SECOND
            cost = Cost(float(network), float(spectra) * (1 + SOCKET_RATIO))
            self._costs[model.sha256, rate] = cost

    def check(self) -> None:
        """Refuse if there is certainly no capacity for one more stream.

        Raises:
            Overloaded: there is none.
        """
        if self._max_streams is not None and self._streams >= self._max_streams:
            raise Overloaded(f"all {self._max_streams} places for live streams are in use")
        if self.load >= 1:
            raise Overloaded("the processors are fully used by live streams")
        if self.late_share > self._late_share:
            raise Overloaded("the machine is too busy to serve one more stream in time")

    def reserve(self, model: Model, sample_rate: int, channels: int) -> Reservation:
        """Reserve capacity for a stream.

        Raises:
            Overloaded: there is none.
        """
        self.check()
        cost = self._cost(model, sample_rate, channels)
        if (self._in_use + cost).load(self._threads) > 1:
            raise Overloaded(
                f"no room for {channels} channel(s) at {sample_rate} Hz: the processors are used "
                "by other live streams"
            )
        self._in_use += cost
        self._streams += 1
        return Reservation(self, cost)

    def load_of(self, model: Model, sample_rate: int, channels: int) -> float:
        """Return the share of the capacity that a stream uses; 0 if that was not measured."""
        return self._cost(model, sample_rate, channels).load(self._threads)

    def release(self, cost: Cost) -> None:
        """Release what a stream used."""
        self._streams -= 1
        self._in_use = self._in_use + cost * -1 if self._streams else Cost()

    def report(self, seconds: float) -> None:
        """Note the processing time of a block that did not come early."""
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

    Other programs may run at the same time, so wall-clock time would mislead.
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


@dataclass
class Waiting:
    """One time of waiting for a client."""

    moved: int = 0  # bytes that moved by its end


class Pace:
    """How fast a client sends its recording and reads the answer.

    Only the time that the server waits for the client counts.  It is taken from a credit in
    seconds, which the bytes that move fill up again to where it began.

    Args:
        settings: `stall_seconds` is the credit that no client may use up, which `min_upload_rate`
            fills.  A client may use up the other one, which `fair_upload_rate` fills, while
            nobody else waits for its place; it is half of `upload_wait_seconds` at most, so that
            whoever waits outlasts the slow.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.least = f"send or read at least {settings.min_upload_rate:g} bytes a second"
        self._rates = (settings.min_upload_rate, settings.fair_upload_rate)
        stall = settings.stall_seconds
        self._limits = (stall, min(stall, settings.upload_wait_seconds / 2))
        self._credits = list(self._limits)
        self._since: float | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds that the client may still take for the next bytes."""
        return max(0.0, self._now(0))

    @property
    def fair_seconds_left(self) -> float:
        """Negative for a client that may be dropped in favour of others; the slowest is lowest."""
        return self._now(1)

    @contextmanager
    def waiting(self) -> Generator[Waiting]:
        """Take the time that the block takes from the credits; add the bytes that it notes."""
        self._since = perf_counter()
        waiting = Waiting()
        try:
            yield waiting
        finally:
            for i, rate in enumerate(self._rates):
                credit = self._now(i) + waiting.moved / rate
                limit = self._limits[i]
                self._credits[i] = min(limit, max(-limit, credit))
            self._since = None

    def _now(self, i: int) -> float:
        waited = 0.0 if self._since is None else perf_counter() - self._since
        return self._credits[i] - waited


class Upload(Protocol):
    """What admission knows of an upload."""

    client: str
    """Address of its client."""
    pace: Pace

    def fail(self, refusal: Refusal) -> None:
        """End it; it gives its place back soon after."""


@dataclass(eq=False)
class _Waiter:
    upload: Upload
    place: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class UploadAdmission:
    """The places for uploads, shared fairly between clients.

    Nobody is interrupted to make room, except uploads that are slow.  A place that becomes free
    goes to the waiting client that has the fewest.

    Args:
        settings: `max_uploads` places, and `upload_wait_seconds` to wait for one.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._places = settings.max_uploads
        self._wait_seconds = settings.upload_wait_seconds
        self._uploads: set[Upload] = set()
        self._dropped: set[Upload] = set()  # that will give their place back
        self._waiters: list[_Waiter] = []

    def __len__(self) -> int:
        return len(self._uploads)

    async def take(self, upload: Upload) -> None:
        """Wait for a place.

        Raises:
            Overloaded: none became free in time.
        """
        if len(self._uploads) < self._places and not self._waiters:
            self._uploads.add(upload)
            return
        waiter = _Waiter(upload)
        self._waiters.append(waiter)
        end = perf_counter() + self._wait_seconds
        try:
            while not waiter.place.done():
                left = end - perf_counter()
                if left <= 0:
                    raise Overloaded(f"all {self._places} places for recordings are taken")
                self._drop_slow()
                await asyncio.wait({waiter.place}, timeout=min(TICK_SECONDS, left))
        except BaseException:
            self._uploads.discard(upload)  # in case it got its place at the last moment
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            self._grant()

    def give_back(self, upload: Upload) -> None:
        """Give a place back; without effect for an upload that has none."""
        self._uploads.discard(upload)
        self._dropped.discard(upload)
        self._grant()

    def _grant(self) -> None:
        while self._waiters and len(self._uploads) < self._places:
            waiter = min(self._waiters, key=lambda each: self._count(each.upload.client))
            self._waiters.remove(waiter)
            self._uploads.add(waiter.upload)
            waiter.place.set_result(None)

    def _drop_slow(self) -> None:
        """End the slowest uploads, one for each that waits."""
        candidates = sorted(
            (each for each in self._uploads - self._dropped if each.pace.fair_seconds_left < 0),
            key=lambda each: each.pace.fair_seconds_left,
        )
        for upload in candidates[: max(0, len(self._waiters) - len(self._dropped))]:
            self._dropped.add(upload)
            upload.fail(Refusal(408, "too_slow", "other clients are waiting: send or read faster"))

    def _count(self, client: str) -> int:
        return sum(each.client == client for each in self._uploads)
