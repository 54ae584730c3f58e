"""Sordino in LiveKit: clean a participant's track while it is read.

LiveKit calls frame processors on the event loop.  Inference therefore runs in a thread, one
frame behind: when a frame arrives, the one before it has long been cleaned.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from livekit import rtc

from sordino.model import Model
from sordino.plugins.pcm import PcmStream, StreamControls, load_plugin_model
from sordino.voice import AnyVoices, VoiceChoice, load_voices
from sordino.voice.stream import FALLBACK_SECONDS

SPEECH_PROBABILITY = "sordino.speech_probability"
"""Key in the `userdata` of a clean frame."""


class SordinoFrameProcessor(rtc.FrameProcessor[rtc.AudioFrame]):
    """Frame processor for `rtc.AudioStream(track, noise_cancellation=SordinoFrameProcessor())`.

    Frames keep their size, rate and channels, and come out 20 ms and one frame (the longest so
    far) later at 8, 16, 24 and 48 kHz.  Their `userdata` gains `SPEECH_PROBABILITY`.
    One processor holds the state of one participant's track; it starts afresh when the track, the
    sample rate or the channel count changes, and when it is enabled again.  It uses no credentials
    and no network.

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
        self._source = ("", "")  # participant, publication
        self._worker: ThreadPoolExecutor | None = None
        self._start_afresh()

    @property
    def enabled(self) -> bool:
        """Whether LiveKit hands frames to this processor; if not, they stay as they are."""
        return self._controls.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value and not self._controls.enabled:
            self._start_afresh()  # the audio before the pause says nothing about what comes next
        self._controls = replace(self._controls, enabled=value)

    @property
    def strength(self) -> float:
        """Share of the noise that is removed, 0..1; changes take effect at the next frame."""
        return self._controls.strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._controls = replace(self._controls, strength=value)

    @property
    def attenuation_limit_db(self) -> float | None:
        """Limit of the attenuation in dB; changes take effect at the next frame."""
        return self._controls.attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, value: float | None) -> None:
        self._controls = replace(self._controls, attenuation_limit_db=value)

    @property
    def speech_probability(self) -> float:
        """Probability, 0..1, that the newest 10 ms before the last frame contained speech."""
        return self._speech_probability

    @property
    def voice_missing(self) -> bool:
        """Whether people speak, and no enrolled voice has been heard for some seconds."""
        return self._stream is not None and self._stream.voice_missing

    def _on_stream_info_updated(
        self,
        *,
        room_name: str,  # noqa: ARG002 (a publication is in one room)
        participant_identity: str,
        publication_sid: str,
    ) -> None:
        # LiveKit repeats this when a room renews its token; only another track is a change.
        source = (participant_identity, publication_sid)
        if source != self._source:
            self._source = source
            self._start_afresh()

    def _on_stream_info_cleared(self) -> None:
        self._source = ("", "")
        self._start_afresh()

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        stream = self._stream
        pcm = bytes(frame.data[: frame.num_channels * frame.samples_per_channel])
        if stream is None or (stream.sample_rate, stream.channels) != (
            frame.sample_rate,
            frame.num_channels,
        ):
            self._start_afresh()
            stream = PcmStream(self._model, frame.sample_rate, frame.num_channels, self._voices)
            self._stream = stream
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="sordino")
        before = self._pending
        self._pending = self._worker.submit(_step, stream, pcm, self._controls)
        if before is not None:
            self._take(before)
        if len(pcm) > self._lag:  # one frame behind: a longer one needs more, once and for all
            self._ready += bytes(len(pcm) - self._lag)
            self._lag = len(pcm)
        data, self._ready = self._ready[: len(pcm)], self._ready[len(pcm) :]
        userdata = {**frame.userdata, SPEECH_PROBABILITY: self._speech_probability}
        return rtc.AudioFrame(
            data,
            frame.sample_rate,
            frame.num_channels,
            frame.samples_per_channel,
            userdata=userdata,
        )

    def _close(self) -> None:
        self._start_afresh()
        if self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None

    def _take(self, step: "Future[_Step]") -> None:
        pcm, self._speech_probability = step.result()
        self._ready += pcm

    def _start_afresh(self) -> None:
        self._stream: PcmStream | None = None
        self._pending: Future[_Step] | None = None
        self._ready = b""
        self._lag = 0  # bytes that the output is behind, besides the denoiser's own delay
        self._speech_probability = 0.0


class _Step(NamedTuple):
    pcm: bytes
    speech_probability: float


def _step(stream: PcmStream, pcm: bytes, controls: StreamControls) -> _Step:
    return _Step(stream.process(pcm, controls), stream.speech_probability)
