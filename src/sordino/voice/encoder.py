"""The voice encoder: a recording of one voice to an embedding that distinguishes it from others.

Sound becomes a log-mel filterbank at 16 kHz (NumPy), and that an embedding (an ONNX network).
Embeddings of one speaker lie close together: their dot product is the cosine similarity.

Sources: the features are those of Kaldi (Povey et al., "The Kaldi speech recognition toolkit",
2011); the network is learnt from CAM++ (Wang et al., "CAM++: A fast and efficient network for
speaker verification using context-aware masking", Interspeech 2023), see
`sordino.train.voice_encoder`.
"""

import json
from functools import lru_cache
from typing import Any, Self, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
import soxr  # pyright: ignore[reportMissingTypeStubs]
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.model import read_packaged
from sordino.spectrogram import mel

SIZE = 192  # numbers of an embedding
RATE = 16000  # Hz
MELS = 80
HOP = 160  # samples, 10 ms
WINDOW = 400  # samples, 25 ms
MIN_SECONDS = 0.5  # of sound that an embedding needs
LEVEL = 0.05  # RMS of full scale that sound is brought to
PREEMPHASIS = 0.97
LOWEST = 20.0  # Hz, lower edge of the first mel band
FLOOR = float(np.finfo(np.float32).eps)  # of a band's power
_FFT = 512

_ort = cast(Any, onnxruntime)  # it has no types


class VoiceEncoder:
    """Maps recordings of a voice to embeddings.  It holds no state and may be shared.

    Args:
        data: the bytes of an ONNX file that `sordino export` made of a voice encoder.
        source: its name in messages.

    Raises:
        SordinoError: the bytes are not those of a voice encoder.

    Attributes:
        id: name and version; embeddings of different encoders cannot be compared.
    """

    def __init__(self, data: bytes, source: str) -> None:
        options = _ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = _ort.InferenceSession(data, options, ["CPUExecutionProvider"])
            metadata = self._session.get_modelmeta().custom_metadata_map
            about: dict[str, Any] = json.loads(metadata["sordino"])
            self.id = f"{about['name']}-{about['version']}"
            kind: str = about["kind"]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            reason = " ".join(str(error).split())
            raise SordinoError(f"{source} is not a readable voice encoder ({reason})") from error
        if kind != "voice-encoder":
            raise SordinoError(f"{source} is a model of kind {kind!r}, not a voice encoder")

    @classmethod
    def load(cls) -> Self:
        """Return the packaged encoder, verified by its sha256 and shared within the process.

        Raises:
            SordinoError: its file is missing or damaged.
        """
        return cast(Self, _packaged())

    def embed(self, samples: Mono, sample_rate: int) -> NDArray[np.float32]:
        """Embed the voice in a recording; its level makes no difference.

        Args:
            samples: one speaker, shape = (samples,), at least 0.5 s; 3 to 20 s serve best.
            sample_rate: in Hz.

        Returns:
            Shape = (192,), of unit norm.

        Raises:
            SordinoError: the recording is too short or silent, or holds NaN or Inf.
        """
        if not np.isfinite(samples).all():
            raise SordinoError("the recording holds NaN or Inf: export it again")
        if len(samples) < MIN_SECONDS * sample_rate:
            raise SordinoError(
                f"a recording of {len(samples) / sample_rate:.2f} s is too short to tell a voice: "
                f"give at least {MIN_SECONDS} s"
            )
        x = np.asarray(samples, np.float32)
        if sample_rate != RATE:
            x = soxr.resample(x, sample_rate, RATE)
        rms = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
        if rms < 1e-6:
            raise SordinoError("the recording is silent: check the microphone")
        features = filterbank(x * np.float32(LEVEL / rms))
        (embedding,) = self._session.run(["embedding"], {"features": features[None]})
        return embedding[0]


@lru_cache(maxsize=1)
def _packaged() -> VoiceEncoder:
    data, source = read_packaged("voice-encoder")
    return VoiceEncoder(data, source)


def filterbank(x: Mono) -> NDArray[np.float32]:
    """Log-mel filterbank as Kaldi computes it (no dither, frames inside the sound only).

    Each band has its mean over time taken off.

    Args:
        x: at 16 kHz, shape = (samples,), at least one window of 400.

    Returns:
        Shape = (frames, 80), a frame every 10 ms.
    """
    frames = sliding_window_view(x, WINDOW)[::HOP]
    frames = frames - frames.mean(1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    frames = (frames - np.float32(PREEMPHASIS) * before) * _window()
    spectrum = np.fft.rfft(frames, _FFT)[:, : _FFT // 2]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mel = np.log(np.maximum(power.astype(np.float32) @ _mel_bands(), np.float32(FLOOR)))
    return mel - mel.mean(0)


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    """Povey's window: a Hann window to the power of 0.85."""
    n = np.arange(WINDOW)
    return ((0.5 - 0.5 * np.cos(2 * np.pi * n / (WINDOW - 1))) ** 0.85).astype(np.float32)


@lru_cache(maxsize=1)
def _mel_bands() -> NDArray[np.float32]:
    """Triangles on the mel scale, shape = (bins without the highest, bands)."""
    edges = np.linspace(float(mel(LOWEST)), float(mel(RATE / 2)), MELS + 2)
    at = mel(np.arange(_FFT // 2) * (RATE / _FFT))[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (at - left) / (centre - left), (right - at) / (right - centre)
    return np.maximum(np.minimum(rise, fall), 0).astype(np.float32)
