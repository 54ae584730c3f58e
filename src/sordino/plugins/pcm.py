"""16-bit PCM in frames of any size -> clean PCM, every frame as long as it came.

Voice-agent frameworks expect back exactly the frame that they handed in.  The denoiser's output
is late by its latency, so the stream begins with as much silence, and the delay is constant.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sordino.arrays import to_int16
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.levels import checked_attenuation_limit, checked_strength
from sordino.model import Model, load_model
from sordino.voice import EVERYBODY, VoiceChoice, check_voice_options, load_voice_model

PCM = np.dtype("<i2")  # little-endian, as the frameworks send it


@dataclass(frozen=True)
class StreamControls:
    """Parameters that may change while a stream runs.

    Args:
        strength: share of the noise that is removed, 0..1.
        attenuation_limit_db: nothing is attenuated by more, in dB; None is no limit.
        enabled: False passes the audio through unchanged with the same delay, so that switching
            leaves no gap.

    Raises:
        SordinoError: a value is out of range.
    """

    strength: float = 1.0
    attenuation_limit_db: float | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        checked_strength(self.strength)
        checked_attenuation_limit(self.attenuation_limit_db)
        _check_enabled(self.enabled)


def _check_enabled(value: object) -> None:
    if not isinstance(value, bool):  # "no" would count as true
        raise SordinoError(f"enabled is {value!r}: expected True or False")


class PcmStream:
    """The audio of one participant, at one sample rate.

    A frame may end in the middle of a sample: its odd bytes are kept for the next one.

    Args:
        model: a loaded model; streams share it.
        sample_rate: in Hz, 8000 to 192000.
        channels: interleaved channels.
        voices: to be kept, if the model can.

    Raises:
        SordinoError: the sample rate or the number of channels is out of range.

    >>> from sordino.model import load_model
    >>> stream = PcmStream(load_model(), sample_rate=16000)
    >>> len(stream.process(bytes(640), StreamControls())), stream.delay_samples
    (640, 320)
    """

    def __init__(
        self,
        model: Model,
        sample_rate: int,
        channels: int = 1,
        voices: VoiceChoice = EVERYBODY,
    ) -> None:
        self._denoiser = Denoiser(model, sample_rate, channels, **voices.options(model))
        self.sample_rate = self._denoiser.sample_rate
        self.channels = self._denoiser.channels
        self.delay_samples = self._denoiser.latency_samples
        """Delay of the output."""
        self._odd = b""  # less than a sample of all channels
        self._ready = np.zeros((self.delay_samples, self.channels), PCM)

    @property
    def speech_probability(self) -> float:
        """Probability, 0..1, that the newest 10 ms held speech; 0 if the model does not say."""
        return self._denoiser.speech_probability or 0.0

    @property
    def voice_missing(self) -> bool:
        """Whether people speak, and no enrolled voice has been heard for some seconds."""
        return self._denoiser.voice_missing

    def process(self, pcm: bytes | memoryview, controls: StreamControls) -> bytes:
        """Take interleaved 16-bit samples; return as many clean ones, `delay_samples` older."""
        data = self._odd + bytes(pcm)
        whole = len(data) // (PCM.itemsize * self.channels) * self.channels
        self._odd = data[whole * PCM.itemsize :]
        samples = np.frombuffer(data, PCM, whole).reshape(-1, self.channels)
        self._denoiser.attenuation_limit_db = controls.attenuation_limit_db
        self._denoiser.strength = controls.strength if controls.enabled else 0.0
        clean = to_int16(self._denoiser.feed(samples)).astype(PCM, copy=False)
        ready = np.concatenate([self._ready, clean])
        self._ready = ready[len(samples) :]
        return ready[: len(samples)].tobytes()


def load_plugin_model(model: str | Path | Model, voices: VoiceChoice) -> Model:
    """Load the model of a plugin, for the voices that are to be kept.

    Raises:
        SordinoError: it cannot be loaded, or an argument about voices is wrong.
    """
    check_voice_options(voices.others_db, voices.fallback_seconds)
    if voices.voices:
        return load_voice_model(model)
    return model if isinstance(model, Model) else load_model(model)
