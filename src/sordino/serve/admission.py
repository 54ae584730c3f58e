"""Admission of uploads: who gets a place, and who has been too slow to keep it."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from sordino.serve.errors import Overloaded, Refusal
from sordino.serve.settings import Settings

TICK_SECONDS = 0.5  # how often somebody who waits looks for uploads that have become slow


@dataclass
class Waiting:
    """One time of waiting for a client."""

    moved: int = 0  # bytes that moved by its end


class Pace:
    """How fast a client sends its recording and reads the answer.

    Only the time that the server waits for the client counts.  It is taken from a credit in
    seconds, which the bytes that move fill up again to where it began.

    Args:
        settings: `stall_seconds` is the credit; `min_upload_rate` fills the one that no client may
            use up, and `fair_upload_rate` the one that a client may use up while nobody else
            waits for its place.
    """

    def __init__(self, settings: Settings) -> None:
        self.least = f"send or read at least {settings.min_upload_rate:g} bytes a second"
        self._limit = settings.stall_seconds
        self._rates = (settings.min_upload_rate, settings.fair_upload_rate)
        self._credits = [self._limit, self._limit]
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
                self._credits[i] = min(self._limit, max(-self._limit, credit))
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

    def __init__(self, settings: Settings) -> None:
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
            upload.fail(Refusal(408, "too_slow", "others wait for this place: send or read faster"))

    def _count(self, client: str) -> int:
        return sum(each.client == client for each in self._uploads)
