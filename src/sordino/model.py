"""Models: the registry of packaged weights, metadata, and the network that is loaded from them.

A model is one ONNX file that carries its own description as JSON under the metadata key
"sordino".  Packaged weights are verified by sha256 before they are run.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

import numpy as np
from platformdirs import user_data_path

from sordino.errors import SordinoError
from sordino.inference import (
    Array,
    Graph,
    MaskNetwork,
    NoiseStream,
    State,
    Step,
    available_providers,
    checked_providers,
)
from sordino.lookahead import LookaheadNetwork
from sordino.slices import SliceNetwork
from sordino.stft import HOP_SECONDS, NATIVE_RATES, WINDOW_SECONDS, SpectrumConfig
from sordino.voice.stream import VoiceFilter, VoiceStream

__all__ = [
    "Model",
    "ModelInfo",
    "RegistryEntry",
    "State",
    "Step",
    "available_models",
    "available_providers",
    "load_model",
    "read_model",
    "read_packaged",
    "user_models",
]

log = logging.getLogger("sordino")

FORMAT = 4  # 1 lacks the output `target`, 2 the input `keep`, 3 a graph of its own for enrolments
METADATA = "sordino"  # key of the description in an ONNX file
LIVE_MODEL = "default"
RECORDING_MODEL = "studio"  # looks ahead, which live sound does not let it
MODELS_VARIABLE = "SORDINO_MODELS"  # of the environment: the folder of the user's own models
NOISE_MASK = "noise-mask"
SLICE_MAGNITUDE = "slice-magnitude"
_loaded: dict[tuple[str, tuple[str, ...]], "Model"] = {}  # by sha256 and providers
_WEIGHTS = files("sordino") / "weights"
_KINDS = (NOISE_MASK, SLICE_MAGNITUDE)


@dataclass(frozen=True)
class RegistryEntry:
    """One model, as the registry.json of the packaged or of the user's models lists it."""

    name: str
    file: str
    sha256: str
    summary: str
    kind: str
    looks_ahead: bool = False
    """Whether it needs the future of what it denoises, and so is for recordings alone."""
    folder: Path | None = None
    """Where a user's model lies; None for packaged ones."""

    @property
    def live(self) -> bool:
        """Whether it can run live: it is causal and takes sound frame by frame."""
        return self.kind == NOISE_MASK and not self.looks_ahead

    @property
    def card(self) -> str:
        """The model card, Markdown: training data, licences, metrics, limits."""
        return (self.place / f"{self.name}.md").read_text(encoding="utf-8")

    @property
    def place(self) -> Traversable:
        """The folder with its files."""
        return self.folder or _WEIGHTS


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
        voice_size: numbers that the network takes for a voice; zeros stand for any voice.  Up to
            format 3 they are the voice embedding; from format 4 on a graph in the metadata makes
            them of it, once for each enrolment.
        states: name -> shape, without the batch axis, of what is kept from frame to frame.
        parameters: number of weights.
        macs_per_second: multiply-accumulates per second of audio.
        block_frames, ahead_frames: of a network that looks ahead, which takes a recording in blocks
            of so many frames, each with so many of its future; 0: causal.
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
    block_frames: int = 0
    ahead_frames: int = 0
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
        if info.kind not in _KINDS:
            raise ValueError(f"kind {info.kind!r} is unknown")
        if not info.native_rates or not set(info.native_rates) <= set(NATIVE_RATES):
            raise ValueError(f"native rates {info.native_rates} are not among {NATIVE_RATES}")
        if info.kind == NOISE_MASK and (info.hop_seconds, info.window_seconds) != (
            HOP_SECONDS,
            WINDOW_SECONDS,
        ):
            raise ValueError(f"hop or window is not {HOP_SECONDS} s / {WINDOW_SECONDS} s")
        return info


class Model:
    """A loaded network.  It holds no state of a stream, so many Denoisers may share it.

    A model is pickled and copied as the bytes of its ONNX file.

    Args:
        data: the bytes of an ONNX file.
        source: its name in messages.
        providers: of ONNX Runtime, see `load_model`.

    Raises:
        SordinoError: the bytes are not a whole ONNX file, or not one of Sordino's; or a provider
            is not there.
    """

    def __init__(
        self, data: bytes, source: str, providers: str | Sequence[str] | None = None
    ) -> None:
        self.sha256 = sha256(data).hexdigest()
        self._source = source
        self._graph = _loaded_graph(data, source, checked_providers(providers))
        metadata = self._graph.session.get_modelmeta().custom_metadata_map
        if METADATA not in metadata:
            raise SordinoError(
                f"{source} is an ONNX model but not one of Sordino's (no 'sordino' metadata): "
                "make one with `sordino export`"
            )
        try:
            self.info = ModelInfo.from_json(metadata[METADATA])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SordinoError(f"{source} has metadata that cannot be used: {error}") from error
        self._network = _network(self.info, self._graph, source)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self._graph.data, self._source, self._graph.providers)

    def on(self, providers: str | Sequence[str] | None) -> "Model":
        """Return the same model on other execution providers, see `load_model`."""
        return _load(self._graph.data, self._source, checked_providers(providers))

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers that run it, the preferred one first."""
        return self._graph.providers

    def stft(self, rate: int) -> SpectrumConfig:
        """Return how the network wants sound to be cut into spectra at a native rate in Hz."""
        return self._network.stft(rate)

    @property
    def keeps_voices(self) -> bool:
        """Whether it can keep enrolled voices and remove others."""
        return isinstance(self._network, MaskNetwork) and self._network.has_target

    def open(
        self, channels: int, strength: float = 1.0, voices: VoiceFilter | None = None
    ) -> NoiseStream:
        """Return a new stream through the network: spectra in, the noise in them out.

        Args:
            channels: of the sound.
            strength: share of the noise, 0..1.
            voices: the only ones to keep, by a model that `keeps_voices`; None keeps everybody.
        """
        if voices is not None:
            return VoiceStream(cast(MaskNetwork, self._network), channels, strength, voices)
        return self._network.open(channels, strength)

    def run(self, spectrum: Array, voice: Array, state: State) -> Step:
        """Estimate the noise in some frames (kind "noise-mask").

        Silent frames (less than -120 dBFS in every bin), as of a muted microphone, skip the
        network: they hold neither noise nor speech, and the state of the sound before is kept.

        Args:
            spectrum: real and imaginary part, shape = (batch, frames, bins, 2).
            voice: what `condition` makes of embeddings, shape = (batch, voice_size), or the
                embeddings, shape = (batch, 192); zeros stand for any voice.
            state: `initial_state(batch)`, later the state of the step before.
        """
        if voice.shape[1] != self.info.voice_size:
            voice = self.condition(voice)
        step = cast(MaskNetwork, self._network).run(spectrum, voice, state)
        return Step(step.mask, step.speech, step.state)

    def condition(self, embeddings: Array) -> Array:
        """Return what the network takes for enrolled voices (kind "noise-mask").

        Args:
            embeddings: shape = (voices, 192).

        Returns:
            Shape = (voices, voice_size).
        """
        return cast(MaskNetwork, self._network).condition(embeddings)

    def noise(self, noisy_db: Array) -> Array:
        """Estimate pictures of noise from noisy ones (kind "slice-magnitude").

        Args:
            noisy_db: shape = (batch, 1, 128 bins, 128 frames), see `sordino.slices`.
        """
        return cast(SliceNetwork, self._network).noise(noisy_db)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first frame, for `batch` channels."""
        return {
            name: np.zeros((batch, *shape), np.float32) for name, shape in self.info.states.items()
        }


def _loaded_graph(data: bytes, source: str, providers: Sequence[str]) -> Graph:
    try:
        return Graph(data, providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        reason = " ".join(str(error).split())
        raise SordinoError(
            f"{source} is not a readable ONNX model, or truncated: get it again ({reason})"
        ) from error


def _network(info: ModelInfo, graph: Graph, source: str) -> MaskNetwork | SliceNetwork:
    """Return the run-time class of a model's kind; nothing else asks which kind it is."""
    network: MaskNetwork | SliceNetwork
    if info.kind == SLICE_MAGNITUDE:
        network = SliceNetwork(graph)
    elif info.block_frames:
        blocks = info.block_frames, info.ahead_frames
        network = LookaheadNetwork(graph, info.states, info.voice_size, *blocks)
    else:
        network = MaskNetwork(graph, info.states, info.voice_size)
    wanted = {*network.inputs, *(f"state.{name}" for name in info.states)}
    wanted |= {*network.outputs, *(f"next.{name}" for name in info.states)}
    missing = wanted - graph.tensors
    if missing:
        raise SordinoError(f"{source} lacks the tensors {', '.join(sorted(missing))}")
    return network


def user_models() -> Path:
    """Return the folder of the user's own models, as `sordino adapt` makes them.

    It is SORDINO_MODELS, if the environment has it, or else a folder for the user's data, as the
    system has it.
    """
    given = os.environ.get(MODELS_VARIABLE)
    return Path(given) if given else user_data_path("sordino", appauthor=False) / "models"


def available_models() -> dict[str, RegistryEntry]:
    """Return the packaged models and the user's own by name, the default one first."""
    models = {name: entry for name, entry in _registry().items() if entry.kind in _KINDS}
    return dict(sorted(models.items(), key=lambda item: (item[0] != "default", item[0])))


def _registry() -> dict[str, RegistryEntry]:
    """Return all networks: the models, the voice encoder, and the user's own models."""
    registry = _WEIGHTS / "registry.json"
    if not registry.is_file():
        raise SordinoError(
            "no packaged models found (weights/registry.json): reinstall sordino, or give the "
            "path of an .onnx file"
        )
    entries = json.loads(registry.read_text(encoding="utf-8"))
    packaged = {name: RegistryEntry(name=name, **entry) for name, entry in entries.items()}
    return _own_registry() | packaged


def _own_registry() -> dict[str, RegistryEntry]:
    """Return the user's models; a damaged list of them must not keep the packaged ones away."""
    folder = user_models()
    try:
        entries = json.loads((folder / "registry.json").read_text(encoding="utf-8"))
        return {
            name: RegistryEntry(name=name, folder=folder, **entry)
            for name, entry in entries.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: cannot be read (%s): your own models are left out", folder, error)
        return {}


def load_model(
    name_or_path: str | Path = "default", providers: str | Sequence[str] | None = None
) -> Model:
    """Load a packaged or a user's model by its name, or any other by the path of its ONNX file.

    A model stays loaded, and is shared by all who ask for it.

    Args:
        name_or_path: "default", another name of `available_models`, or the path of an .onnx file.
        providers: execution providers of ONNX Runtime, preferred first, such as "cuda" or
            ("openvino",); the CPU takes over what they cannot run.  None is the CPU alone.

    Raises:
        SordinoError: there is no such model, or its file is damaged or not one of Sordino's; or a
            provider is not there.
    """
    data, source = read_model(name_or_path)
    return _load(data, source, checked_providers(providers))


def read_model(name_or_path: str | Path) -> tuple[bytes, str]:
    """Return the ONNX file of a model as `load_model` finds it, and its name in messages.

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
    return read_packaged(name_or_path)


def read_packaged(name: str) -> tuple[bytes, str]:
    """Return a packaged ONNX file, verified by its sha256, and its name in messages.

    Args:
        name: as in weights/registry.json.

    Raises:
        SordinoError: the file is missing or damaged.
    """
    entry = _registry().get(name)
    if entry is None:
        raise SordinoError(f"the weights of {name!r} are missing: reinstall sordino")
    try:
        data = (entry.place / entry.file).read_bytes()
    except OSError as error:
        raise SordinoError(
            f"the weights of {entry.name!r} are missing ({entry.file}): {_again(entry)}"
        ) from error
    found = sha256(data).hexdigest()
    if found != entry.sha256:
        raise SordinoError(
            f"the weights of {entry.name!r} are damaged ({entry.file} has sha256 {found[:12]}..., "
            f"expected {entry.sha256[:12]}...): {_again(entry)}"
        )
    return data, entry.file


def _again(entry: RegistryEntry) -> str:
    return "reinstall sordino" if entry.folder is None else "make it again with `sordino adapt`"


def _load(data: bytes, source: str, providers: tuple[str, ...]) -> Model:
    key = (sha256(data).hexdigest(), providers)
    if key not in _loaded:
        _loaded[key] = Model(data, source, providers)
    return _loaded[key]
