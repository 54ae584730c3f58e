"""From a checkpoint to the ONNX file that users run."""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sordino import slices
from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.model import FORMAT, NOISE_MASK, SLICE_MAGNITUDE
from sordino.stft import FRAMES_PER_SECOND, HOP_SECONDS, NATIVE_RATES, WINDOW_SECONDS, bins
from sordino.train.checkpoint import Checkpoint, restore_weights
from sordino.train.complexity import count_macs, count_parameters
from sordino.train.objective import make_objective
from sordino.train.poc_unet import PocUNet
from sordino.train.recipe import Recipe, to_tree
from sordino.train.shapes import fix_shapes
from sordino.train.unet import UNet

LICENCE = "Apache-2.0"
OPSET = 17


class Graph(NamedTuple):
    """What the exporter needs to know of a network, and what its users will."""

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: list[str]
    outputs: list[str]
    axes: dict[str, dict[int, str]]  # names of the dynamic axes of inputs and outputs
    facts: dict[str, Any]  # metadata
    half: bool = False  # keep the weights in 16 bits, which halves the file


class _Flat(nn.Module):
    """The network with its state as a flat list of tensors, in the order of its names."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        self.names = list(network.initial_state())

    def forward(self, spectrum: Tensor, voice: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        output = self.network(spectrum, voice, dict(zip(self.names, state, strict=True)))
        following = [output.state[name] for name in self.names]
        return output.mask, torch.sigmoid(output.speech), *following


def export_checkpoint(
    checkpoint: Checkpoint, path: Path, version: str, metrics: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the averaged weights of a checkpoint as an ONNX file with its metadata.

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
    with atomic_write(path) as part:
        _write(graph, part)
        metadata = {
            "format": FORMAT,
            "kind": recipe.kind,
            "name": recipe.name,
            "version": version,
            "parameters": count_parameters(network),
            "licence": LICENCE,
            "description": recipe.description,
            "training": {**asdict(checkpoint.progress), "recipe": to_tree(recipe)},
            "metrics": metrics or {},
            **graph.facts,
        }
        # Where the data lay on the machine that trained is nobody's business.
        metadata["training"]["recipe"].pop("data")
        model = onnx.load(part)
        if recipe.kind == NOISE_MASK:
            fix_shapes(model)
            _store_sparsely(model)
        if graph.half:
            _halve_weights(model)
        entry = model.metadata_props.add()
        entry.key, entry.value = "sordino", json.dumps(metadata)
        onnx.checker.check_model(model)
        onnx.save(model, part)
    return metadata


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
    registry[name] = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "summary": summary,
        "kind": json.loads(properties["sordino"])["kind"],
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


def _unet_graph(network: UNet) -> Graph:
    flat = _Flat(network)
    names, size = flat.names, network.config.voice_size
    state = network.initial_state(2)
    inputs = ["spectrum", "voice", *(f"state.{n}" for n in names)]
    outputs = ["mask", "speech", *(f"next.{n}" for n in names)]
    axes = {name: {0: "batch"} for name in inputs + outputs}
    axes["spectrum"] = axes["mask"] = {0: "batch", 1: "time", 2: "bins"}
    axes["speech"] = {0: "batch", 1: "time"}
    example = (torch.zeros(2, 3, bins(16000), 2), torch.zeros(2, size), *state.values())
    second = torch.zeros(1, FRAMES_PER_SECOND, bins(max(NATIVE_RATES)), 2)
    facts = {
        "native_rates": list(NATIVE_RATES),
        "hop_seconds": HOP_SECONDS,
        "window_seconds": WINDOW_SECONDS,
        "bands": network.config.bands,
        "voice_size": size,
        "states": {n: list(s.shape[1:]) for n, s in state.items()},
        "macs_per_second": count_macs(
            network, second, torch.zeros(1, size), network.initial_state()
        ),
    }
    return Graph(flat, example, inputs, outputs, axes, facts)


def _poc_graph(network: PocUNet) -> Graph:
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
    return Graph(network, (picture,), inputs, outputs, axes, facts, half=True)


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


def _write(graph: Graph, path: Path) -> None:
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


_GRAPHS: dict[str, Callable[[Any], Graph]] = {
    NOISE_MASK: _unet_graph,
    SLICE_MAGNITUDE: _poc_graph,
}
