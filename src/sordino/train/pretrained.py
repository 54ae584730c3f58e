"""Weights to start from: a checkpoint, an exported model, or a packaged one by its name.

An exported graph holds the averaged weights, as ONNX wants them: the gates of an LSTM in another
order, linear layers transposed, the three heads of `UNet` as one.  They are found by the names
that the tracing exporter gives to weights and nodes, and are what they were to the last bit.
"""

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from sordino.errors import SordinoError
from sordino.model import NOISE_MASK, available_models, load_model, read_model
from sordino.train.checkpoint import Checkpoint, Progress, load_checkpoint
from sordino.train.recipe import Recipe, from_tree
from sordino.train.unet import UNet

HEADS = ("speech", "gate", "noise")  # of `UNet`, in the order in which it puts them together
ROOT = "network."  # where the exported module keeps the network
SPARSE = ("shape", "places", "values")  # what the names of parts of a sparse matrix end with
FIXED = "features."  # is not learnt


def load_pretrained(source: str | Path) -> Checkpoint:
    """Read weights to start from, or to learn from.

    Args:
        source: a .safetensors file of `sordino train`, an .onnx file of `sordino export`, or
            the name of a packaged model.

    Raises:
        SordinoError: if it is none of these.
    """
    path = Path(source)
    packaged = str(source) in available_models() and not path.is_file()
    if not packaged and path.suffix != ".onnx":
        return load_checkpoint(source)
    name = str(source) if packaged else path
    info = load_model(name).info
    if info.kind != NOISE_MASK or "recipe" not in info.training:
        raise SordinoError(
            f"{source} keeps its weights in 16 bits, or no recipe with them: start from the "
            ".safetensors file of its training"
        )
    recipe = from_tree(Recipe, info.training["recipe"])
    data, _ = read_model(name)
    weights = _read(onnx.load_from_string(data).graph, UNet(recipe.network), str(source))
    progress = Progress(info.training["step"], info.training["hours"])
    return Checkpoint(recipe, progress, {f"average.{k}": v for k, v in weights.items()})


def _read(graph: onnx.GraphProto, network: UNet, source: str) -> dict[str, Tensor]:
    """The weights of an exported network by their names in PyTorch."""
    values = {
        each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in graph.initializer
    }
    for node in graph.node:
        if node.op_type == "ScatterND":  # a matrix of little but zeros
            name = node.output[0]
            shape, places, kept = (values[f"{name}.{part}"] for part in SPARSE)
            values[name] = torch.zeros(shape.tolist()).index_put(tuple(places.T), kept)
    found = {k.removeprefix(ROOT): v for k, v in values.items() if k.startswith(ROOT)}
    folded = {k: v for k, v in values.items() if v.is_floating_point() and not k.startswith(ROOT)}
    for node in graph.node:
        scope, _, kind = node.name.strip("/").replace("/", ".").rpartition(".")
        module = f"{scope}.".removeprefix(ROOT)
        given = [folded[name] for name in node.input if name in folded]
        if not given:
            continue
        if kind == "LSTM":
            found |= {f"{module}{name}": weight for name, weight in _lstm(*given[:3]).items()}
        elif kind == "Conv":
            found[f"{module}weight"] = given[0].squeeze(-1)
        elif kind == "MatMul" and module:
            found[f"{module}weight"] = given[0].mT
        elif not module and given[0].shape[-1:] == (len(HEADS),):
            part = "weight" if kind == "MatMul" else "bias"
            rows = given[0].movedim(-1, 0).split(1)
            found |= {f"{head}.{part}": row for head, row in zip(HEADS, rows, strict=True)}
    weights = network.state_dict()
    for name, own in weights.items():
        if name.startswith(FIXED):
            continue
        if name not in found or found[name].shape != own.shape:
            raise SordinoError(
                f"the weights {name} are not in {source}, which another version exported: "
                "start from the .safetensors file of its training"
            )
        weights[name] = found[name].contiguous()
    return weights


def _lstm(inputs: Tensor, recurrent: Tensor, biases: Tensor) -> dict[str, Tensor]:
    """One direction of ONNX's LSTM as PyTorch has it: gates i, o, f, g become i, f, g, o."""
    bias = biases[0].chunk(2)
    ordered = []
    for weight in (inputs[0], recurrent[0], *bias):
        i, o, f, g = weight.chunk(4)
        ordered.append(torch.cat([i, f, g, o]))
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return dict(zip(names, ordered, strict=True))
