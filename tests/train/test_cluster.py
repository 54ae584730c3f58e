"""The training loop on a Ray cluster of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sordino.train.checkpoint import load_checkpoint
from sordino.train.loop import LAST, train
from sordino.train.recipe import Recipe, to_tree
from support.training import assert_same_course

pytestmark = pytest.mark.cluster
cluster = pytest.importorskip("sordino.train.cluster", reason="needs the extra cluster")

SCRIPT = """
import json, sys
from pathlib import Path
from sordino.train.cluster import train_on_cluster
from sordino.train.recipe import Recipe, from_tree
recipe = from_tree(Recipe, json.loads(Path(sys.argv[1]).read_text()))
train_on_cluster(recipe, Path(sys.argv[2]), None, "local", 2)
"""


def test_two_workers_of_a_cluster_follow_one_process(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, train=replace(recipe.train, global_batch=4, steps=2, threads=1))
    path = cluster.train_on_cluster(recipe, tmp_path / "ray", None, "local", 2)
    assert path == tmp_path / "ray" / LAST
    train(recipe, tmp_path / "alone")
    ours, theirs = load_checkpoint(path), load_checkpoint(tmp_path / "alone" / LAST)
    assert ours.progress == theirs.progress
    for name, weight in theirs.part("network").items():
        torch.testing.assert_close(ours.part("network")[name], weight, atol=1e-4, rtol=0)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_killed_worker_costs_nothing_but_time(recipe: Recipe, tmp_path: Path) -> None:
    steps = 12
    loop = replace(recipe.train, global_batch=4, steps=steps, threads=1, save_every=0.0)
    recipe = replace(recipe, train=loop)
    train(recipe, tmp_path / "unbroken")
    (tmp_path / "recipe.json").write_text(json.dumps(to_tree(recipe)))
    folder = tmp_path / "ray"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.json"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        while not reached(folder, 3):
            assert run.poll() is None, run.communicate()
            time.sleep(0.01)
        assert not reached(folder, steps)
        victims = workers_below(run.pid)
        assert len(victims) == 2
        os.kill(max(victims), signal.SIGKILL)
        said = run.communicate(timeout=800)[0].decode()
    assert run.returncode == 0, said
    assert len(list((folder / "logs").iterdir())) == 2, said  # one of each start
    assert_same_course(folder, tmp_path / "unbroken", steps)


def reached(folder: Path, step: int) -> bool:
    """Whether the last checkpoint has so many updates."""
    path = folder / LAST
    return path.exists() and load_checkpoint(path).progress.step >= step


def workers_below(pid: int) -> list[int]:
    """The processes that train, of all that a process has started."""
    parents: dict[int, int] = {}
    training: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            rest = (folder / "stat").read_text().rpartition(") ")[2]
            parents[int(folder.name)] = int(rest.split()[1])
            if b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                training.append(int(folder.name))
    return [each for each in training if pid in ancestors(each, parents)]


def ancestors(pid: int, parents: Mapping[int, int]) -> list[int]:
    """The process that started one, the one that started that, and so on."""
    found: list[int] = []
    while pid in parents:
        pid = parents[pid]
        found.append(pid)
    return found
