"""Networks on disk: the registry of packaged weights, metadata, ONNX Runtime session.

A model is one ONNX file that carries its own description as JSON under the metadata key
"sordino".  Packaged weights are verified by sha256 before they are run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.livestep import LiveState, LiveStep
from sordino.stft import HOP_SECONDS, NATIVE_RATES, WINDOW_SECONDS

FORMAT = 1
NOISE_MASK = "noise-mask"
SLICE_MAGNITUDE = "slice-magnitude"
SILENCE = 1e-6  # of full scale, in a bin: less than resamplers leave after a sound

Array = NDArray[np.float32]
State = dict[str, Array]

_ort = cast(Any, onnxruntime)  # it has no types
_loaded: dict[str, "Model"] = {}  # by sha256
_WEIGHTS = files("sordino") / "weights"
_TENSORS = {
    NOISE_MASK: ({"spectrum", "voice"}, {"mask", "speech"}),
    SLICE_MAGNITUDE: ({"noisy_db"}, {"noise_db"}),
}


@dataclass(frozen=True)
class RegistryEntry:
    """One packaged model, as weights/registry.json lists it."""

    name: str
    file: str
    sha256: str
    summary: str
    kind: str

    @property
    def card(self) -> str:
        """The model card, Markdown: training data, licences, metrics, limits."""
        return (_WEIGHTS / f"{self.name}.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class ModelInfo:
    """What an ONNX file says about itself.

    Args:
        format: version of this description.
        kind: "noise-mask" (causal, spectra frame by frame) or "slice-magnitude" (the proof
            of concept: pictures of one second).
        name, version, licence, description: for people.
        native_rates: sample rates in Hz that the network works at.
        hop_seconds, window_seconds: of the analysis.
        bands: frequency bands inside the network.
        voice_size: length of a voice embedding; zeros stand for any voice.
        states: name -> shape, without the batch axis, of what is kept from frame to frame.
        parameters: number of weights.
        macs_per_second: multiply-accumulates per second of audio.
        training, metrics: how it was made and what it reached.
    """

    format: int
    kind: str
    name: str
    version: str
    native_rates: tuple[int, ...]
    hop_seconds: float = HOP_SECONDS
    window_seconds: float = WINDOW_SECONDS
    bands: int = 0
    voice_size: int = 0
    states: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    parameters: int = 0
    macs_per_second: int = 0
    licence: str = ""
    description: str = ""
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metrics: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def from_json(cls, text: str) -> "ModelInfo":
        """Read the metadata value; raises ValueError, TypeError or KeyError if it is none."""
        values: dict[str, Any] = json.loads(text)
        if values["format"] > FORMAT:
            raise ValueError(f"format {values['format']} is newer than this version of Sordino")
        known = {each.name for each in fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        values["native_rates"] = tuple(values["native_rates"])
        states = cast(dict[str, list[int]], values.get("states", {}))
        values["states"] = {name: tuple(shape) for name, shape in states.items()}
        info = cls(**values)
        if info.kind not in _TENSORS:
            raise ValueError(f"kind {info.kind!r} is unknown")
        if not info.native_rates or not set(info.native_rates) <= set(NATIVE_RATES):
            raise ValueError(f"native rates {info.native_rates} are not among {NATIVE_RATES}")
        if info.kind == NOISE_MASK and (info.hop_seconds, info.window_seconds) != (
            HOP_SECONDS,
            WINDOW_SECONDS,
        ):
            raise ValueError(f"hop or window is not {HOP_SECONDS} s / {WINDOW_SECONDS} s")
        return info


class Step(NamedTuple):
    """What a noise-mask network says about some frames."""

    mask: Array
    """Complex noise mask, shape = (batch, frames, bins, 2); the noise is mask * spectrum."""
    speech: Array
    """Probability of speech, shape = (batch, frames)."""
    state: State
    """What the next frames need."""


class Model:
    """A loaded network.  It holds no state of a stream, so many Denoisers may share it.

    Args:
        data: the bytes of an ONNX file.
        source: what messages call it.

    Raises:
        SordinoError: the bytes are not a whole ONNX file, or not one of Sordino's.
    """

    def __init__(self, data: bytes, source: str) -> None:
        self.sha256 = sha256(data).hexdigest()
        self._data = data
        self._sessions: dict[tuple[int, int], Any] = {}  # for one frame, by batch and bins
        try:
            self._session = _session(data)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            reason = " ".join(str(error).split())
            raise SordinoError(
                f"{source} is not a readable ONNX model, or truncated: get it again ({reason})"
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if "sordino" not in metadata:
            raise SordinoError(
                f"{source} is an ONNX model but not one of Sordino's (no 'sordino' metadata): "
                "make one with `sordino export`"
            )
        try:
            self.info = ModelInfo.from_json(metadata["sordino"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SordinoError(f"{source} has metadata that cannot be used: {error}") from error
        self._outputs = self._checked_outputs(source)

    def run(self, spectrum: Array, voice: Array, state: State) -> Step:
        """Estimate the noise in some frames (kind "noise-mask").

        The network does not hear silence, as of a muted microphone (less than -120 dBFS in every
        bin): it has no noise and no speech, and what is remembered of the sound before is still
        there after it.

        Args:
            spectrum: real and imaginary part, shape = (batch, frames, bins, 2).
            voice: embeddings, shape = (batch, voice_size); zeros stand for any voice.
            state: `initial_state(batch)`, later the state of the step before.  With one from
                `live_step`, a single frame is quicker, and what is returned is valid until the
                next call.
        """
        heard = np.abs(spectrum).max((2, 3)) > SILENCE
        if heard.all():
            return self._run(spectrum, voice, state)
        mask, speech = np.zeros_like(spectrum), np.zeros(heard.shape, np.float32)
        if not heard.any():
            return Step(mask, speech, state)
        state = {name: values.copy() for name, values in state.items()}
        patterns, pattern_of = np.unique(heard, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if pattern.any():
                rows = (pattern_of == number).nonzero()[0]
                here = np.ix_(rows, pattern)
                own = {name: values[rows] for name, values in state.items()}
                mask[here], speech[here], own = self._run(spectrum[here], voice[rows], own)
                for name, values in own.items():
                    state[name][rows] = values
        return Step(mask, speech, state)

    def _run(self, spectrum: Array, voice: Array, state: State) -> Step:
        batch, frames, bins, _ = spectrum.shape
        if frames == 1 and isinstance(state, LiveState):
            return Step(*state.advance(spectrum, voice))
        feeds = {"spectrum": spectrum, "voice": voice}
        feeds.update({f"state.{name}": value for name, value in state.items()})
        session = self._frame_session(1, bins) if batch == frames == 1 else self._session
        mask, speech, *following = session.run(self._outputs, feeds)
        return Step(mask, speech, dict(zip(self.info.states, following, strict=True)))

    def noise(self, noisy_db: Array) -> Array:
        """Estimate pictures of noise from noisy ones (kind "slice-magnitude").

        Args:
            noisy_db: shape = (batch, 1, 128 bins, 128 frames), see `sordino.slices`.
        """
        return self._session.run(self._outputs, {"noisy_db": noisy_db})[0]

    def initial_state(self, batch: int) -> State:
        """Return the state before the first frame, for `batch` channels."""
        return {
            name: np.zeros((batch, *shape), np.float32) for name, shape in self.info.states.items()
        }

    def live_step(self, channels: int, bins: int) -> LiveStep:
        """Return memory for a stream that takes its frames one by one."""
        session = self._frame_session(channels, bins) if channels <= 2 else self._session
        states, voice_size = self.initial_state(channels), self.info.voice_size
        return LiveStep(session, states, channels, bins, voice_size)

    def _frame_session(self, batch: int, bins: int) -> Any:
        """Return a session for one frame of some channels.

        With every shape known, ONNX Runtime works out all shapes when it loads the graph, which
        takes a fifth off the time of a step.
        """
        if (batch, bins) not in self._sessions:
            sizes = {"batch": batch, "time": 1, "bins": bins}
            self._sessions[batch, bins] = _session(self._data, sizes)
        return self._sessions[batch, bins]

    def _checked_outputs(self, source: str) -> list[str]:
        inputs, outputs = _TENSORS[self.info.kind]
        states = list(self.info.states)
        wanted = inputs | {f"state.{name}" for name in states}
        wanted |= outputs | {f"next.{name}" for name in states}
        session = self._session
        missing = wanted - {each.name for each in (*session.get_inputs(), *session.get_outputs())}
        if missing:
            raise SordinoError(f"{source} lacks the tensors {', '.join(sorted(missing))}")
        return [*sorted(outputs), *(f"next.{name}" for name in states)]


def _session(data: bytes, sizes: Mapping[str, int] | None = None) -> Any:
    """Load a graph on one thread; `sizes` fixes dynamic axes by their names."""
    options = _ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = _ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    for axis, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(axis, size)
    return _ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def available_models() -> dict[str, RegistryEntry]:
    """Return the packaged models by name, the default one first."""
    registry = _WEIGHTS / "registry.json"
    if not registry.is_file():
        raise SordinoError(
            "no packaged models found (weights/registry.json): reinstall sordino, or give the "
            "path of an .onnx file"
        )
    entries = json.loads(registry.read_text(encoding="utf-8"))
    ordered = sorted(entries, key=lambda name: (name != "default", name))
    return {name: RegistryEntry(name=name, **entries[name]) for name in ordered}


def load_model(name_or_path: str | Path = "default") -> Model:
    """Load a packaged model by its name, or any other by the path of its ONNX file.

    A model stays loaded, and is shared by all who ask for it.

    Raises:
        SordinoError: there is no such model, or its file is damaged or not one of Sordino's.
    """
    return _load(*read_model(name_or_path))


def read_model(name_or_path: str | Path) -> tuple[bytes, str]:
    """Return the ONNX file of a model as `load_model` finds it, and what messages call it.

    Raises:
        SordinoError: there is no such model, or it is a packaged one and its file is damaged.
    """
    path = Path(name_or_path)
    if path.suffix == ".onnx" or isinstance(name_or_path, Path):
        try:
            return path.read_bytes(), str(path)
        except OSError as error:
            raise SordinoError(f"cannot read the model {path}: {error.strerror}") from error
    models = available_models()
    if name_or_path not in models:
        raise SordinoError(
            f"no model is called {name_or_path!r}: choose one of {', '.join(models)}, or give "
            "the path of an .onnx file"
        )
    entry = models[name_or_path]
    try:
        data = (_WEIGHTS / entry.file).read_bytes()
    except OSError as error:
        raise SordinoError(
            f"the weights of {entry.name!r} are missing ({entry.file}): reinstall sordino"
        ) from error
    found = sha256(data).hexdigest()
    if found != entry.sha256:
        raise SordinoError(
            f"the weights of {entry.name!r} are damaged ({entry.file} has sha256 {found[:12]}..., "
            f"expected {entry.sha256[:12]}...): reinstall sordino"
        )
    return data, entry.file


def _load(data: bytes, source: str) -> Model:
    digest = sha256(data).hexdigest()
    if digest not in _loaded:
        _loaded[digest] = Model(data, source)
    return _loaded[digest]
