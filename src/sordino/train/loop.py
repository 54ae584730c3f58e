"""The training loop: mix, step, average, log, save; alone or on many processes.

Started by `torchrun`, every process takes its part of each batch: N processes with a
batch of B follow the same trajectory as one process with a batch of N B.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from sordino.errors import SordinoError
from sordino.train.checkpoint import (
    Checkpoint,
    Progress,
    load_checkpoint,
    load_pretrained,
    restore_optimizer,
    restore_weights,
    save_checkpoint,
)
from sordino.train.data.corpus import Corpus
from sordino.train.data.mixing import Batch, Mixer
from sordino.train.monitor import Monitor
from sordino.train.objective import TensorBatch, make_objective
from sordino.train.optim import (
    AveragedWeights,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from sordino.train.recipe import Recipe

LAST = "last.safetensors"


@dataclass(frozen=True)
class Place:
    """Where this process stands among all processes of the run."""

    rank: int
    world: int
    device: torch.device


class Batches(Dataset[Batch]):
    """Batches by step number; each process has its own examples of the common batch."""

    def __init__(self, mixer: Mixer, seed: int, size: int, place: Place) -> None:
        self.mixer, self.seed, self.size, self.place = mixer, seed, size, place

    def __getitem__(self, step: int) -> Batch:
        first = self.place.rank * self.size
        return self.mixer.batch(self.seed, step, self.size, first)


def train(recipe: Recipe, folder: Path, init: str | Path | None = None) -> Path:
    """Run a recipe to its end, or until it is interrupted; a run in `folder` is resumed.

    Args:
        recipe: what to do.
        folder: for checkpoints and logs.
        init: what a new run starts from (fine-tuning), see `load_pretrained`.

    Returns:
        Path of the last checkpoint.

    Raises:
        SordinoError: if data or checkpoints cannot be used.
    """
    config = recipe.train
    if config.threads:
        torch.set_num_threads(config.threads)
    with _processes() as place:
        torch.manual_seed(config.seed)
        objective = make_objective(recipe).to(place.device)
        network = objective.network
        saved = _starting_point(folder, init)
        progress = Progress()
        if saved is not None:
            resumed = init is None or (folder / LAST).exists()
            part = "network" if resumed else "average"
            where = str(folder / LAST if resumed else init)
            restore_weights(network, saved.part(part), where)
            progress = saved.progress if resumed else Progress(0, saved.progress.hours)
        average = AveragedWeights(network, config.ema)
        optimizer = make_optimizer(network, config)
        if progress.step and saved is not None:
            restore_weights(average.network, saved.part("average"), str(folder / LAST))
            restore_optimizer(optimizer, network, saved.part("adam"), progress.step)
        model = objective
        if place.world > 1:
            model = DistributedDataParallel(objective)
        mixer = Mixer(recipe.mix, Corpus.open(recipe.data, progress=place.rank == 0))
        run = _Run(recipe, folder, place, model, network, average, optimizer, progress)
        return run(mixer)


class _Run:
    """The state of a run between two steps."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        place: Place,
        model: nn.Module,
        network: nn.Module,
        average: AveragedWeights,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
    ) -> None:
        self.recipe, self.folder, self.place = recipe, folder, place
        self.model, self.network, self.average = model, network, average
        self.optimizer, self.progress = optimizer, progress
        self.stopped = False

    def __call__(self, mixer: Mixer) -> Path:
        config = self.recipe.train
        steps = range(self.progress.step, config.steps)
        loader = DataLoader(
            Batches(mixer, config.seed, config.batch, self.place),
            batch_size=None,
            sampler=steps,
            num_workers=config.workers,
            pin_memory=self.place.device.type == "cuda",
        )
        hours = config.batch * self.place.world * self.recipe.mix.seconds / 3600
        saved = time.monotonic()
        with _stop_signals(self), Monitor(self.recipe, self.folder, self.place.rank) as monitor:
            for step, raw in zip(steps, loader, strict=True):
                batch = TensorBatch(*raw).to(self.place.device)
                rate = learning_rate(step, config)
                loss, terms, estimate, norm = self._step(batch, step, rate)
                self.progress = Progress(step + 1, self.progress.hours + hours)
                scalars = {"loss": loss, **terms, "gradient": norm}
                monitor.step(self.progress, scalars, rate)
                if self.progress.step % config.media_every == 0:
                    monitor.media(self.progress.step, batch, estimate)
                if time.monotonic() - saved > config.save_every:
                    self._save()
                    saved = time.monotonic()
                if self._should_stop():
                    break
        return self._save()

    def _step(
        self, batch: TensorBatch, step: int, rate: float
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        set_learning_rate(self.optimizer, rate)
        outcome = self.model(batch)
        self.optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.train.clip)
        if torch.isfinite(norm):  # one bad batch must not cost the run
            self.optimizer.step()
            self.average.update(self.network, step)
        terms = {k: v.detach() for k, v in outcome.terms.items()}
        return outcome.loss.detach(), terms, outcome.estimate.detach(), norm

    def _should_stop(self) -> bool:
        """Whether any process was asked to stop, so that all stop after the same step."""
        if self.place.world == 1:
            return self.stopped
        flag = torch.tensor(float(self.stopped), device=self.place.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def _save(self) -> Path:
        path = self.folder / LAST
        if self.place.rank == 0:
            save_checkpoint(
                path, self.recipe, self.progress, self.network, self.average, self.optimizer
            )
        return path


def _starting_point(folder: Path, init: str | Path | None) -> Checkpoint | None:
    """The run's own last checkpoint if there is one, else that of `init`."""
    if (folder / LAST).exists():
        return load_checkpoint(folder / LAST)
    return load_pretrained(init) if init is not None else None


@contextmanager
def _processes() -> Generator[Place]:
    """Join the other processes, if `torchrun` started any."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(device)
    if world > 1:
        try:
            distributed.init_process_group("nccl" if cuda else "gloo")
        except (RuntimeError, ValueError) as error:
            raise SordinoError(f"cannot join the other processes: {error}; use torchrun") from error
    try:
        yield Place(rank, world, torch.device(device))
        if world > 1:
            distributed.barrier()  # who leaves first may pull the connection from under the others
    finally:
        if world > 1:
            distributed.destroy_process_group()


@contextmanager
def _stop_signals(run: _Run) -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the run after the current step, with a checkpoint."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        run.stopped = True

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
