import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sordino.denoiser import denoise
from sordino.errors import SordinoError
from sordino.model import load_model
from sordino.stft import NATIVE_RATES, bins
from sordino.train.checkpoint import load_checkpoint, mean_checkpoint, restore_weights
from sordino.train.export import export_checkpoint, measure, register
from sordino.train.objective import make_objective


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the trained checkpoint."""
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    export_checkpoint(load_checkpoint(trained), path, "1")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_onnx_equals_the_network(trained: Path, exported: Path, rate: int) -> None:
    saved = load_checkpoint(trained)
    model = load_model(exported)
    network = make_objective(saved.recipe).network.eval()
    restore_weights(network, saved.part("average"), "test")
    x = 0.1 * torch.randn(3, 17, bins(rate), 2)
    voice, state = torch.zeros(3, 192), network.initial_state(3)
    with torch.no_grad():
        output = network(x, voice, state)
    step = model.run(x.numpy(), voice.numpy(), {k: v.numpy() for k, v in state.items()})
    np.testing.assert_allclose(step.mask, output.mask, atol=1e-4)
    np.testing.assert_allclose(step.speech, torch.sigmoid(output.speech), atol=1e-4)
    for name, value in output.state.items():
        np.testing.assert_allclose(step.state[name], value, atol=1e-4)


def test_sizes_are_constants_where_they_can_be(exported: Path) -> None:
    graph = onnx.load(exported).graph
    constants = {weight.name for weight in graph.initializer}
    targets = [node.input[1] for node in graph.node if node.op_type == "Reshape"]
    assert sum(name in constants for name in targets) > len(targets) / 2
    used = {name for node in graph.node for name in node.input}
    assert constants <= used


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (1, 40), (4, 1)])
def test_any_batch_and_length_in_pieces(exported: Path, batch: int, frames: int) -> None:
    model = load_model(exported)
    x = 0.1 * torch.randn(batch, 2 * frames, bins(48000), 2).numpy()
    voice = np.zeros((batch, 192), np.float32)
    whole = model.run(x, voice, model.initial_state(batch))
    first = model.run(x[:, :frames], voice, model.initial_state(batch))
    second = model.run(x[:, frames:], voice, first.state)
    masks = np.concatenate([first.mask, second.mask], 1)
    np.testing.assert_allclose(masks, whole.mask, atol=1e-5)


@pytest.mark.slow
def test_metadata_tells_what_the_file_is(trained: Path, tmp_path: Path) -> None:
    saved = load_checkpoint(trained)
    export_checkpoint(saved, tmp_path / "m.onnx", "7", {"pesq": 2.0})
    info = load_model(tmp_path / "m.onnx").info
    assert (info.name, info.version, info.native_rates) == ("test", "7", NATIVE_RATES)
    assert (info.parameters, info.macs_per_second) == measure(saved.recipe)
    assert info.metrics == {"pesq": 2.0}
    assert info.training["step"] == saved.recipe.train.steps
    assert "data" not in info.training["recipe"]


def test_an_exported_model_runs_in_the_engine(exported: Path) -> None:
    noisy = np.random.default_rng(0).normal(size=44100).astype(np.float32) * 0.1
    clean = denoise(noisy, 44100, model=exported)
    assert clean.shape == noisy.shape
    assert np.isfinite(clean).all()


def test_several_checkpoints_are_averaged(trained: Path) -> None:
    first = load_checkpoint(trained)
    shifted = {k: v + 1.0 for k, v in first.tensors.items()}
    mean = mean_checkpoint([first, replace(first, tensors=shifted)])
    for name, tensor in first.part("average").items():
        torch.testing.assert_close(mean.part("average")[name], tensor + 0.5)
    for name, tensor in first.part("network").items():
        assert torch.equal(mean.part("network")[name], tensor)
    other = {k: v[:0] for k, v in first.tensors.items()}
    with pytest.raises(SordinoError, match="different shapes"):
        mean_checkpoint([first, replace(first, tensors=other)])


def test_registering_needs_a_card_and_notes_the_sum(exported: Path, tmp_path: Path) -> None:
    path = shutil.copy(exported, tmp_path / "m.onnx")
    with pytest.raises(SordinoError, match="no model card"):
        register(path, "a test")
    path.with_suffix(".md").write_text("# card\n")
    register(path, "a test")
    entry = json.loads((tmp_path / "registry.json").read_text())["m"]
    assert entry["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert (entry["summary"], entry["kind"]) == ("a test", "noise-mask")
