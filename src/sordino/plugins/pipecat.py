"""Sordino in a Pipecat voice agent: clean the user's sound before it is detected and transcribed.

`SordinoFilter` sits in the input transport and hears one stream.  `SordinoFrameProcessor` sits
in the pipeline and keeps the users of a room apart.  Inference runs in a thread of each, never
on the event loop.
"""

import asyncio
import copy
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    FilterControlFrame,
    FilterEnableFrame,
    FilterUpdateSettingsFrame,
    Frame,
    InputAudioRawFrame,
    UserAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from sordino.errors import SordinoError
from sordino.model import Model, load_model
from sordino.plugins.pcm import Knobs, PcmStream

SPEECH_PROBABILITY = "sordino.speech_probability"
"""Key in the `metadata` of a frame that `SordinoFrameProcessor` has cleaned."""

FORGOTTEN_AFTER = 10.0  # seconds; what a user said so long ago says nothing of the noise now


class SordinoFilter(BaseAudioFilter):
    """Audio filter for a transport: `TransportParams(audio_in_filter=SordinoFilter())`.

    Every call returns as many bytes as it got, 20 ms later at 8, 16, 24 and 48 kHz.  One filter
    holds the sound of one stream; use one for each transport.  `FilterEnableFrame` switches
    it, and `FilterUpdateSettingsFrame(settings={"strength": 0.5})` turns its knobs.

    Args:
        model: name of a packaged model, path of an .onnx file, or a loaded model.
        strength: share of the noise that is taken away, 0..1.
        attenuation_limit_db: the most that any sound may be attenuated; None is no limit.

    Raises:
        SordinoError: an argument is out of range, or the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path | Model = "default",
        strength: float = 1.0,
        attenuation_limit_db: float | None = None,
    ) -> None:
        self._model = model if isinstance(model, Model) else load_model(model)
        self._knobs = Knobs(strength, attenuation_limit_db)
        self._stream: PcmStream | None = None
        self._worker: ThreadPoolExecutor | None = None

    @property
    def speech_probability(self) -> float:
        """Probability, 0..1, that the newest 10 ms held speech."""
        return self._stream.speech_probability if self._stream else 0.0

    def vad_analyzer(self, params: VADParams | None = None) -> "SordinoVADAnalyzer":
        """Return a voice activity detector that asks this filter: no second network to run."""
        return SordinoVADAnalyzer(self, params=params)

    async def start(self, sample_rate: int) -> None:
        """Begin a new stream; the transport calls this when it is set up.

        Raises:
            SordinoError: the sample rate is not 8000 to 192000 Hz.
        """
        self._stream = PcmStream(self._model, sample_rate)
        if self._worker is None:
            self._worker = _worker()

    async def stop(self) -> None:
        """End the stream; the transport calls this when it is cleaned up."""
        self._stream = None
        if self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """Obey a control frame.

        Raises:
            SordinoError: it asks for a setting that does not exist, or a value out of range.
        """
        self._knobs = _turned(self._knobs, frame)

    async def filter(self, audio: bytes) -> bytes:
        """Take a frame of 16-bit mono sound and return one as long, clean.

        Raises:
            SordinoError: the filter is not started, or the frame has half a sample.
        """
        if self._stream is None or self._worker is None:
            raise SordinoError("the filter is not started: hand it to a transport, or await start")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._stream.process, audio, self._knobs)


class SordinoVADAnalyzer(VADAnalyzer):
    """Voice activity from the probability that a `SordinoFilter` finds on its way.

    Args:
        audio_filter: the filter that the sound has gone through.
        sample_rate: in Hz; None is the transport's.
        params: thresholds and times, see Pipecat.
    """

    def __init__(
        self,
        audio_filter: SordinoFilter,
        *,
        sample_rate: int | None = None,
        params: VADParams | None = None,
    ) -> None:
        super().__init__(sample_rate=sample_rate, params=params)
        self._filter = audio_filter

    def num_frames_required(self) -> int:
        """Return the samples of one decision (20 ms)."""
        return self.sample_rate // 50

    def voice_confidence(self, buffer: bytes) -> float:  # noqa: ARG002 (the filter has heard it)
        """Return the filter's newest probability of speech."""
        return self._filter.speech_probability


@dataclass
class _User:
    stream: PcmStream
    heard: float  # time.monotonic() of the newest frame


class SordinoFrameProcessor(FrameProcessor):
    """Pipeline element that cleans every input audio frame, each user's apart.

    Put it right behind `transport.input()`.  Frames keep their size, rate, channels, user and
    time stamps; their metadata gains `SPEECH_PROBABILITY`.  A user whose sample rate or channel
    count changes, or who was silent (sent nothing) for ten seconds, starts afresh.  It obeys
    the same control frames as `SordinoFilter`, and passes them on.

    Args:
        model, strength, attenuation_limit_db: see `SordinoFilter`.
        **kwargs: for Pipecat's FrameProcessor, such as name.

    Raises:
        SordinoError: see `SordinoFilter`.
    """

    def __init__(
        self,
        model: str | Path | Model = "default",
        strength: float = 1.0,
        attenuation_limit_db: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._model = model if isinstance(model, Model) else load_model(model)
        self._knobs = Knobs(strength, attenuation_limit_db)
        self._users: dict[str, _User] = {}
        self._worker = _worker()

    @property
    def speech_probabilities(self) -> Mapping[str, float]:
        """Probability of speech by user id; the id is "" if frames do not name their user."""
        return {name: user.stream.speech_probability for name, user in self._users.items()}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Clean input audio; pass everything else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, FilterControlFrame):
            self._knobs = _turned(self._knobs, frame)
        elif isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            frame = await self._clean(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Forget all users and end the thread."""
        await super().cleanup()
        self._users.clear()
        self._worker.shutdown(wait=False)

    async def _clean(self, frame: InputAudioRawFrame) -> InputAudioRawFrame:
        stream = self._stream_of(frame)
        loop = asyncio.get_running_loop()
        audio = await loop.run_in_executor(self._worker, stream.process, frame.audio, self._knobs)
        clean = copy.copy(frame)  # another branch of the pipeline may hold the noisy one
        clean.audio = audio
        clean.metadata = {**frame.metadata, SPEECH_PROBABILITY: stream.speech_probability}
        return clean

    def _stream_of(self, frame: InputAudioRawFrame) -> PcmStream:
        now = time.monotonic()
        name = frame.user_id if isinstance(frame, UserAudioRawFrame) else ""
        user = self._users.get(name)
        if user is None or now - user.heard > FORGOTTEN_AFTER or not _fits(user.stream, frame):
            self._users = {
                other: each
                for other, each in self._users.items()
                if now - each.heard <= FORGOTTEN_AFTER
            }
            user = _User(PcmStream(self._model, frame.sample_rate, frame.num_channels), now)
            self._users[name] = user
        user.heard = now
        return user.stream


def _fits(stream: PcmStream, frame: InputAudioRawFrame) -> bool:
    return (stream.sample_rate, stream.channels) == (frame.sample_rate, frame.num_channels)


def _turned(knobs: Knobs, frame: FilterControlFrame) -> Knobs:
    if isinstance(frame, FilterEnableFrame):
        return replace(knobs, enabled=frame.enable)
    if isinstance(frame, FilterUpdateSettingsFrame):
        try:
            return replace(knobs, **frame.settings)
        except TypeError:
            raise SordinoError(
                f"unknown setting in {sorted(map(str, frame.settings))}: there are strength, "
                "attenuation_limit_db and enabled"
            ) from None
    return knobs


def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="sordino")
