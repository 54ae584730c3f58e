"""A peer's microphone as it comes over the network -> its sound, without gaps, once cleaned."""

import asyncio
from collections.abc import Callable
from time import perf_counter

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from numpy.typing import NDArray

from sordino.serve.clean_track import RATE
from sordino.serve.engine import Stream
from sordino.serve.errors import Refusal

LONGEST_GAP = RATE  # samples; lost packets leave gaps, anything longer is a new beginning
MOST_AHEAD = 5.0  # seconds that a peer may be ahead of the clock, or the network behind


class Intake:
    """Cleans one peer's microphone.

    Args:
        track: the remote track, Opus.
        stream: place in the engine, mono at 48 kHz.
        deliver: takes the clean sound, block by block.
        idle_seconds: that the track may be silent on the wire.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        stream: Stream,
        deliver: Callable[[NDArray[np.float32]], None],
        idle_seconds: float,
    ) -> None:
        self._track = track
        self._stream = stream
        self._deliver = deliver
        self._idle_seconds = idle_seconds
        self._blocks: asyncio.Queue[NDArray[np.float32] | None] = asyncio.Queue()
        self._waiting = 0  # samples in the queue
        self._taken = 0  # samples

    async def run(self) -> None:
        """Clean until the track ends.

        Raises:
            Refusal: the peer sends nothing, or faster than real time.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clean())
            await self._read()
            self._blocks.put_nowait(None)

    async def _read(self) -> None:
        """Take frames as they come, whatever the network is doing, so that no queue grows."""
        expected: int | None = None
        begin = perf_counter()
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    frame = await self._track.recv()
            except MediaStreamError:
                return
            except TimeoutError:
                raise Refusal(408, "timeout", "the peer sent no sound for too long") from None
            assert isinstance(frame, AudioFrame)
            block = _mono(frame)
            pts = frame.pts or 0
            gap = 0 if expected is None else pts - expected
            expected = pts + len(block)
            if 0 < gap <= LONGEST_GAP:
                block = np.concatenate([np.zeros(gap, np.float32), block])
            self._taken += len(block)
            self._waiting += len(block)
            ahead = self._taken / RATE - (perf_counter() - begin)
            if max(ahead, self._waiting / RATE) > MOST_AHEAD:
                raise Refusal(429, "too_fast", "the peer sends faster than real time")
            self._blocks.put_nowait(block)

    async def _clean(self) -> None:
        while (block := await self._blocks.get()) is not None:
            self._waiting -= len(block)
            self._deliver(await self._stream.process(block))
        self._deliver(await self._stream.flush())


def _mono(frame: AudioFrame) -> NDArray[np.float32]:
    """Return the mean of the channels; Opus decodes to two, which a microphone fills alike."""
    samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return samples.mean(axis=1, dtype=np.float32) / np.float32(32768)
