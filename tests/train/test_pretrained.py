"""Exported and packaged models have their weights beside them, to start training from."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sordino.denoiser import denoise
from sordino.errors import SordinoError
from sordino.train.checkpoint import choose_recipe, load_checkpoint, load_pretrained
from sordino.train.export import export_checkpoint
from sordino.train.loop import train
from sordino.train.recipe import Recipe
from support.models import constant_mask_bytes
from support.signals import noise


@pytest.mark.slow
def test_an_exported_model_gives_its_weights_back(
    recipe: Recipe, trained: Path, tmp_path: Path
) -> None:
    saved = load_checkpoint(trained)
    wanted = saved.part("average")
    export_checkpoint(saved, tmp_path / "m.onnx", "1")
    read = load_pretrained(str(tmp_path / "m.onnx"))
    assert read.progress == saved.progress
    assert read.recipe.network == recipe.network
    assert read.part("average").keys() == wanted.keys()
    for name, weight in read.part("average").items():
        torch.testing.assert_close(weight, wanted[name], rtol=0, atol=0)
    usual = tmp_path / "usual"
    usual.touch()
    for suffix in (".onnx", ".safetensors"):  # others may read them as they read any new file
        assert (tmp_path / "m").with_suffix(suffix).stat().st_mode == usual.stat().st_mode


@pytest.mark.slow
def test_exporting_beside_a_run_leaves_it_resumable(trained: Path, tmp_path: Path) -> None:
    path = shutil.copy(trained, tmp_path / trained.name)
    export_checkpoint(load_checkpoint(path), path.with_suffix(".onnx"), "1")
    assert load_checkpoint(path).part("network")
    assert load_pretrained(path.with_suffix(".onnx")).part("average")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "small"])
def test_a_packaged_model_is_the_same_when_it_is_exported_again(name: str, tmp_path: Path) -> None:
    export_checkpoint(load_pretrained(name), tmp_path / "again.onnx", "1")
    x = noise(16000, level=0.1)
    ours, again = (denoise(x, 16000, model) for model in (name, str(tmp_path / "again.onnx")))
    np.testing.assert_allclose(again, ours, atol=1e-7)


def test_training_starts_from_a_packaged_model(data: Path, tmp_path: Path) -> None:
    few = {"train.steps": "1", "train.learning_rate": "0.0", "mix.seconds": "0.5"}
    few["data.cache"] = str(tmp_path / "cache")
    recipe = choose_recipe(None, "small", data, few)
    assert recipe.name == "small-tuned"
    tuned = load_checkpoint(train(recipe, tmp_path, "small")).part("network")
    for name, weight in load_pretrained("small").part("average").items():
        torch.testing.assert_close(tuned[name], weight)


def test_what_has_no_weights_to_start_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(SordinoError, match=r"'poc-unet' has no weights.*\.safetensors"):
        load_pretrained("poc-unet")
    (tmp_path / "built.onnx").write_bytes(constant_mask_bytes())
    with pytest.raises(SordinoError, match=r"built\.safetensors.*file of its training"):
        load_pretrained(tmp_path / "built.onnx")
    with pytest.raises(SordinoError, match="the name of a model"):
        load_pretrained("smal")
