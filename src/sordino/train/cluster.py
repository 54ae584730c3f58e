"""Training on a Ray cluster: the same loop as everywhere, started on its nodes by Ray Train."""

# Ray has few types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from sordino.cluster.pool import connected
from sordino.errors import SordinoError
from sordino.train.loop import LAST, train
from sordino.train.recipe import Recipe, from_tree, to_tree

FAILURES = 8  # of workers or nodes, after each of which the run goes on from its checkpoint


def train_on_cluster(
    recipe: Recipe, folder: Path, init: str | Path | None, address: str, workers: int
) -> Path:
    """Run a recipe on a cluster; each worker takes its share of every update.

    A worker or a node that dies costs what was learnt since the last checkpoint.

    Args:
        recipe: what to do; its data and cache are paths on every node, or addresses.
        folder: for checkpoints and logs, on storage that all nodes see.
        init: what a new run starts from, see `load_pretrained`.
        address: of the cluster; "local" starts one on this machine.
        workers: processes, one a GPU where there are GPUs.

    Returns:
        Path of the last checkpoint.

    Raises:
        SordinoError: there is no such cluster, or the run fails for good.
    """
    # One more than the workers: Ray's own controller of the run takes a place, too.
    with connected(address, workers + 1, shows_logs=True):
        _fit(recipe, folder.resolve(), _text(init), workers)
    return folder / LAST


def _fit(recipe: Recipe, work: Path, init: str, workers: int) -> None:
    trainer = TorchTrainer(
        _work,
        train_loop_config={"recipe": to_tree(recipe), "folder": str(work), "init": init},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=_has_gpus()),
        run_config=RunConfig(
            name="ray", storage_path=str(work), failure_config=FailureConfig(max_failures=FAILURES)
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps what its workers raise
        raise SordinoError(f"training on the cluster failed: {_first_cause(error)}") from error


def _work(config: dict[str, Any]) -> None:
    """Train on one worker."""
    train(from_tree(Recipe, config["recipe"]), Path(config["folder"]), config["init"] or None)


def _text(init: str | Path | None) -> str:
    if init is None:
        return ""
    return str(Path(init).resolve()) if Path(init).exists() else str(init)


def _has_gpus() -> bool:
    return ray.cluster_resources().get("GPU", 0) > 0 or torch.cuda.is_available()


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
