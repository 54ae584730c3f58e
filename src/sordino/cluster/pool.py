"""Ray actors that do tasks: each has one in flight, and others take over where one dies."""

import logging
import os
import re
import socket
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar, cast

import ray
from ray.exceptions import RayError

import sordino
from sordino.errors import SordinoError

T = TypeVar("T")
R = TypeVar("R")
Make = Callable[[str], Callable[[T], R]]
"""Makes what does the tasks, in the process of a worker; called with "cpu" or "cuda"."""

LOCAL, AUTO = "local", "auto"
_ADDRESS = re.compile(r"(ray://)?(?P<host>[^/\s:]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")
_CONNECT_SECONDS = 5.0
_TICK_SECONDS = 0.5
_OBJECT_STORE = 128 << 20  # bytes; only the model and short messages pass through it

_ray = cast(Any, ray)  # it has few types


@contextmanager
def connected(
    address: str, workers: int | None = None, *, shows_logs: bool = False
) -> Generator[None]:
    """Be connected to a cluster.

    Args:
        address: "local" starts one on this machine, "auto" finds the one that this machine is
            part of, HOST:PORT is that of its head, seen from one of its machines, and
            ray://HOST:PORT is seen from anywhere.
        workers: how many a local one has room for; None is one a core.
        shows_logs: print what workers print.

    Raises:
        SordinoError: there is no such cluster, or no answer from it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": shows_logs}
    if address == LOCAL:
        quiet |= {
            "num_cpus": workers or os.cpu_count() or 1,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
        }
    elif address != AUTO:
        _check_reachable(address)
    try:
        _ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises what it likes
        raise SordinoError(_why_not_connected(address, error)) from error
    try:
        yield
    finally:
        _ray.shutdown()


def _check_reachable(address: str) -> None:
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise SordinoError(
            f"--cluster {address}: expected local, auto, HOST:PORT or ray://HOST:PORT"
        )
    host = match["host"].strip("[]")
    try:
        socket.create_connection((host, int(match["port"])), _CONNECT_SECONDS).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise SordinoError(
            f"--cluster {address}: cannot connect ({why}): is `ray start --head` running there?"
        ) from error


def _why_not_connected(address: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if address == AUTO and isinstance(error, ConnectionError):
        return "--cluster auto: this machine is part of no cluster: give HOST:PORT, or local"
    if "node with IP" in text or "raylet" in text:
        return (
            f"--cluster {address}: this machine is no part of that cluster: run "
            f"`ray start --address {address}` here, or give ray://HOST:10001"
        )
    if "ersion mismatch" in text:
        return f"--cluster {address}: it runs another version of Ray or Python: {text:.200}"
    return f"--cluster {address}: {type(error).__name__}: {text:.200}"


def cluster_cores() -> int:
    """Return the cores that the whole cluster offers to Ray."""
    return int(_ray.cluster_resources().get("CPU", 0))


def cluster_gpus() -> int:
    """Return the GPUs that the whole cluster offers to Ray."""
    return int(_ray.cluster_resources().get("GPU", 0))


class Finished(NamedTuple, Generic[T, R]):
    """How a task ended."""

    task: T
    result: R | None
    error: str
    """One line; empty if there is a result."""
    attempts: int


@dataclass
class _Attempt(Generic[T]):
    task: T
    made: int = 0


@dataclass(eq=False)
class _Slot:
    """The place of a worker; where one dies, another takes it."""

    device: str
    actor: Any = None
    node: str = ""


@dataclass
class _Call(Generic[T]):
    slot: _Slot
    attempts: Sequence[_Attempt[T]]
    begin: float


class _Actor:
    """A worker: one process of a node."""

    def start(self, make: Make[Any, Any], device: str) -> tuple[str, str]:
        self._do = make(device)
        python = ".".join(map(str, sys.version_info[:2]))
        return f"sordino {sordino.__version__}, Python {python}", _node()

    def run(self, tasks: Sequence[Any]) -> list[tuple[Any, str]]:
        return [self._run(task) for task in tasks]

    def _run(self, task: Any) -> tuple[Any, str]:
        try:
            return self._do(task), ""
        except Exception as error:  # whatever it is, the other tasks go on
            text = str(error) if isinstance(error, SordinoError) else _named(error)
            return None, " ".join(text.split())


def _node() -> str:
    return str(_ray.get_runtime_context().get_node_id())


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class Pool(Generic[T, R]):
    """Does tasks on the cluster that is connected.

    Memory stays bounded: every worker has one call in flight, and a task is only taken from the
    work list when a worker is free.  A task that fails is tried again after the others; one that
    fails too often is given back with its error.  A worker that dies is replaced; the death of a
    whole node is not held against the tasks that were there.

    Args:
        make: see `Make`.
        cpus, gpus: workers with one core each, and workers that have a GPU besides.
        attempts: how often a task is tried.
        batch: tasks in a call, where they are small.
        timeout: seconds that a call may take for each of its tasks; then its worker is replaced.
    """

    def __init__(
        self,
        make: Make[T, R],
        cpus: int,
        gpus: int = 0,
        *,
        attempts: int = 3,
        batch: int = 1,
        timeout: float = 3600.0,
    ) -> None:
        self._make = _ray.put(make)
        self._attempts, self._batch, self._timeout = attempts, batch, timeout
        self._urgent: deque[_Attempt[T]] = deque()
        self._tasks: Iterator[T] = iter(())
        self._again: deque[_Attempt[T]] = deque()
        self._idle: list[_Slot] = []
        self._starting: dict[Any, _Slot] = {}
        self._calls: dict[Any, _Call[T]] = {}
        self._failed_starts = 0
        self.replaced = 0
        """Workers that had to be replaced."""
        self._actor_class = _ray.remote(_Actor)
        for device in ["cpu"] * cpus + ["cuda"] * gpus:
            self._start(_Slot(device))
        self._size = cpus + gpus

    @property
    def workers(self) -> int:
        """Workers that are ready or at work."""
        return len(self._idle) + len(self._calls)

    def add(self, tasks: Iterable[T]) -> None:
        """Do these before what is left of the work list."""
        self._urgent.extend(_Attempt(task) for task in tasks)

    def results(self, tasks: Iterable[T]) -> Iterator[Finished[T, R] | None]:
        """Do tasks and those that are added meanwhile; yield how they end, in any order.

        None is yielded when nothing has ended for a while.

        Raises:
            SordinoError: no worker can be started, or the cluster is lost.
        """
        self._tasks = iter(tasks)
        while True:
            self._fill()
            if not self._calls and not (self._starting and self._has_more()):
                return
            refs = [*self._calls, *self._starting]
            ready = self._ready(refs)
            for ref in ready:
                if ref in self._starting:
                    self._started(ref)
                else:
                    yield from self._ended(ref)
            yield from self._overdue()
            if not ready:
                yield None

    def _ready(self, refs: Sequence[Any]) -> list[Any]:
        """Wait a moment for something to end, and return all that has."""
        try:
            ready, rest = _ray.wait(refs, num_returns=1, timeout=_TICK_SECONDS)
            if rest:
                ready += _ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        except RayError as error:
            raise SordinoError(
                f"the cluster is lost ({_named(error)}): start it, then the same command goes on"
            ) from error
        return ready

    def close(self) -> None:
        """End the workers, also those in the middle of a task."""
        slots = [*self._idle, *self._starting.values(), *(c.slot for c in self._calls.values())]
        for slot in slots:
            _kill(slot.actor)

    def _has_more(self) -> bool:
        if not self._urgent and not self._again:
            for task in self._tasks:
                self._urgent.append(_Attempt(task))
                break
        return bool(self._urgent or self._again)

    def _fill(self) -> None:
        while self._idle and self._has_more():
            batch = [self._urgent.popleft() if self._urgent else self._again.popleft()]
            while len(batch) < self._batch and not batch[0].made and not self._urgent:
                task = next(self._tasks, None)
                if task is None:
                    break
                batch.append(_Attempt(task))
            slot = self._idle.pop()
            ref = slot.actor.run.remote([each.task for each in batch])
            self._calls[ref] = _Call(slot, batch, monotonic())

    def _start(self, slot: _Slot) -> None:
        options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        if slot.device == "cuda":
            options["num_gpus"] = 1
        slot.actor = self._actor_class.options(**options).remote()
        self._starting[slot.actor.start.remote(self._make, slot.device)] = slot

    def _started(self, ref: Any) -> None:
        slot = self._starting.pop(ref)
        try:
            version, slot.node = _ray.get(ref)
        except SordinoError as error:
            raise SordinoError(str(getattr(error, "cause", error))) from error
        except RayError as error:
            text = " ".join(str(error).split())
            if "failed to import" in text or "No module named" in text:
                raise SordinoError(
                    "a worker cannot import Sordino: install the same version with its extra "
                    f"[cluster] on every machine ({text:.200})"
                ) from error
            self._failed_starts += 1
            if self._failed_starts > 3 * self._size:
                raise SordinoError(f"workers end before they are ready: {text:.300}") from error
            self._replace(slot)
            return
        python = ".".join(map(str, sys.version_info[:2]))
        if version != f"sordino {sordino.__version__}, Python {python}":
            raise SordinoError(
                f"a worker has {version}, this machine has sordino {sordino.__version__}, Python "
                f"{python}: install the same everywhere"
            )
        self._failed_starts = 0
        self._idle.append(slot)

    def _ended(self, ref: Any) -> Iterator[Finished[T, R]]:
        call = self._calls.pop(ref)
        try:
            outcomes = cast(list[tuple[R | None, str]], _ray.get(ref))
        except RayError as error:
            first = str(error).strip().partition("\n")[0]
            yield from self._lost(call, f"it ended the process of a worker ({first})")
            return
        self._idle.append(call.slot)
        for attempt, (result, error) in zip(call.attempts, outcomes, strict=True):
            yield from self._tried(attempt, result, error)

    def _tried(
        self, attempt: _Attempt[T], result: R | None, error: str
    ) -> Iterator[Finished[T, R]]:
        attempt.made += 1
        if error and attempt.made < self._attempts:
            self._again.append(attempt)
        else:
            yield Finished(attempt.task, result, error, attempt.made)

    def _lost(self, call: _Call[T], error: str) -> Iterator[Finished[T, R]]:
        alive = {node["NodeID"] for node in _ray.nodes() if node["Alive"]}
        is_blamed = len(call.attempts) == 1 and call.slot.node in alive
        self._replace(call.slot)
        for attempt in call.attempts:
            if is_blamed:
                yield from self._tried(attempt, None, error)
            else:  # each is tried alone now, which tells the one that is at fault
                self._again.append(attempt)

    def _overdue(self) -> Iterator[Finished[T, R]]:
        now = monotonic()
        for ref, call in list(self._calls.items()):
            if now - call.begin > self._timeout * len(call.attempts):
                del self._calls[ref]
                yield from self._lost(call, f"it took longer than {self._timeout:.0f} s")

    def _replace(self, slot: _Slot) -> None:
        self.replaced += 1
        _kill(slot.actor)
        self._start(slot)


def _kill(actor: Any) -> None:
    with suppress(Exception):
        _ray.kill(actor, no_restart=True)
