"""Clean sound as a WebRTC track."""

import asyncio
from collections import deque
from fractions import Fraction
from time import perf_counter

import numpy as np
from aiortc.mediastreams import AUDIO_PTIME, MediaStreamError, MediaStreamTrack
from av import AudioFrame
from numpy.typing import NDArray

RATE = 48000  # Hz; what Opus runs at, whatever the microphone's rate was
FRAME = round(AUDIO_PTIME * RATE)  # samples
MOST_FRAMES = 25  # that wait to be sent; what is older is stale, since sound is live
PAUSE_SECONDS = 0.5  # of real time; after that, time stamps jump as far as the clock did


class CleanTrack(MediaStreamTrack):
    """Takes clean sound as it becomes ready and hands it to a peer in frames of 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.fed_at = perf_counter()
        """When sound came last, or the track was made."""
        self._frames: deque[AudioFrame] = deque(maxlen=MOST_FRAMES)
        self._arrival = asyncio.Event()
        self._rest = np.zeros(0, np.int16)
        self._pts = 0

    def feed(self, sound: NDArray[np.float32]) -> None:
        """Take mono sound at 48 kHz, full scale +-1, of any length."""
        now = perf_counter()
        pause, self.fed_at = now - self.fed_at, now
        if pause > PAUSE_SECONDS:
            self._pts += round(pause * RATE)
        samples = np.rint(sound * 32768).clip(-32768, 32767).astype(np.int16)
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        for start in range(0, whole, FRAME):
            self._frames.append(self._frame(samples[start : start + FRAME]))
            self._arrival.set()

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms as soon as they are there; aiortc's sender asks.

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

    def _frame(self, samples: NDArray[np.int16]) -> AudioFrame:
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = self._pts
        self._pts += len(samples)
        return frame
