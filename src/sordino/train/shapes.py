"""Constants in place of the shapes that an exported graph works out while it runs.

The tracing exporter writes every size of a `reshape` as four small nodes.  Most of these sizes
are known, or can be left to ONNX's -1 ("what remains") and 0 ("as before"); without the nodes, a
step in which not all sizes are fixed takes an eighth less time.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

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
        feeds[each.name] = np.zeros(shape, np.float32)
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
