"""Load test: how many live streams a server holds, with real clients in real time."""

import asyncio
import gc
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np

from sordino.serve.client import AsyncStream, connect_async
from sordino.serve.settings import ServerSettings

BLOCK_SECONDS = 0.010
DEADLINE_MS = 10.0
WARM_UP_SECONDS = 0.5
START_SECONDS = 60
_FIRST, _MAX = 4, 512  # streams


@dataclass(frozen=True)
class LoadResult:
    """Latency of some streams at the same time, seen by their clients.

    Args:
        streams: their number.
        p50_ms, p99_ms, worst_ms: from sending a block to receiving its answer.
        late_share: share of the blocks that took longer than 10 ms.
        lost: samples that did not come back.
        processor: share of one core that the server took; None is unknown.
    """

    streams: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    late_share: float
    lost: int
    processor: float | None = None

    @property
    def holds(self) -> bool:
        """Whether 99 % of the blocks were answered in time and none was lost."""
        return self.p99_ms < DEADLINE_MS and not self.lost


async def run_streams(
    url: str, streams: int, seconds: float, sample_rate: int = 48000, token: str | None = None
) -> LoadResult:
    """Send audio on some streams in real time, 10 ms at a time, and time the answers.

    The streams start evenly spread over 10 ms, and none waits for its answers before it sends.

    Args:
        url: of the server.
        streams: at the same time.
        seconds: of audio, after half a second of warm-up.
        sample_rate: in Hz.
        token: of the server.

    Raises:
        StreamError: the server refuses one of them.
    """
    times: list[float] = []
    lost = 0
    start = asyncio.Event()
    ready = asyncio.Semaphore(0)
    begin = 0.0

    async def run(number: int) -> None:
        nonlocal lost
        options = {"format": "s16", "token": token}
        async with connect_async(url, sample_rate, **options) as stream:
            ready.release()
            await start.wait()
            offset = begin + BLOCK_SECONDS * number / streams
            lost += await _run_stream(stream, sample_rate, seconds, offset, times)

    tasks = [asyncio.create_task(run(i)) for i in range(streams)]
    try:
        for _ in tasks:
            waiter = asyncio.create_task(ready.acquire())
            await asyncio.wait({waiter, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await waiter
        gc.collect()
        begin = perf_counter() + 0.05
        start.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    ms = 1000 * np.array(times)
    p50, p99 = (float(each) for each in np.percentile(ms, (50, 99)))
    late = float((ms > DEADLINE_MS).mean())
    return LoadResult(streams, p50, p99, float(ms.max()), late, lost)


async def _run_stream(
    stream: AsyncStream, rate: int, seconds: float, begin: float, times: list[float]
) -> int:
    """Run one stream; return how many samples were lost."""
    size = round(BLOCK_SECONDS * rate)
    count = round((WARM_UP_SECONDS + seconds) / BLOCK_SECONDS)
    noise = 0.05 * np.random.default_rng(0).standard_normal((16, size))
    blocks = noise.astype(np.float32)
    sent: deque[float] = deque()

    async def send() -> None:
        for i in range(count):
            delay = begin + i * BLOCK_SECONDS - perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            sent.append(perf_counter())
            await stream.send(blocks[i % len(blocks)])

    sender = asyncio.create_task(send())
    received = 0
    for i in range(count):
        received += len(await stream.receive())
        elapsed = perf_counter() - sent.popleft()
        if i * BLOCK_SECONDS >= WARM_UP_SECONDS:
            times.append(elapsed)
    await sender
    received += len(await stream.flush())
    return count * size - received


class LoadedServer:
    """A server in a process of its own, for measurements; a context manager.

    Args:
        threads: for inference.
        settings: None takes settings without limits.
    """

    def __init__(self, threads: int = 1, settings: ServerSettings | None = None) -> None:
        self._settings = settings or ServerSettings(
            port=0,
            threads=threads,
            calibrate=False,
            late_share=1.0,
            requests_per_second=1000,
            request_burst=1000,
        )
        self._process: BaseProcess | None = None
        self.url = ""

    def __enter__(self) -> Self:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._settings, theirs), daemon=True)
        self._process.start()
        if not ours.poll(START_SECONDS):
            raise TimeoutError("the server did not start")
        self.url = f"ws://{ours.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def processor_seconds(self) -> float | None:
        """Return the processor time it has used; None where the system does not tell."""
        pid = None if self._process is None else self._process.pid
        try:
            values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        except OSError:
            return None
        user, system = (int(each) for each in values.split()[11:13])
        return (user + system) / 100


def streams_held(
    server: LoadedServer, sample_rate: int, seconds: float, report: Any = None
) -> Sequence[LoadResult]:
    """Find how many streams a server holds: double until too many, then bisect.

    Args:
        server: that is running.
        sample_rate: of the streams, in Hz.
        seconds: of each try.
        report: called with each result.

    Returns:
        All results; the largest that `holds` is the answer.
    """
    results: list[LoadResult] = []
    holds, fails, count = 0, _MAX, _FIRST
    while fails - holds > max(1, holds // 12):
        load = measure(server, count, sample_rate, seconds)
        results.append(load)
        if report is not None:
            report(load)
        if load.holds:
            holds = count
            count = 2 * count if fails == _MAX else (holds + fails) // 2
        else:
            fails = count
            count = (holds + fails) // 2
        if count in (holds, fails):
            break
    return results


def measure(server: LoadedServer, streams: int, sample_rate: int, seconds: float) -> LoadResult:
    """Run live streams against a server and measure its processor time.

    Args:
        server: which runs.
        streams: how many at once.
        sample_rate: of the streams, Hz.
        seconds: of sound in each.
    """
    before, begin = server.processor_seconds(), perf_counter()
    load = asyncio.run(run_streams(server.url, streams, seconds, sample_rate))
    after, elapsed = server.processor_seconds(), perf_counter() - begin
    share = None if before is None or after is None else (after - before) / elapsed
    return replace(load, processor=share)


def _serve(settings: ServerSettings, address: Connection) -> None:
    """Run the server; the body of its process."""
    from sordino.serve.server import Server

    Server(settings, lambda server: address.send(server.address), log_level="warning").run()
