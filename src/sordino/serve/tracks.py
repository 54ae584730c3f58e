"""Audio of a WebRTC connection: the client's track in, a track of clean audio out."""

# No types: aiortc.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from time import perf_counter

import numpy as np
from aiortc.mediastreams import AUDIO_PTIME, MediaStreamError, MediaStreamTrack
from av import AudioFrame
from numpy.typing import NDArray

from sordino.arrays import from_int16, to_int16
from sordino.serve.errors import Refusal
from sordino.serve.scheduler import LiveStream

RATE = 48000  # Hz; what Opus runs at, whatever the microphone's rate was
FRAME = round(AUDIO_PTIME * RATE)  # samples
MAX_QUEUED_FRAMES = 25  # that wait to be sent; older ones are stale, since audio is live
PAUSE_SECONDS = 0.5  # of real time; after that, time stamps jump as far as the clock did
MAX_GAP = RATE  # samples of silence for lost packets; anything longer is a new beginning
MAX_AHEAD_SECONDS = 5.0  # that a client may be ahead of the clock, or the network behind


class CleanTrack(MediaStreamTrack):
    """Sends clean audio to a client in frames of 20 ms, as it becomes ready."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.fed_at = perf_counter()
        """When audio came last, or the track was made."""
        self._frames: deque[AudioFrame] = deque(maxlen=MAX_QUEUED_FRAMES)
        self._arrival = asyncio.Event()
        self._rest = np.zeros(0, np.int16)
        self._pts = 0

    def feed(self, sound: NDArray[np.float32]) -> None:
        """Take mono audio at 48 kHz, full scale +-1, of any length.

        Shape: (samples,)
        """
        now = perf_counter()
        pause, self.fed_at = now - self.fed_at, now
        if pause > PAUSE_SECONDS:
            self._pts += round(pause * RATE)
        samples = np.concatenate([self._rest, to_int16(sound)])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        for start in range(0, whole, FRAME):
            self._frames.append(self._frame(samples[start : start + FRAME]))
            self._arrival.set()

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms as soon as they are there; aiortc's sender calls this.

        Raises:
            MediaStreamError: the track has been stopped.
        """
        while not self._frames:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrival.clear()
            await self._arrival.wait()
        return self._frames.popleft()

    def stop(self) -> None:
        """End the track."""
        super().stop()
        self._arrival.set()

    async def wait_idle(self, seconds: float) -> None:
        """Wait until no audio has come for so long.

        Raises:
            Refusal: at the end of the wait.
        """
        while (left := self.fed_at + seconds - perf_counter()) > 0:
            await asyncio.sleep(left)
        raise Refusal(408, "timeout", "there was no audio in the room for too long")

    def _frame(self, samples: NDArray[np.int16]) -> AudioFrame:
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = self._pts
        self._pts += len(samples)
        return frame


class Receiver:
    """Receives a client's microphone, fills the gaps of lost packets, and cleans it.

    Args:
        track: the remote track, Opus.
        stream: mono at 48 kHz.
        deliver: called with the clean audio, block by block.
        idle_seconds: that the track may be silent on the wire.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        stream: LiveStream,
        deliver: Callable[[NDArray[np.float32]], None],
        idle_seconds: float,
    ) -> None:
        self._track = track
        self._stream = stream
        self._deliver = deliver
        self._idle_seconds = idle_seconds
        self._blocks: asyncio.Queue[NDArray[np.float32] | None] = asyncio.Queue()
        self._queued = 0  # samples
        self._received = 0  # samples

    async def run(self) -> None:
        """Clean until the track ends.

        Raises:
            Refusal: the client sends nothing, or faster than real time.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clean())
            await self._receive()
            self._blocks.put_nowait(None)

    async def _receive(self) -> None:
        """Take frames as they come, however busy the network is, so that no queue grows."""
        expected: int | None = None
        begin = perf_counter()
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    frame = await self._track.recv()
            except MediaStreamError:
                return
            except TimeoutError:
                raise Refusal(408, "timeout", "the client sent no audio for too long") from None
            assert isinstance(frame, AudioFrame)
            block = _mono(frame)
            pts = frame.pts or 0
            gap = 0 if expected is None else pts - expected
            expected = pts + len(block)
            if 0 < gap <= MAX_GAP:
                block = np.concatenate([np.zeros(gap, np.float32), block])
            self._received += len(block)
            self._queued += len(block)
            ahead = self._received / RATE - (perf_counter() - begin)
            if max(ahead, self._queued / RATE) > MAX_AHEAD_SECONDS:
                raise Refusal(429, "too_fast", "the client sends faster than real time")
            self._blocks.put_nowait(block)

    async def _clean(self) -> None:
        while (block := await self._blocks.get()) is not None:
            self._queued -= len(block)
            self._deliver(await self._stream.process(block))
        self._deliver(await self._stream.flush())


def _mono(frame: AudioFrame) -> NDArray[np.float32]:
    """Return the mean of the channels; Opus decodes to two, which a microphone fills alike."""
    samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return from_int16(samples).mean(axis=1)
