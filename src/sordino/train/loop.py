"""The training loop: mix, step, average, log, save; alone or on many processes.

Started by `torchrun` or by Ray, every process takes its share of each batch: N processes with a
batch of B follow the same trajectory as one process with a batch of N B, and so does one process
that adds up the gradients of N batches of B.  Example k of update n is a function of the seed, n
and k alone: so the sampler's state is the number of updates and the size of the batch, and a run
goes on on more or fewer processes as if nothing had happened.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

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
from sordino.train.data.enrolment import EncoderMixer
from sordino.train.data.mixing import Mixer
from sordino.train.data.talkers import TalkerMixer
from sordino.train.monitor import RunMonitor
from sordino.train.objective import Objective, Outcome, make_objective
from sordino.train.optim import (
    AveragedWeights,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from sordino.train.recipe import LoopConfig, Recipe
from sordino.train.voice_encoder import VOICE_ENCODER

LAST = "last.safetensors"


@dataclass(frozen=True)
class Place:
    """Where this process stands among all processes of the run."""

    rank: int
    world: int
    device: torch.device


@dataclass(frozen=True)
class Share:
    """What one process does of every update.

    Attributes:
        size: examples of a pass through the network.
        passes: passes whose gradients are added up before the weights change.
        rank: of this process.
        world: number of processes.
    """

    size: int
    passes: int
    rank: int = 0
    world: int = 1

    @property
    def batch(self) -> int:
        """Examples of an update, over all processes."""
        return self.size * self.passes * self.world

    def first(self, index: int) -> tuple[int, int]:
        """Return which update a pass belongs to, and the number of its first example there.

        Args:
            index: of the pass, counted over all updates.

        >>> share = Share(size=2, passes=2, rank=1, world=2)
        >>> [share.first(index) for index in range(3)]
        [(0, 2), (0, 6), (1, 2)]
        """
        update, number = divmod(index, self.passes)
        return update, (number * self.world + self.rank) * self.size


def share_batch(config: LoopConfig, rank: int, world: int, kept: int = 0) -> Share:
    """Share the examples of an update between processes.

    Args:
        config: its `batch`, `global_batch` and `chain`.
        rank: of this process.
        world: number of processes.
        kept: examples of an update so far, for a run that goes on; 0 for a new one.

    Raises:
        SordinoError: the processes cannot have equal shares of whole chains.

    >>> from sordino.train.recipe import LoopConfig
    >>> share_batch(LoopConfig(batch=8, global_batch=64), rank=0, world=2)
    Share(size=8, passes=4, rank=0, world=2)
    >>> share_batch(LoopConfig(batch=8), rank=0, world=1, kept=32).passes
    4
    """
    batch = config.global_batch or kept or config.batch * world
    each, rest = divmod(batch, world)
    chain = max(config.chain, 1)
    if rest or each % chain:
        raise SordinoError(
            f"an update has {batch} examples (train.global_batch), which {world} processes cannot "
            f"share equally in chains of {chain}: start as many as divide {batch // chain}"
        )
    sizes = range(min(config.batch, each) // chain * chain, 0, -chain)
    size = next((size for size in sizes if each % size == 0), chain)
    return Share(size, each // size, rank, world)


class BatchSource(Protocol):
    """What batches are drawn from: a mixer of the recipe's kind."""

    def batch(self, seed: int, index: int, size: int, first: int = 0) -> Any:
        """Batch number `index` of the run `seed`, from example `first` on."""
        ...


def make_mixer(recipe: Recipe, corpus: Corpus) -> BatchSource:
    """The mixer of a recipe's kind.

    Raises:
        SordinoError: the corpus has nothing for it.
    """
    if recipe.kind == VOICE_ENCODER:
        return EncoderMixer(recipe.enrolment, corpus)
    if recipe.network.voice_units:
        return TalkerMixer(recipe.mix, recipe.talkers, recipe.enrolment, corpus)
    return Mixer(recipe.mix, corpus)


class Batches(Dataset[Any]):
    """Passes by number; each process has its own examples of the common batch."""

    def __init__(self, mixer: BatchSource, seed: int, share: Share) -> None:
        self.mixer, self.seed, self.share = mixer, seed, share

    def __getitem__(self, index: int) -> Any:
        step, first = self.share.first(index)
        return self.mixer.batch(self.seed, step, self.share.size, first)


Watch = Callable[[AveragedWeights, int], bool]
"""Looks at the averaged weights after each update, and says whether the run is to end."""


def train(
    recipe: Recipe, folder: Path, init: str | Path | None = None, watch: Watch | None = None
) -> Path:
    """Run a recipe to its end, or until it is interrupted; a run in `folder` is resumed.

    Args:
        recipe: what to do.
        folder: for checkpoints and logs.
        init: what a new run starts from (fine-tuning), see `load_pretrained`.
        watch: called after each update, with the averaged weights and the number of updates.

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
        progress, kept = Progress(), 0
        if saved is not None:
            resumed = init is None or (folder / LAST).exists()
            part = "network" if resumed else "average"
            where = str(folder / LAST if resumed else init)
            restore_weights(network, saved.part(part), where)
            progress = saved.progress if resumed else Progress(0, saved.progress.hours)
            if resumed and _same_batch(saved.recipe, recipe):
                kept = progress.batch
        average = AveragedWeights(network, config.ema)
        optimizer = make_optimizer(network, config)
        if progress.step and saved is not None:
            restore_weights(average.network, saved.part("average"), str(folder / LAST))
            restore_optimizer(optimizer, network, saved.part("adam"), progress.step)
        model = objective
        if place.world > 1:
            # While a network learns only who speaks, most of its weights have no gradient.
            some = config.match_steps > 0
            model = DistributedDataParallel(objective, find_unused_parameters=some)
        mixer = make_mixer(recipe, Corpus.open(recipe.data, progress=place.rank == 0))
        share = share_batch(config, place.rank, place.world, kept)
        run = _TrainingRun(
            recipe, folder, place, share, model, objective, average, optimizer, progress
        )
        return run(mixer, watch)


def _same_batch(before: Recipe, now: Recipe) -> bool:
    """Whether a recipe says nothing new of the batch: then it stays as large as it was."""
    return (before.train.batch, before.train.global_batch) == (
        now.train.batch,
        now.train.global_batch,
    )


class _TrainingRun:
    """The state of a run between two steps."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        place: Place,
        share: Share,
        model: nn.Module,
        objective: Objective,
        average: AveragedWeights,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
    ) -> None:
        self.recipe, self.folder, self.place, self.share = recipe, folder, place, share
        self.model, self.objective, self.average = model, objective, average
        self.network = objective.network
        self.optimizer, self.progress = optimizer, progress
        self.stopped = False

    def __call__(self, mixer: BatchSource, watch: Watch | None = None) -> Path:
        config, share = self.recipe.train, self.share
        steps = range(self.progress.step, config.steps)
        loader = DataLoader(
            Batches(mixer, config.seed, share),
            batch_size=None,
            sampler=range(steps.start * share.passes, steps.stop * share.passes),
            num_workers=config.workers,
            pin_memory=self.place.device.type == "cuda",
        )
        hours = share.batch * self.recipe.mix.seconds / 3600
        batches = _Timed(iter(loader))
        saved = time.monotonic()
        with _stop_signals(self), RunMonitor(self.recipe, self.folder, self.place.rank) as monitor:
            for step in steps:
                rate = learning_rate(step, config)
                batch, loss, terms, estimate, norm = self._step(batches, step, rate)
                loss, stop, waited = self._agree(loss, batches.share())
                self.progress = Progress(step + 1, self.progress.hours + hours, share.batch)
                scalars = {"loss": loss, **terms, "gradient": norm, "data_wait": waited}
                monitor.step(self.progress, scalars, rate)
                if self.progress.step % config.media_every == 0 and hasattr(batch, "noisy"):
                    monitor.media(self.progress.step, batch, estimate)
                if time.monotonic() - saved > config.save_every:
                    self._save()
                    saved = time.monotonic()
                if stop or (watch is not None and watch(self.average, self.progress.step)):
                    break
        return self._save()

    def _step(
        self, batches: Iterator[Any], step: int, rate: float
    ) -> tuple[Any, Tensor, dict[str, Tensor], Tensor, Tensor]:
        """Update the weights once; returns the last batch, and means over all passes."""
        self.objective.step = step
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        # What is drawn at random depends on the step alone, so that a resumed run draws the same.
        torch.manual_seed(self.recipe.train.seed * 1_000_003 + step)
        passes = self.share.passes
        done = [self._pass(next(batches), last=n == passes - 1) for n in range(passes)]
        batch, outcome = done[-1]
        loss = torch.stack([each.loss for _, each in done]).mean()
        terms = {
            name: torch.stack([each.terms[name] for _, each in done]).mean()
            for name in outcome.terms
        }
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.train.clip)
        if torch.isfinite(norm):  # one bad batch must not cost the run
            self.optimizer.step()
            self.average.update(self.network, step)
        return batch, loss, terms, outcome.estimate, norm

    def _pass(self, raw: Any, last: bool) -> tuple[Any, Outcome]:
        """Add the gradients of some examples; returns them, and what came of them."""
        batch = self.objective.tensors(raw, self.place.device)
        with self._exchange(last):
            outcome = self.model(batch)
            (outcome.loss / self.share.passes).backward()
        terms = {name: term.detach() for name, term in outcome.terms.items()}
        return batch, Outcome(outcome.loss.detach(), terms, outcome.estimate.detach())

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients between processes in the last pass only."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return nullcontext()

    def _agree(self, loss: Tensor, waited: float) -> tuple[Tensor, bool, Tensor]:
        """The mean loss of all processes, whether any was asked to stop, and the longest wait.

        All processes stop after the same step; the slowest at mixing is what holds them up.

        Args:
            loss: of this process.
            waited: share of the time that it waited for data.
        """
        most = torch.tensor([float(self.stopped), waited], device=self.place.device)
        if self.place.world > 1:
            distributed.all_reduce(most, distributed.ReduceOp.MAX)
            distributed.all_reduce(loss, distributed.ReduceOp.SUM)
            loss = loss / self.place.world
        return loss, bool(most[0].item()), most[1]

    def _save(self) -> Path:
        path = self.folder / LAST
        if self.place.rank == 0:
            save_checkpoint(
                path, self.recipe, self.progress, self.network, self.average, self.optimizer
            )
        return path


class _Timed(Iterator[Any]):
    """An iterator that knows which share of the time was spent waiting for it."""

    def __init__(self, items: Iterator[Any]) -> None:
        self.items, self.waited, self.since = items, 0.0, time.monotonic()

    def __next__(self) -> Any:
        start = time.monotonic()
        try:
            return next(self.items)
        finally:
            self.waited += time.monotonic() - start

    def share(self) -> float:
        """Share of the time since the last call."""
        now = time.monotonic()
        share = self.waited / max(now - self.since, 1e-9)
        self.waited, self.since = 0.0, now
        return share


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
    joined = distributed.is_initialized()  # by Ray
    if world > 1 and not joined:
        try:
            distributed.init_process_group("nccl" if cuda else "gloo")
        except (RuntimeError, ValueError) as error:
            raise SordinoError(f"cannot join the other processes: {error}; use torchrun") from error
    try:
        yield Place(rank, world, torch.device(device))
        if world > 1:
            distributed.barrier()  # who leaves first may pull the connection from under the others
    finally:
        if world > 1 and not joined:
            distributed.destroy_process_group()


@contextmanager
def _stop_signals(run: _TrainingRun) -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the run after the current step, with a checkpoint."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        run.stopped = True

    # Ray runs the loop in a thread, where Python allows no handlers.
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    previous = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
