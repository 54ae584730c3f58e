"""The training loop on a Ray cluster of this machine."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sordino.train.checkpoint import load_checkpoint
from sordino.train.loop import LAST, train
from sordino.train.recipe import Recipe

pytestmark = pytest.mark.cluster
cluster = pytest.importorskip("sordino.train.cluster", reason="needs the extra cluster")


def test_two_workers_of_a_cluster_follow_one_process(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, train=replace(recipe.train, global_batch=4, steps=2, threads=1))
    path = cluster.train_on_cluster(recipe, tmp_path / "ray", None, "local", 2)
    assert path == tmp_path / "ray" / LAST
    train(recipe, tmp_path / "alone")
    ours, theirs = load_checkpoint(path), load_checkpoint(tmp_path / "alone" / LAST)
    assert ours.progress == theirs.progress
    for name, weight in theirs.part("network").items():
        torch.testing.assert_close(ours.part("network")[name], weight, atol=1e-4, rtol=0)
