"""Latency of the sound system's buffers, measured with clicks."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import numpy as np
from numpy.typing import NDArray

from sordino.live.backends.base import Backend, Sink, Source, virtual_end

CLICKS = 5
CLICK_SECONDS = 0.002
CLICK_LEVEL = 0.001  # -60 dBFS: hardly audible; there is no other sound meanwhile
SETTLE_SECONDS = 0.15  # sound servers change their buffers just after a stream starts
TIMEOUT_SECONDS = 0.5  # after which a click counts as lost
MAX_LOST = 2  # lost clicks, after which no more are played
PAUSE_SECONDS = 0.037  # between clicks; no multiple of a block, so that all block phases occur
POLL_SECONDS = 0.0005


def loop_latency(backend: Backend, label: str, rate: int) -> float | None:
    """Measure the latency of a loop: out of this program, through a virtual device, in again.

    The sound of a session passes as many buffers: in from the microphone, and out to the virtual
    one, where a meeting program records it.  So this is what the buffers add to the latency of
    the algorithm.

    Args:
        backend: where to measure.
        label: of the virtual microphone or loudspeaker; it is there, and silent.
        rate: of the streams in Hz.

    Returns:
        Median of some clicks in seconds; None if the device cannot loop, or no click came back.

    Raises:
        DeviceLost: the sound server is not there.
    """
    feed, hearing = virtual_end(backend, "output", label), virtual_end(backend, "input", label)
    if feed is None or hearing is None:
        return None
    with ExitStack() as stack:
        sink = backend.open_output(feed.name, rate)
        stack.callback(sink.close)
        source = backend.open_input(hearing.name, rate)
        stack.callback(source.close)
        heard = list(clicks(sink, source))
    return median(heard) if heard else None


def clicks(sink: Sink, source: Source, count: int = CLICKS) -> Iterator[float]:
    """Play clicks into a sink and yield after how many seconds a source hears each.

    The time ends when the samples can be read, so that waiting for a block to be full counts.
    Clicks that do not come back are left out, and two of them are the end.

    Args:
        sink, source: open, and read or written by no one else.
        count: how many to play.
    """
    click = np.full(round(CLICK_SECONDS * sink.sample_rate), CLICK_LEVEL, np.float32)
    _wait_for_click(source, SETTLE_SECONDS, threshold=np.inf)
    lost = 0
    for _ in range(count):
        _wait_for_click(source, PAUSE_SECONDS, threshold=np.inf)
        begin = time.perf_counter()
        sink.buffer.write(click)
        if _wait_for_click(source, TIMEOUT_SECONDS, CLICK_LEVEL / 4):
            yield time.perf_counter() - begin
            continue
        lost += 1
        if lost == MAX_LOST:
            return


def _wait_for_click(source: Source, seconds: float, threshold: float) -> bool:
    """Empty the source's buffer until something loud comes, or the time is over."""
    block = np.empty(source.buffer.capacity, np.float32)
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline and source.alive:
        count = source.buffer.read(block)
        if _peak(block[:count]) > threshold:
            return True
        time.sleep(POLL_SECONDS)
    return False


def _peak(samples: NDArray[np.float32]) -> float:
    return float(np.abs(samples).max(initial=0.0))
