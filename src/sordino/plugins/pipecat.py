"""Sordino in a Pipecat voice agent: clean the user's audio before it is detected and transcribed.

`SordinoFilter` sits in the input transport and cleans one stream.  `SordinoFrameProcessor` sits
in the pipeline and keeps the users of a room apart.  Inference runs in a thread of each, never
on the event loop.
"""

# No types: pipecat.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import asyncio
import copy
import logging
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
from sordino.model import Model
from sordino.plugins.pcm import PCM, PcmStream, StreamControls, load_plugin_model
from sordino.voice import AnyVoices, VoiceChoice, load_voices
from sordino.voice.stream import FALLBACK_SECONDS

_log = logging.getLogger(__name__)

SPEECH_PROBABILITY = "sordino.speech_probability"
"""Key in the `metadata` of a frame that `SordinoFrameProcessor` has cleaned."""

FORGET_SECONDS = 10.0  # of silence on the wire, after which a user starts afresh


class SordinoFilter(BaseAudioFilter):
    """Audio filter for a transport: `TransportParams(audio_in_filter=SordinoFilter())`.

    Every call returns as many samples as it got, 20 ms later at 8, 16, 24 and 48 kHz.  One filter
    holds the state of one stream; use one for each transport.  `FilterEnableFrame` switches
    it, and `FilterUpdateSettingsFrame(settings={"strength": 0.5})` changes its parameters.

    Args:
        model: name of a packaged model, path of an .onnx file, or a loaded model.
        strength: share of the noise that is removed, 0..1.
        attenuation_limit_db: nothing is attenuated by more, in dB; None is no limit.
        voice, others_db, voice_fallback: to keep one voice or several, see
            `sordino.denoiser.Denoiser`.

    Raises:
        SordinoError: an argument is out of range, or the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path | Model = "default",
        strength: float = 1.0,
        attenuation_limit_db: float | None = None,
        voice: AnyVoices = None,
        others_db: float | None = None,
        voice_fallback: float | None = FALLBACK_SECONDS,
    ) -> None:
        self._voices = VoiceChoice(load_voices(voice), others_db, voice_fallback)
        self._model = load_plugin_model(model, self._voices)
        self._controls = StreamControls(strength, attenuation_limit_db)
        self._stream: PcmStream | None = None
        self._worker: ThreadPoolExecutor | None = None

    @property
    def speech_probability(self) -> float:
        """Probability, 0..1, that the newest 10 ms contained speech."""
        return self._stream.speech_probability if self._stream else 0.0

    @property
    def voice_missing(self) -> bool:
        """Whether people speak, and no enrolled voice has been heard for some seconds."""
        return self._stream is not None and self._stream.voice_missing

    def vad_analyzer(self, params: VADParams | None = None) -> "SordinoVADAnalyzer":
        """Return a voice activity detector that uses this filter's network instead of one more."""
        return SordinoVADAnalyzer(self, params=params)

    async def start(self, sample_rate: int) -> None:
        """Start a new stream; the transport calls this when it is set up.

        Raises:
            SordinoError: the sample rate is not 8000 to 192000 Hz.
        """
        self._stream = PcmStream(self._model, sample_rate, voices=self._voices)
        if self._worker is None:
            self._worker = _worker()

    async def stop(self) -> None:
        """End the stream; the transport calls this when it is cleaned up."""
        self._stream = None
        if self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """Apply a control frame.

        Raises:
            SordinoError: it asks for a setting that does not exist, or a value out of range.
        """
        self._controls = _apply(self._controls, frame)

    async def filter(self, audio: bytes) -> bytes:
        """Take a frame of 16-bit mono audio; return a clean one with as many whole samples.

        Half a sample at the end is kept for the next frame.  An exception would end the
        transport's input for good, so a frame that cannot be cleaned is returned as it came.

        Raises:
            SordinoError: the filter is not started.
        """
        if self._stream is None or self._worker is None:
            raise SordinoError("the filter is not started: hand it to a transport, or await start")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._worker, self._stream.process, audio, self._controls
            )
        except Exception:
            _log.exception("a frame of %d bytes stays noisy", len(audio))
            return audio


class SordinoVADAnalyzer(VADAnalyzer):
    """Voice activity from the speech probability of a `SordinoFilter`.

    Args:
        audio_filter: the filter that the audio has gone through.
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

    def voice_confidence(self, buffer: bytes) -> float:  # noqa: ARG002 (the filter has seen it)
        """Return the filter's newest probability of speech."""
        return self._filter.speech_probability


@dataclass
class _User:
    stream: PcmStream
    last_frame: float  # time.monotonic()


class SordinoFrameProcessor(FrameProcessor):
    """Pipeline element that cleans every input audio frame, each user's apart.

    Put it right behind `transport.input()`.  Frames keep their size, rate, channels, user and
    time stamps; their metadata gains `SPEECH_PROBABILITY`.  A user whose sample rate or channel
    count changes, or who sent nothing for ten seconds starts afresh.  A frame that cannot
    be cleaned, because of its sample rate for instance, is passed on as it came, and an ErrorFrame
    tells so.  Control frames work as with `SordinoFilter`, and are passed on.

    Args:
        model, strength, attenuation_limit_db: see `SordinoFilter`.
        voice, others_db, voice_fallback: the same for all users, see `SordinoFilter`.
        **kwargs: for Pipecat's FrameProcessor, such as name.

    Raises:
        SordinoError: see `SordinoFilter`.
    """

    def __init__(
        self,
        model: str | Path | Model = "default",
        strength: float = 1.0,
        attenuation_limit_db: float | None = None,
        voice: AnyVoices = None,
        others_db: float | None = None,
        voice_fallback: float | None = FALLBACK_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._voices = VoiceChoice(load_voices(voice), others_db, voice_fallback)
        self._model = load_plugin_model(model, self._voices)
        self._controls = StreamControls(strength, attenuation_limit_db)
        self._users: dict[str, _User] = {}
        self._reported: set[str] = set()  # errors; each frame would repeat them
        self._worker = _worker()

    @property
    def speech_probabilities(self) -> Mapping[str, float]:
        """Probability of speech by user id; the id is "" if frames do not name their user."""
        return {name: user.stream.speech_probability for name, user in self._users.items()}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Clean input audio; pass everything else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, FilterControlFrame):
            self._controls = _apply(self._controls, frame)
        elif isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            frame = await self._clean(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Delete the state of all users and end the thread."""
        await super().cleanup()
        self._users.clear()
        self._worker.shutdown(wait=False)

    async def _clean(self, frame: InputAudioRawFrame) -> InputAudioRawFrame:
        loop = asyncio.get_running_loop()
        try:
            stream = self._stream_of(frame)
            audio = await loop.run_in_executor(
                self._worker, stream.process, frame.audio, self._controls
            )
        except Exception as error:
            if str(error) not in self._reported:
                self._reported.add(str(error))
                await self.push_error(f"frames stay noisy: {error}", error)
            return frame
        clean = copy.copy(frame)  # another branch of the pipeline may hold the noisy one
        clean.audio = audio
        clean.num_frames = len(audio) // (PCM.itemsize * stream.channels)
        clean.metadata = {**frame.metadata, SPEECH_PROBABILITY: stream.speech_probability}
        return clean

    def _stream_of(self, frame: InputAudioRawFrame) -> PcmStream:
        now = time.monotonic()
        name = frame.user_id if isinstance(frame, UserAudioRawFrame) else ""
        user = self._users.get(name)
        if user is None or now - user.last_frame > FORGET_SECONDS or not _fits(user.stream, frame):
            self._users = {
                other: each
                for other, each in self._users.items()
                if now - each.last_frame <= FORGET_SECONDS
            }
            stream = PcmStream(self._model, frame.sample_rate, frame.num_channels, self._voices)
            user = _User(stream, now)
            self._users[name] = user
        user.last_frame = now
        return user.stream


def _fits(stream: PcmStream, frame: InputAudioRawFrame) -> bool:
    return (stream.sample_rate, stream.channels) == (frame.sample_rate, frame.num_channels)


def _apply(controls: StreamControls, frame: FilterControlFrame) -> StreamControls:
    if isinstance(frame, FilterEnableFrame):
        return replace(controls, enabled=frame.enable)
    if isinstance(frame, FilterUpdateSettingsFrame):
        try:
            return replace(controls, **frame.settings)
        except TypeError:
            raise SordinoError(
                f"unknown setting in {sorted(map(str, frame.settings))}: there are strength, "
                "attenuation_limit_db and enabled"
            ) from None
    return controls


def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="sordino")
