"""From a checkpoint to the ONNX file that users run; size and cost of a network.

The tracing exporter writes every size of a `reshape` as four small nodes.  Most of these sizes
are known, or can be left to ONNX's -1 ("what remains") and 0 ("as before"); without the nodes, a
step in which not all sizes are fixed takes an eighth less time (`fix_shapes`).
"""

# No types: torch and onnxruntime.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import hashlib
import json
import tempfile
import warnings
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sordino import slices
from sordino.errors import SordinoError
from sordino.inference import ENROLMENT
from sordino.io.atomic import atomic_write
from sordino.model import METADATA, NOISE_MASK, SLICE_MAGNITUDE
from sordino.stft import FRAMES_PER_SECOND, HOP_SECONDS, NATIVE_RATES, WINDOW_SECONDS, bins
from sordino.train.baselines.poc_unet import PocUNet
from sordino.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    restore_weights,
    save_weights,
)
from sordino.train.objective import make_objective
from sordino.train.recipe import Recipe, to_tree
from sordino.train.unet import UNet
from sordino.train.voice_encoder import VOICE_ENCODER, VoiceEncoderNetwork
from sordino.voice.encoder import MELS, SIZE

_TRIALS = ({"batch": 2, "time": 3, "bins": 257}, {"batch": 5, "time": 7, "bins": 385})


def fix_shapes(model: onnx.ModelProto) -> None:
    """Give every Reshape a constant target where one constant serves all sizes.

    What can be a constant is seen by running the graph with different sizes.

    Args:
        model: changed in place; its dynamic axes are called batch, time and bins.
    """
    graph = model.graph
    constants = {weight.name for weight in graph.initializer}
    given = {each.name for each in graph.input} | constants
    reshapes = [n for n in graph.node if n.op_type == "Reshape" and not constants & set(n.input)]
    watched = sorted({name for node in reshapes for name in node.input} - given)
    runs = [_watch(model, watched, sizes) for sizes in _TRIALS]
    for node in reshapes:
        data, target = node.input
        befores = [run[data].shape for run in runs]
        shape = _target([run[target] for run in runs], befores)
        if shape is not None:
            name = f"{node.name}.shape"
            graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name
    _drop_unused(graph)


def _watch(model: onnx.ModelProto, names: list[str], sizes: dict[str, int]) -> dict[str, Any]:
    """Run a graph on zeros and return its inputs and the tensors of some names."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {each.name for each in probe.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds: dict[str, Any] = {}
    for each in model.graph.input:
        dims = each.type.tensor_type.shape.dim
        shape = [dim.dim_value or sizes[dim.dim_param] for dim in dims]
        feeds[each.name] = np.zeros(shape, np.float32) if shape else np.array(2)  # frames to keep
    return feeds | dict(zip(names, session.run(names, feeds), strict=True))


def _target(targets: list[Any], befores: list[tuple[int, ...]]) -> Any:
    """Return the target that all trials share, or None if there is none."""
    shape = targets[0].copy()
    for axis in np.flatnonzero(targets[0] != targets[1]):
        kept = all(
            axis < len(before) and before[axis] == target[axis]
            for before, target in zip(befores, targets, strict=True)
        )
        shape[axis] = 0 if kept else -1
    return shape if np.count_nonzero(shape == -1) <= 1 else None


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and constants that nothing reads any more."""
    used = {each.name for each in graph.output}
    for node in reversed(list(graph.node)):  # in topological order, so readers come first
        if used.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            used.update(node.input)
    for weight in [w for w in graph.initializer if w.name not in used]:
        graph.initializer.remove(weight)


def count_parameters(network: nn.Module) -> int:
    """Number of weights that training can change, plus those it may have frozen."""
    return sum(weight.numel() for weight in network.parameters())


@torch.no_grad()
def count_macs(network: nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of one forward pass.

    Counted are linear, convolutional and recurrent layers, which is what other systems
    report; element-wise work and the two fixed band matrices are not.

    Args:
        network: run as `network(*inputs)`.
        inputs: of one second of audio, for a figure per second.

    >>> count_macs(nn.Linear(3, 5), torch.zeros(100, 3))
    1500
    """
    total = 0

    def count(layer: nn.Module, args: tuple[Tensor, ...], result: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += result.numel() * layer.in_features
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            positions = (result if isinstance(layer, nn.Conv2d) else args[0]).numel()
            inner = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.out_channels
            total += positions * inner // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.Conv1d):
            total += result.numel() * layer.in_channels * layer.kernel_size[0]
        elif isinstance(layer, nn.RNNBase):
            steps = args[0].shape[0] * args[0].shape[1]
            weights = sum(w.numel() for n, w in layer.named_parameters() if n.startswith("weight"))
            total += steps * weights

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return total


LICENCE = "Apache-2.0"
OPSET = 17
BLOCK_FRAMES, AHEAD_FRAMES = 1000, 100  # 10 s at a time, with 1 s of future behind


class ExportGraph(NamedTuple):
    """What the exporter needs to know of a network, and what its users will."""

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: list[str]
    outputs: list[str]
    axes: dict[str, dict[int, str]]  # names of the dynamic axes of inputs and outputs
    facts: dict[str, Any]  # metadata
    half: bool = False  # keep the weights in 16 bits, which halves the file
    bytes: bool = False  # keep them in 8 bits
    enrolment: nn.Module | None = None  # what makes the input "voice" of an embedding


class _Flat(nn.Module):
    """The network with its state as a flat list of tensors, in the order of its names.

    What it makes of a voice is computed before, see `_Enrolment`.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        self.names = list(network.initial_state())
        self.ahead = bool(network.config.backward)

    def forward(self, spectrum: Tensor, voice: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        keep, state = (others[0], others[1:]) if self.ahead else (None, others)
        states = dict(zip(self.names, state, strict=True))
        output = self.network.estimate(spectrum, voice, states, keep)
        following = [output.state[name] for name in self.names]
        target = () if output.target is None else (output.target,)
        return output.mask, torch.sigmoid(output.speech), *target, *following


class _Enrolment(nn.Module):
    """What the network makes of a voice, once for each enrolment."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, embedding: Tensor) -> Tensor:
        return self.network.condition(embedding)


def export_checkpoint(
    checkpoint: Checkpoint, path: Path, version: str, metrics: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the averaged weights of a checkpoint as an ONNX file with its metadata.

    The same weights go into a .safetensors file beside it, which training can start from; but
    those of a voice encoder, all profiles of which would be void with other weights.

    Args:
        checkpoint: of a run.
        path: of the ONNX file.
        version: of the weights.
        metrics: figures to be kept in the file.

    Returns:
        The metadata.
    """
    recipe = checkpoint.recipe
    network = _network(recipe)
    restore_weights(network, checkpoint.part("average"), "the checkpoint")
    network.eval()
    graph = _GRAPHS[recipe.kind](network)
    training_recipe = to_tree(recipe)
    # Paths of the machine that trained are private.
    training_recipe.pop("data")
    with atomic_write(path) as part:
        _write(graph, part)
        metadata = {
            "format": _format(graph),
            "kind": recipe.kind,
            "name": recipe.name,
            "version": version,
            "parameters": count_parameters(network),
            "licence": LICENCE,
            "description": recipe.description,
            "training": {**asdict(checkpoint.progress), "recipe": training_recipe},
            "metrics": metrics or {},
            **graph.facts,
        }
        model = onnx.load(part)
        if recipe.kind == NOISE_MASK:
            fix_shapes(model)
            _store_sparsely(model)
        if graph.half:
            _halve_weights(model)
        if graph.bytes:
            _quantize_weights(model)
        properties = {METADATA: json.dumps(metadata)}
        if graph.enrolment is not None:
            properties[ENROLMENT] = _enrolment_text(graph.enrolment, SIZE)
        helper.set_model_props(model, properties)
        onnx.checker.check_model(model)
        onnx.save(model, part)
    beside = path.with_suffix(".safetensors")
    # A run's own checkpoint of that name holds the weights and what it needs to resume.
    kept = beside.exists() and load_checkpoint(beside).part("network")
    if recipe.kind != VOICE_ENCODER and not kept:
        weights = network.state_dict()
        if graph.half:
            weights = {k: w.half() if w.ndim > 1 else w for k, w in weights.items()}
        save_weights(beside, recipe, checkpoint.progress, weights)
    return metadata


def _enrolment_text(module: nn.Module, size: int) -> str:
    """A graph from embeddings, shape = (batch, size), to the input "voice", as base64 of ONNX."""
    axes = {name: {0: "batch"} for name in ("embedding", "voice")}
    graph = ExportGraph(module, (torch.zeros(2, size),), ["embedding"], ["voice"], axes, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "enrolment.onnx")
        _write(graph, path)
        model = onnx.load(path)
    _halve_weights(model)
    return b64encode(model.SerializeToString()).decode()


def _format(graph: ExportGraph) -> int:
    """The oldest version of the contract that has all of a graph's tensors."""
    if graph.enrolment is not None:
        return 4
    return 3 if "keep" in graph.inputs else 2 if "target" in graph.outputs else 1


def register(path: Path, summary: str) -> None:
    """Enter an ONNX file into the registry.json beside it, with its sha256.

    Args:
        path: of the ONNX file, in the folder of packaged weights.
        summary: one line for the list of models.

    Raises:
        SordinoError: if there is no model card (`NAME.md`) beside it.
    """
    name = path.stem
    if not path.with_suffix(".md").exists():
        raise SordinoError(f"{path} has no model card: write {path.with_suffix('.md')} first")
    registry_path = path.with_name("registry.json")
    registry = json.loads(registry_path.read_text()) if registry_path.exists() else {}
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    facts = json.loads(properties[METADATA])
    registry[name] = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "summary": summary,
        "kind": facts["kind"],
        **({"looks_ahead": True} if facts.get("ahead_frames") else {}),
    }
    with atomic_write(registry_path) as part:
        part.write_text(json.dumps(registry, indent=2, sort_keys=True) + "\n")


def measure(recipe: Recipe) -> tuple[int, int]:
    """Parameters, and multiply-accumulates per second of audio, of a recipe's network."""
    network = _network(recipe).eval()
    return count_parameters(network), _GRAPHS[recipe.kind](network).facts["macs_per_second"]


def _network(recipe: Recipe) -> Any:
    """The network of a recipe; who taught it need not be there any more."""
    alone = replace(recipe, train=replace(recipe.train, teacher=""))
    return make_objective(alone).network


def _unet_graph(network: UNet) -> ExportGraph:
    flat = _Flat(network)
    with torch.no_grad():
        size = network.condition(torch.zeros(1, network.config.voice_size)).shape[1]
    enrolment = _Enrolment(network) if network.conditioning is not None else None
    names = flat.names
    state = network.initial_state(2)
    ahead = bool(network.config.backward)
    inputs = ["spectrum", "voice", *(["keep"] if ahead else []), *(f"state.{n}" for n in names)]
    keeps = network.match is not None
    heads = ["speech", "target"] if keeps else ["speech"]
    outputs = ["mask", *heads, *(f"next.{n}" for n in names)]
    axes = {name: {0: "batch"} for name in inputs + outputs if name != "keep"}
    axes["spectrum"] = axes["mask"] = {0: "batch", 1: "time", 2: "bins"}
    axes |= {name: {0: "batch", 1: "time"} for name in heads}
    keep = [torch.tensor(2)] if ahead else []
    example = (torch.zeros(2, 3, bins(16000), 2), torch.zeros(2, size), *keep, *state.values())
    second = torch.zeros(1, FRAMES_PER_SECOND, bins(max(NATIVE_RATES)), 2)
    facts = {
        "native_rates": list(NATIVE_RATES),
        "hop_seconds": HOP_SECONDS,
        "window_seconds": WINDOW_SECONDS,
        "bands": network.config.bands,
        "voice_size": size,
        "states": {n: list(s.shape[1:]) for n, s in state.items()},
        "macs_per_second": count_macs(
            network, second, torch.zeros(1, network.config.voice_size), network.initial_state()
        ),
    }
    if ahead:
        facts |= {"block_frames": BLOCK_FRAMES, "ahead_frames": AHEAD_FRAMES}
    return ExportGraph(flat, example, inputs, outputs, axes, facts, half=keeps, enrolment=enrolment)


def _encoder_graph(network: VoiceEncoderNetwork) -> ExportGraph:
    second = torch.zeros(1, FRAMES_PER_SECOND, MELS)
    facts = {
        "voice_size": SIZE,
        "bands": MELS,
        "macs_per_second": count_macs(network, second),
    }
    axes = {"features": {0: "batch", 1: "time"}, "embedding": {0: "batch"}}
    example = (torch.zeros(2, 3 * FRAMES_PER_SECOND, MELS),)
    return ExportGraph(network, example, ["features"], ["embedding"], axes, facts, bytes=True)


def _poc_graph(network: PocUNet) -> ExportGraph:
    picture = torch.zeros(1, 1, slices.BINS, slices.FRAMES)
    pictures_per_second = slices.RATE / (slices.HOP * (slices.FRAMES - slices.OVERLAP))
    facts = {
        "native_rates": [slices.RATE],
        "hop_seconds": slices.HOP / slices.RATE,
        "window_seconds": slices.WINDOW / slices.RATE,
        "bands": slices.BINS,
        "macs_per_second": round(count_macs(network, picture) * pictures_per_second),
    }
    inputs, outputs = ["noisy_db"], ["noise_db"]
    axes = {name: {0: "batch"} for name in inputs + outputs}
    return ExportGraph(network, (picture,), inputs, outputs, axes, facts, half=True)


def _halve_weights(model: onnx.ModelProto) -> None:
    """Store weight matrices as float16; the graph casts them back once, when it is loaded."""
    graph = model.graph
    for weight in [w for w in graph.initializer if w.data_type == TensorProto.FLOAT]:
        if len(weight.dims) > 1:
            name = f"{weight.name}.half"
            half = numpy_helper.to_array(weight).astype("float16")
            graph.initializer.append(numpy_helper.from_array(half, name))
            cast = helper.make_node("Cast", [name], [weight.name], to=TensorProto.FLOAT)
            graph.node.insert(0, cast)
            graph.initializer.remove(weight)


def _quantize_weights(model: onnx.ModelProto) -> None:
    """Store weight matrices as int8 with a scale for each row; put together when it is loaded."""
    graph = model.graph
    for weight in [w for w in graph.initializer if w.data_type == TensorProto.FLOAT]:
        values = numpy_helper.to_array(weight)
        if values.ndim < 2 or values.size < 1000:
            continue
        rows = tuple(range(1, values.ndim))
        scale = np.maximum(np.abs(values).max(rows, keepdims=True) / 127, 1e-12).astype("float32")
        names = [f"{weight.name}.{part}" for part in ("bytes", "scale", "whole")]
        whole = np.round(values / scale).astype("int8")
        graph.initializer.append(numpy_helper.from_array(whole, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale, names[1]))
        graph.node.insert(0, helper.make_node("Mul", [names[2], names[1]], [weight.name]))
        graph.node.insert(0, helper.make_node("Cast", [names[0]], [names[2]], to=TensorProto.FLOAT))
        graph.initializer.remove(weight)


def _store_sparsely(model: onnx.ModelProto) -> None:
    """Store matrices of little but zeros without them, above all those between bins and bands.

    The graph puts them together once, when it is loaded.
    """
    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        constant = node.attribute[0].t
        constant.name = node.output[0]
        graph.initializer.append(constant)
        graph.node.remove(node)
    for matrix in [w for w in graph.initializer if w.data_type == TensorProto.FLOAT]:
        name, values = matrix.name, numpy_helper.to_array(matrix)
        places = np.argwhere(values)
        if 10 * len(places) > values.size:
            continue
        parts = {"shape": np.array(values.shape), "places": places, "values": values[values != 0]}
        names = {part: f"{name}.{part}" for part in parts}
        graph.initializer.remove(matrix)
        graph.initializer.extend(
            numpy_helper.from_array(array, names[part]) for part, array in parts.items()
        )
        zeros = helper.make_node("ConstantOfShape", [names["shape"]], [f"{name}.zeros"])
        given = [f"{name}.zeros", names["places"], names["values"]]
        graph.node.insert(0, helper.make_node("ScatterND", given, [name]))
        graph.node.insert(0, zeros)


def _write(graph: ExportGraph, path: Path) -> None:
    """Trace a graph into an ONNX file.

    The tracing exporter is the one that keeps a recurrent layer a single node with a
    dynamic time axis.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),
            graph.example,
            str(path),
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_axes=graph.axes,
            opset_version=OPSET,
            dynamo=False,
        )


_GRAPHS: dict[str, Callable[[Any], ExportGraph]] = {
    NOISE_MASK: _unet_graph,
    SLICE_MAGNITUDE: _poc_graph,
    VOICE_ENCODER: _encoder_graph,
}
