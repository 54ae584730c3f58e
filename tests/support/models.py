"""Small ONNX models with known behaviour, built on the spot."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sordino.model import Model
from sordino.voice import Voice

VOICE_SIZE = 192
HIDDEN = 8
BANDS = 128

METADATA: dict[str, Any] = {
    "format": 1,
    "kind": "noise-mask",
    "name": "test",
    "version": "1",
    "native_rates": [8000, 16000, 24000, 48000],
    "hop_seconds": 0.01,
    "window_seconds": 0.032,
    "bands": BANDS,
    "voice_size": VOICE_SIZE,
    "states": {},
    "parameters": 1,
    "macs_per_second": 1,
    "licence": "Apache-2.0",
    "description": "a test",
}


def _tensor(name: str, values: Any) -> onnx.TensorProto:
    array = np.asarray(values)
    dtype = np.int64 if array.dtype.kind == "i" else np.float32
    return numpy_helper.from_array(array.astype(dtype), name)


def _value(name: str, shape: Sequence[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any],
    metadata: dict[str, Any] | None,
) -> bytes:
    graph = helper.make_graph(
        nodes, "test", inputs, outputs, [_tensor(name, value) for name, value in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is not None:
        helper.set_model_props(model, {"sordino": json.dumps(metadata)})
    onnx.checker.check_model(model)
    return model.SerializeToString()


SPECTRUM = _value("spectrum", ["batch", "time", "bins", 2])
VOICE = _value("voice", ["batch", VOICE_SIZE])
MASK = _value("mask", ["batch", "time", "bins", 2])
SPEECH = _value("speech", ["batch", "time"])


def constant_mask_bytes(
    value: complex = 0.0, speech: float = 0.25, metadata: dict[str, Any] | None = METADATA
) -> bytes:
    """A noise mask that is the same everywhere: 0 is identity, 1 is silence."""
    nodes = [
        helper.make_node("Mul", ["spectrum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "value"], ["mask"]),
        helper.make_node("ReduceMean", ["nothing"], ["none"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["none", "probability"], ["speech"]),
    ]
    pair = [float(np.real(value)), float(np.imag(value))]
    constants = {"zero": 0.0, "value": pair, "probability": speech}
    return build(nodes, [SPECTRUM, VOICE], [MASK, SPEECH], constants, metadata)


def recurrent_bytes(seed: int = 0) -> bytes:
    """A causal mask with memory: a GRU over time and the frame before, random but fixed."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return random.standard_normal(shape) / np.sqrt(shape[-1])

    nodes = [
        helper.make_node("Slice", ["spectrum", "0", "bands", "2"], ["low"]),
        helper.make_node("Slice", ["spectrum", "bands", "end", "2"], ["high"]),
        helper.make_node("Mul", ["low", "low"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "3"], ["power"], keepdims=0),
        helper.make_node("Add", ["power", "floor"], ["floored"]),
        helper.make_node("Log", ["floored"], ["log"]),
        helper.make_node("Mul", ["log", "scale"], ["features"]),
        helper.make_node("Concat", ["state.past", "features"], ["with_past"], axis=1),
        helper.make_node("Slice", ["with_past", "0", "minus_1", "1"], ["before"]),
        helper.make_node("Slice", ["with_past", "minus_1", "end", "1"], ["next.past"]),
        helper.make_node("Sub", ["features", "before"], ["change"]),
        helper.make_node("Add", ["features", "change"], ["sharpened"]),
        helper.make_node("Transpose", ["sharpened"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("Unsqueeze", ["state.hidden", "0"], ["hidden"]),
        helper.make_node(
            "GRU", ["sequence", "W", "R", "", "", "hidden"], ["Y", "last"], hidden_size=HIDDEN
        ),
        helper.make_node("Squeeze", ["last", "0"], ["next.hidden"]),
        helper.make_node("Squeeze", ["Y", "1"], ["timed"]),
        helper.make_node("Transpose", ["timed"], ["memory"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["memory", "spread"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["gains"]),
        helper.make_node("Reshape", ["gains", "as_pairs"], ["low_mask"]),
        helper.make_node("Mul", ["high", "zero"], ["none"]),
        helper.make_node("Add", ["none", "half"], ["high_mask"]),
        helper.make_node("Concat", ["low_mask", "high_mask"], ["mask"], axis=2),
        helper.make_node("ReduceMean", ["gains"], ["speech"], axes=[2], keepdims=0),
    ]
    constants = {
        "0": [0],
        "1": [1],
        "2": [2],
        "3": [3],
        "minus_1": [-1],
        "end": [2**31],
        "bands": [BANDS],
        "floor": 1e-10,
        "scale": 0.1,
        "zero": 0.0,
        "half": [0.5, 0.0],
        "as_pairs": [0, 0, BANDS, 2],
        "W": weights(1, 3 * HIDDEN, BANDS),
        "R": weights(1, 3 * HIDDEN, HIDDEN),
        "spread": 3 * weights(HIDDEN, 2 * BANDS) * np.sqrt(2 * BANDS / HIDDEN),
    }
    inputs = [
        SPECTRUM,
        VOICE,
        _value("state.hidden", ["batch", HIDDEN]),
        _value("state.past", ["batch", 1, BANDS]),
    ]
    outputs = [
        MASK,
        SPEECH,
        _value("next.hidden", ["batch", HIDDEN]),
        _value("next.past", ["batch", 1, BANDS]),
    ]
    states = {"hidden": [HIDDEN], "past": [1, BANDS]}
    return build(nodes, inputs, outputs, constants, {**METADATA, "states": states})


def voices_bytes(encoder: str = "tilt") -> bytes:
    """A network of format 2 that takes pitch for identity.

    A tone below 1 kHz is somebody whose embedding is the first unit vector, one above is somebody
    of the second, and a voice of zeros is anybody.  Whoever is meant stays as loud as he was, the
    others are attenuated by 60 dB, and nothing is noise.
    """
    low, high = 32, 2**31  # bins of 31.25 Hz
    nodes = [helper.make_node("Mul", ["spectrum", "spectrum"], ["squares"])]
    for name, begin, end in (("low", "0", "split"), ("high", "split", "end")):
        nodes += [
            helper.make_node("Slice", ["squares", begin, end, "2"], [f"{name}_squares"]),
            helper.make_node(
                "ReduceSum", [f"{name}_squares", "2_3"], [f"{name}_power"], keepdims=0
            ),
        ]
    nodes += [
        helper.make_node("Add", ["low_power", "high_power"], ["power"]),
        helper.make_node("Sub", ["power", "quiet"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["sure"]),
        helper.make_node("Sigmoid", ["sure"], ["speech"]),
        # One if a voice is given, and whether it is the low or the high one.
        helper.make_node("Slice", ["voice", "0", "1", "1"], ["is_low"]),
        helper.make_node("Slice", ["voice", "1", "2", "1"], ["is_high"]),
        helper.make_node("Sub", ["is_low", "is_high"], ["sign"]),
        helper.make_node("Sub", ["low_power", "high_power"], ["balance"]),
        helper.make_node("Div", ["balance", "power"], ["side"]),
        helper.make_node("Mul", ["side", "sign"], ["fits"]),
        helper.make_node("Mul", ["fits", "logit"], ["sureness"]),
        helper.make_node("Add", ["sureness", "half_logit"], ["target"]),
        # Taken from the bins below 1 kHz if the voice is the high one, and the other way round.
        helper.make_node("Mul", ["spectrum", "zero"], ["nothing"]),
        helper.make_node("Slice", ["nothing", "0", "split", "2"], ["low_nothing"]),
        helper.make_node("Slice", ["nothing", "split", "end", "2"], ["high_nothing"]),
        helper.make_node("Unsqueeze", ["is_high", "1_2"], ["take_low"]),
        helper.make_node("Unsqueeze", ["is_low", "1_2"], ["take_high"]),
        helper.make_node("Mul", ["take_low", "pair"], ["low_value"]),
        helper.make_node("Mul", ["take_high", "pair"], ["high_value"]),
        helper.make_node("Add", ["low_nothing", "low_value"], ["low_mask"]),
        helper.make_node("Add", ["high_nothing", "high_value"], ["high_mask"]),
        helper.make_node("Concat", ["low_mask", "high_mask"], ["mask"], axis=2),
    ]
    constants = {
        "0": [0], "1": [1], "2": [2], "2_3": [2, 3], "1_2": [1, 2],
        "split": [low], "end": [high], "zero": 0.0, "pair": [0.999, 0.0],
        "quiet": 1e-3, "steep": 1e4, "logit": 10.0, "half_logit": 5.0,
    }  # fmt: skip
    outputs = [MASK, SPEECH, _value("target", ["batch", "time"])]
    training = {"recipe": {"enrolment": {"encoder": encoder}}}
    metadata = {**METADATA, "format": 2, "training": training}
    return build(nodes, [SPECTRUM, VOICE], outputs, constants, metadata)


def voices_model() -> Model:
    return Model(voices_bytes(), "voices")


def voice(number: int, name: str = "") -> Voice:
    """The profile of somebody whom `voices_model` knows: 0 has a low voice, 1 a high one."""
    return Voice(np.eye(VOICE_SIZE, dtype=np.float32)[number], "tilt", name)


def slices_bytes(gain: float = 0.0, offset: float = 0.0) -> bytes:
    """A picture of noise: gain * the noisy picture + offset."""
    nodes = [
        helper.make_node("Mul", ["noisy_db", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["noise_db"]),
    ]
    metadata = {**METADATA, "kind": "slice-magnitude", "native_rates": [8000]}
    shape = ["batch", 1, 128, 128]
    inputs, outputs = [_value("noisy_db", shape)], [_value("noise_db", shape)]
    return build(nodes, inputs, outputs, {"gain": gain, "offset": offset}, metadata)


def constant_mask(value: complex = 0.0, speech: float = 0.25) -> Model:
    return Model(constant_mask_bytes(value, speech), "constant mask")


def recurrent(seed: int = 0) -> Model:
    return Model(recurrent_bytes(seed), "recurrent")


def slices_model(gain: float = 0.0, offset: float = 0.0) -> Model:
    return Model(slices_bytes(gain, offset), "slices")
