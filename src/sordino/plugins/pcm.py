"""16-bit PCM in frames of any size -> clean PCM, every frame as long as it came.

Voice-agent frameworks expect back exactly the frame that they handed in.  The engine answers
up to its latency later, so as much silence leads the stream, and nothing varies after that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.model import Model

FULL_SCALE = 32768
PCM = np.dtype("<i2")  # little-endian, as the frameworks send it


@dataclass(frozen=True)
class Knobs:
    """What may change while a stream runs.

    Args:
        strength: share of the noise that is taken away, 0..1.
        attenuation_limit_db: the most that any sound may be attenuated; None is no limit.
        enabled: False passes the sound through unchanged but equally late, so that switching
            leaves no gap.

    Raises:
        SordinoError: a value is out of range.
    """

    strength: float = 1.0
    attenuation_limit_db: float | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        strength, limit = self.strength, self.attenuation_limit_db
        if not _is_number(strength) or not 0 <= strength <= 1:
            raise SordinoError(
                f"strength is {strength!r}: expected 0 (nothing is taken) to 1 (all noise)"
            )
        if limit is not None and (not _is_number(limit) or not limit >= 0):
            raise SordinoError(
                f"the attenuation limit is {limit!r} dB: expected 0 or more, or None"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class PcmStream:
    """The sound of one participant, at one sample rate.

    Args:
        model: a loaded model; streams share it.
        sample_rate: in Hz, 8000 to 192000.
        channels: interleaved channels.

    Raises:
        SordinoError: the sample rate or the number of channels is out of range.

    >>> from sordino.model import load_model
    >>> stream = PcmStream(load_model(), sample_rate=16000)
    >>> len(stream.process(bytes(640), Knobs())), stream.delay_samples
    (640, 320)
    """

    def __init__(self, model: Model, sample_rate: int, channels: int = 1) -> None:
        self._denoiser = Denoiser(model, sample_rate, channels)
        self.sample_rate = self._denoiser.sample_rate
        self.channels = self._denoiser.channels
        self.delay_samples = self._denoiser.latency_samples
        """How much later a sample goes out than it came in."""
        self._ready = np.zeros((self.delay_samples, self.channels), PCM)

    @property
    def speech_probability(self) -> float:
        """Probability, 0..1, that the newest 10 ms held speech; 0 if the model does not say."""
        return self._denoiser.speech_probability or 0.0

    def process(self, pcm: bytes | memoryview, knobs: Knobs) -> bytes:
        """Take interleaved 16-bit samples and return as many, clean and `delay_samples` older.

        Raises:
            SordinoError: the bytes are not whole samples of all channels.
        """
        samples = np.frombuffer(pcm, np.uint8)
        if len(samples) % (PCM.itemsize * self.channels):
            raise SordinoError(
                f"a frame has {len(samples)} bytes: expected 16-bit samples of {self.channels} "
                "channel(s), interleaved"
            )
        samples = samples.view(PCM).reshape(-1, self.channels)
        self._denoiser.attenuation_limit_db = knobs.attenuation_limit_db
        self._denoiser.strength = knobs.strength if knobs.enabled else 0.0
        clean = _as_pcm(self._denoiser.feed(samples))
        ready = np.concatenate([self._ready, clean])
        self._ready = ready[len(samples) :]
        return ready[: len(samples)].tobytes()


def _as_pcm(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = np.rint(sound * FULL_SCALE)
    return scaled.clip(-FULL_SCALE, FULL_SCALE - 1).astype(PCM)
