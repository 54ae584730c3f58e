"""Inference: spectra -> the noise in them, by ONNX Runtime.

`Graph` is a loaded ONNX file; it holds no state of a sound, so many streams share it.
`MaskStream` is one stream through a "noise-mask" network: the session, its bound buffers and the
recurrent state in one object.
"""

from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.stft import Spectra, SpectrumConfig

SILENCE = 1e-6  # of full scale, in a bin: less than resamplers leave after a sound
TARGET = "target"  # an output since format 2
ENROLMENT = "sordino.enrolment"  # key of the metadata, since format 4
SILENT_TARGET = -20.0  # logit of the enrolled voice in silence
BOUND_CHANNELS = 2  # streams of more channels run in a session that takes any number

Array = NDArray[np.float32]
State = dict[str, Array]

_ort = cast(Any, onnxruntime)  # it has no types
_ort.disable_telemetry_events()  # for a program that imported it before Sordino
_CPU = "CPUExecutionProvider"


class Step(NamedTuple):
    """What a noise-mask network says about some frames."""

    mask: Array
    """Complex noise mask, shape = (batch, frames, bins, 2); the noise is mask * spectrum."""
    speech: Array
    """Probability of speech, shape = (batch, frames)."""
    state: State
    """What the next frames need."""


class Estimate(NamedTuple):
    """A `Step`, and whether the enrolled voice speaks."""

    mask: Array
    speech: Array
    target: Array | None
    """Logit that the enrolled voice speaks, shape = (batch, frames); None before format 2."""
    state: State


class Graph:
    """An ONNX graph and its sessions.

    Args:
        data: the bytes of an ONNX file.
        providers: ONNX Runtime's execution providers, the preferred one first.

    Raises:
        Exception: the bytes are no ONNX file; ONNX Runtime's exceptions share no base class.
    """

    def __init__(self, data: bytes, providers: Sequence[str]) -> None:
        self.data = data
        self.providers = tuple(providers)
        self.session = self._load({})
        """Takes any number of channels, frames and bins."""
        self._single: dict[tuple[int, int], Any] = {}  # sessions by channels and bins
        self._enrolment: Any = None  # session, loaded for the first enrolled voice

    @property
    def tensors(self) -> frozenset[str]:
        """The names of its inputs and outputs."""
        return frozenset(
            each.name for each in (*self.session.get_inputs(), *self.session.get_outputs())
        )

    def single_frame(self, channels: int, bins: int) -> Any:
        """Return a session for one frame of some channels.

        With every shape known, ONNX Runtime works out all shapes when it loads the graph, which
        takes a fifth off the time of a step.
        """
        key = (channels, bins)
        if key not in self._single:
            self._single[key] = self._load({"batch": channels, "time": 1, "bins": bins})
        return self._single[key]

    def condition(self, embeddings: Array) -> Array:
        """Return what the input "voice" is for embeddings of voices, shape = (voices, 192).

        Since format 4 a graph of its own makes it, of any size, once for each enrolment; before,
        it is the embedding.
        """
        if self._enrolment is None:
            text = self.session.get_modelmeta().custom_metadata_map.get(ENROLMENT)
            if text is None:
                return embeddings
            self._enrolment = self._load({}, b64decode(text))
        return self._enrolment.run(None, {"embedding": embeddings})[0]

    def _load(self, sizes: Mapping[str, int], data: bytes | None = None) -> Any:
        """Load a graph on one thread; `sizes` fixes dynamic axes by their names."""
        options = _ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = _ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        for axis, size in sizes.items():
            options.add_free_dimension_override_by_name(axis, size)
        return _ort.InferenceSession(data or self.data, options, providers=list(self.providers))


class NoiseStream(Protocol):
    """One stream of spectra through a network; it keeps the network's memory of the sound.

    It is a `sordino.stft.SpectrumFilter`: spectra go in, and what comes out is their noise.
    """

    delay_frames: int
    """Maximum number of frames that a frame waits inside before its noise comes out."""
    strength: float
    """Share of the noise that comes out, 0..1; changes take effect at the next frame."""
    speech_probability: float | None
    """Of the newest frame, in any channel; None if the network does not estimate it."""

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames, shape = (channels, frames, bins); return the noise of finished ones."""
        ...

    def flush(self) -> Spectra:
        """Return the noise of the frames that are still inside; the sound has ended."""
        ...

    def batch_key(self, spectra: Spectra) -> Hashable:
        """Return a key that is equal for streams whose frames may share a run.

        Shape: (channels, frames, bins).
        """
        ...

    @classmethod
    def process_together(cls, streams: Sequence[Self], spectra: Sequence[Spectra]) -> list[Spectra]:
        """Do as `process` for streams of the same key, in one run of the network.

        Shape: of each stream, (channels, frames, bins).
        """
        ...


class UnbatchedStream(ABC):
    """A `NoiseStream` that shares no run with others."""

    @abstractmethod
    def process(self, spectra: Spectra) -> Spectra:
        """See `NoiseStream.process`."""

    def batch_key(self, spectra: Spectra) -> Hashable:  # noqa: ARG002
        """Return a key of its own: these streams share no run.

        Shape: (channels, frames, bins).
        """
        return id(self)

    @classmethod
    def process_together(cls, streams: Sequence[Self], spectra: Sequence[Spectra]) -> list[Spectra]:
        """Run each stream on its own.

        Shape: of each stream, (channels, frames, bins).
        """
        return [stream.process(own) for stream, own in zip(streams, spectra, strict=True)]


class MaskNetwork:
    """A network that maps spectrum frames to a complex mask of their noise.

    Args:
        graph: with the inputs spectrum, voice, state.NAME and the outputs mask, speech, next.NAME;
            since format 2 also target.
        states: name -> shape, without the batch axis.
        voice_size: numbers that the network takes for a voice.
    """

    inputs, outputs = frozenset({"spectrum", "voice"}), frozenset({"mask", "speech"})

    def __init__(
        self, graph: Graph, states: Mapping[str, tuple[int, ...]], voice_size: int
    ) -> None:
        self.graph = graph
        self.states = states
        self.voice_size = voice_size
        self.has_target = TARGET in graph.tensors
        """Whether it tells if the enrolled voice speaks, so that it can keep that voice alone."""
        target = [TARGET] if self.has_target else []
        self._outputs = ["mask", "speech", *target, *(f"next.{name}" for name in states)]

    def stft(self, rate: int) -> SpectrumConfig:
        """Return how sound is cut into spectra at a native rate in Hz."""
        return SpectrumConfig.at(rate)

    def open(self, channels: int, strength: float) -> NoiseStream:
        """Return a new stream."""
        return MaskStream(self, channels, strength)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first frame, for `batch` channels."""
        return {name: np.zeros((batch, *shape), np.float32) for name, shape in self.states.items()}

    def condition(self, embeddings: Array) -> Array:
        """Return what the network takes for enrolled voices, shape = (voices, voice_size).

        Args:
            embeddings: shape = (voices, 192).
        """
        return self.graph.condition(embeddings)

    def run(self, spectrum: Array, voice: Array, state: State, keep: int | None = None) -> Estimate:
        """Estimate the noise mask of some frames; see `sordino.model.Model.run`.

        Args:
            spectrum: shape = (batch, frames, bins, 2).
            voice: shape = (batch, voice_size).
            state: shapes = (batch, ...).
            keep: frames after which the next state is taken, see `sordino.lookahead`; None: all.
        """
        kept = spectrum.shape[1] if keep is None else keep
        heard = np.abs(spectrum).max((2, 3)) > SILENCE
        if heard.all():
            return self._run(spectrum, voice, state, kept)
        mask, speech = np.zeros_like(spectrum), np.zeros(heard.shape, np.float32)
        target = np.full(heard.shape, SILENT_TARGET, np.float32) if self.has_target else None
        if not heard.any():
            return Estimate(mask, speech, target, state)
        state = {name: values.copy() for name, values in state.items()}
        patterns, pattern_of = np.unique(heard, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if pattern.any():
                rows = (pattern_of == number).nonzero()[0]
                here = np.ix_(rows, pattern)
                own = {name: values[rows] for name, values in state.items()}
                step = self._run(spectrum[here], voice[rows], own, int(pattern[:kept].sum()))
                mask[here], speech[here] = step.mask, step.speech
                if target is not None and step.target is not None:
                    target[here] = step.target
                for name, values in step.state.items():
                    state[name][rows] = values
        return Estimate(mask, speech, target, state)

    def _run(self, spectrum: Array, voice: Array, state: State, keep: int) -> Estimate:  # noqa: ARG002
        batch, frames, bins, _ = spectrum.shape
        single = batch == frames == 1
        session = self.graph.single_frame(1, bins) if single else self.graph.session
        return self._answer(session, {"spectrum": spectrum, "voice": voice}, state)

    def _answer(self, session: Any, feeds: dict[str, Any], state: State) -> Estimate:
        feeds.update({f"state.{name}": value for name, value in state.items()})
        mask, speech, *others = session.run(self._outputs, feeds)
        target = others.pop(0) if self.has_target else None
        return Estimate(mask, speech, target, dict(zip(self.states, others, strict=True)))


class MaskStream:
    """One stream through a `MaskNetwork`; its noise is N = strength * M * X.

    A frame on its own, as in live use, goes through buffers that are bound to the session once.
    What one step leaves behind, the next one reads: two sets of states take turns, so that nothing
    is copied.

    Args:
        network: shared by all streams.
        channels: of the sound; each has its own state.
        strength: share of the noise that is removed, 0..1; settable while running.
        voice: for each channel, see `MaskNetwork.condition`, shape = (channels, voice_size); None
            is any voice.
    """

    delay_frames = 0

    def __init__(
        self, network: MaskNetwork, channels: int, strength: float, voice: Array | None = None
    ) -> None:
        self.strength = strength
        self.speech_probability: float | None = 0.0
        self.speech: Array = np.zeros((channels, 0), np.float32)
        """Probability of speech in the frames of the last call, shape = (channels, frames)."""
        self.target: Array | None = None
        """Logit that the enrolled voice speaks in them; None before format 2."""
        self._network = network
        self._voice = np.zeros((channels, network.voice_size), np.float32)
        if voice is not None:
            self._voice[...] = voice
        self._states = network.initial_state(channels), network.initial_state(channels)
        self._current = 0  # which of the two sets is the present state
        self._bindings: tuple[Any, Any] | None = None

    def with_channels(self, rows: Sequence[int], voice: Array) -> "MaskStream":
        """Return a stream that goes on from here with other channels.

        Args:
            rows: the channel of this stream whose state each new channel takes over.
            voice: for each new channel, see `MaskNetwork.condition`.

        Shape: voice (channels, voice_size).
        """
        stream = MaskStream(self._network, len(rows), self.strength, voice)
        for name, values in stream._states[0].items():
            values[...] = self._states[self._current][name][list(rows)]
        return stream

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return their noise.

        Shape: (channels, frames, bins), in and out.
        """
        frames = spectra.shape[1]
        if frames == 1:
            return self._step(spectra)
        if not frames:
            return spectra
        step = self._network.run(pairs(spectra), self._voice, self._states[self._current])
        return self._after(spectra, *step)

    def flush(self) -> Spectra:
        """Return nothing: no frame waits here."""
        return np.zeros((len(self._voice), 0, 0), np.complex64)

    def batch_key(self, spectra: Spectra) -> Hashable:
        """Streams of one network with as many frames of as many bins may share a run.

        Shape: (channels, frames, bins).
        """
        return self._network, spectra.shape[1:]

    @classmethod
    def process_together(cls, streams: Sequence[Self], spectra: Sequence[Spectra]) -> list[Spectra]:
        """Run the network once: the channels of all streams are its batch.

        Shape: of each stream, (channels, frames, bins).
        """
        network = streams[0]._network
        states = [each._states[each._current] for each in streams]
        mask, speech, target, state = network.run(
            pairs(np.concatenate(spectra)),
            np.concatenate([each._voice for each in streams]),
            {name: np.concatenate([own[name] for own in states]) for name in network.states},
        )
        noises: list[Spectra] = []
        start = 0
        for each, own in zip(streams, spectra, strict=True):
            rows = slice(start, start + len(own))
            start = rows.stop
            following = {name: values[rows] for name, values in state.items()}
            own_target = None if target is None else target[rows]
            noises.append(each._after(own, mask[rows], speech[rows], own_target, following))
        return noises

    def _step(self, spectra: Spectra) -> Spectra:
        """Do as `process` for a single frame."""
        level = np.abs(spectra.view(np.float32)).max((1, 2))
        silent = level <= SILENCE
        if self._bindings is None:
            self._bind(*spectra.shape)
        assert self._bindings
        self.speech, self.target = self._speech, self._target
        if silent.all():
            self._forget(silent)
            self.speech_probability = 0.0
            return np.zeros_like(spectra)
        self._spectrum[...] = spectra
        self._session.run_with_iobinding(self._bindings[self._current])
        if silent.any():  # silence leaves no trace in a channel's state
            self._mask[silent] = 0
            self._forget(silent)
            before, after = self._states[self._current], self._states[1 - self._current]
            for name, values in after.items():
                values[silent] = before[name][silent]
        self._current = 1 - self._current
        self.speech_probability = float(self._speech.max())
        noise = self._mask * spectra
        noise *= self.strength
        return noise

    def _forget(self, silent: NDArray[np.bool_]) -> None:
        """Note that nobody speaks in silent channels."""
        self._speech[silent] = 0
        if self._target is not None:
            self._target[silent] = SILENT_TARGET

    def _after(
        self, spectra: Spectra, mask: Array, speech: Array, target: Array | None, state: State
    ) -> Spectra:
        """Keep the state after some frames and return their noise."""
        self.speech, self.target = speech, target
        for name, values in self._states[self._current].items():
            values[...] = state[name]
        self.speech_probability = float(speech[:, -1].max())
        noise: Spectra = mask.view(np.complex64)[..., 0] * spectra
        noise *= self.strength
        return noise

    def _bind(self, channels: int, frames: int, bins: int) -> None:
        """Make the memory of a single frame and tell the session where it is."""
        graph = self._network.graph
        bound = channels <= BOUND_CHANNELS
        self._session = graph.single_frame(channels, bins) if bound else graph.session
        self._spectrum = np.zeros((channels, frames, bins), np.complex64)
        self._mask = np.zeros_like(self._spectrum)
        self._speech = np.zeros((channels, frames), np.float32)
        self._target = np.zeros_like(self._speech) if self._network.has_target else None
        first, second = self._states
        self._bindings = self._binding(first, second), self._binding(second, first)

    def _binding(self, state: State, following: State) -> Any:
        inputs = {"spectrum": pairs(self._spectrum), "voice": self._voice}
        outputs = {"mask": pairs(self._mask), "speech": self._speech}
        if self._target is not None:
            outputs[TARGET] = self._target
        inputs |= {f"state.{name}": values for name, values in state.items()}
        outputs |= {f"next.{name}": values for name, values in following.items()}
        binding = self._session.io_binding()
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, values in arrays.items():
                bind(name, "cpu", 0, np.float32, values.shape, values.ctypes.data)
        return binding


def process_batch(streams: Sequence[NoiseStream], spectra: Sequence[Spectra]) -> list[Spectra]:
    """Return the noise of some frames of each stream, in as few runs of networks as possible.

    Args:
        streams: at most once each.
        spectra: frames of each, shape = (channels, frames, bins).
    """
    noises = [each[:, :0] for each in spectra]
    groups: dict[Hashable, list[int]] = {}
    for i, (stream, frames) in enumerate(zip(streams, spectra, strict=True)):
        if frames.shape[1]:
            groups.setdefault(stream.batch_key(frames), []).append(i)
    for group in groups.values():
        first = streams[group[0]]
        if len(group) == 1:
            noises[group[0]] = first.process(spectra[group[0]])
            continue
        together = type(first).process_together(
            [streams[i] for i in group], [spectra[i] for i in group]
        )
        for i, noise in zip(group, together, strict=True):
            noises[i] = noise
    return noises


def available_providers() -> dict[str, str]:
    """Return the execution providers of this ONNX Runtime: short name -> its own name.

    >>> available_providers()["cpu"]
    'CPUExecutionProvider'
    """
    # Azure's provider sends sound to other machines.
    names = [name for name in _ort.get_available_providers() if not name.startswith("Azure")]
    found = {name.removesuffix("ExecutionProvider").lower(): name for name in names}
    return {"directml" if short == "dml" else short: name for short, name in found.items()}


def checked_providers(wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return ONNX Runtime's names of execution providers; the CPU always comes last.

    Args:
        wanted: one or several, preferred first, such as "cuda", "coreml", "directml", "openvino" or
            "CUDAExecutionProvider", in any case; None is the CPU.

    Raises:
        SordinoError: one is not there.
    """
    there = available_providers()
    try:
        names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    except TypeError:
        names = [wanted]
    chosen: list[str] = []
    for name in names:
        short = str(name).lower().removesuffix("executionprovider")
        short = "directml" if short == "dml" else short
        if short not in there:
            raise SordinoError(
                f"this ONNX Runtime has no execution provider {name!r}: choose from "
                f"{', '.join(there)}, or install a build that has it, such as onnxruntime-gpu"
            )
        chosen.append(there[short])
    return tuple(dict.fromkeys([*chosen, _CPU]))


def pairs(spectra: Spectra) -> Array:
    """Return complex numbers as pairs of real and imaginary part, without a copy."""
    return spectra.view(np.float32).reshape(*spectra.shape, 2)
