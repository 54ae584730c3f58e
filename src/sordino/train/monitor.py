"""What a person sees of a run: a progress bar, log lines, TensorBoard."""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import time
from pathlib import Path
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from sordino.train.checkpoint import Progress as RunProgress
from sordino.train.objective import TensorBatch
from sordino.train.recipe import Recipe

HEARD = 4  # examples of a batch that are logged as sound


class Monitor:
    """Shows and logs a run; silent on every process but the first.

    Args:
        recipe: of the run.
        folder: for the TensorBoard files.
        rank: of this process.
    """

    def __init__(self, recipe: Recipe, folder: Path, rank: int) -> None:
        self.every, self.rank = recipe.train.log_every, rank
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.started = self.shown = time.monotonic()
        self.first_hours: float | None = None
        self.console = Console(stderr=True, markup=False)
        self.writer = SummaryWriter(str(folder / "logs")) if rank == 0 else None
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[speed]:.0f} x real time"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=rank != 0 or not self.console.is_terminal,
        )
        total = recipe.train.steps
        self.task = self.bar.add_task(recipe.name, total=total, loss=float("nan"), speed=0.0)

    def __enter__(self) -> "Monitor":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def step(self, progress: RunProgress, scalars: dict[str, Tensor], rate: float) -> None:
        """Note the figures of one step; show their means every `log_every` steps."""
        if self.writer is None:
            return
        if self.first_hours is None:
            self.first_hours, self.started = progress.hours, time.monotonic()
        for name, value in scalars.items():
            self.sums[name] = self.sums.get(name, torch.zeros(())) + value.cpu()
        self.count += 1
        if progress.step % self.every:
            return
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        elapsed = max(time.monotonic() - self.started, 1e-6)
        speed = (progress.hours - self.first_hours) * 3600 / elapsed
        for name, value in means.items():
            self.writer.add_scalar(f"train/{name}", value, progress.step)
        self.writer.add_scalar("train/learning_rate", rate, progress.step)
        self.writer.add_scalar("train/hours", progress.hours, progress.step)
        self.bar.update(self.task, completed=progress.step, loss=means["loss"], speed=speed)
        if not self.console.is_terminal:
            terms = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
            self.console.print(
                f"step {progress.step}  {progress.hours:.2f} h  {speed:.0f} x  {terms}",
                soft_wrap=True,
                highlight=False,
            )

    def media(self, step: int, batch: TensorBatch, estimate: Tensor) -> None:
        """Log the sound and the spectrograms of the first examples of a batch.

        Shape: estimate (batch, samples).
        """
        if self.writer is None:
            return
        rate = batch.sample_rate
        sounds = {"noisy": batch.noisy, "estimate": estimate, "clean": batch.clean}
        for name, waves in sounds.items():
            for i, wave in enumerate(waves[:HEARD].float().cpu()):
                tag = f"{i}/{name}"
                self.writer.add_audio(tag, wave.clamp(-1, 1)[None], step, rate)
                self.writer.add_image(tag, _picture(wave, rate), step, dataformats="HW")


def _picture(wave: Tensor, rate: int) -> Tensor:
    """Spectrogram, 80 dB from black to white, high frequencies on top."""
    size = rate // 50
    frames = wave.unfold(-1, size, size // 2) * torch.hann_window(size)
    level = 20 * torch.log10(torch.fft.rfft(frames).abs() / size + 1e-6)
    return ((level.T.flip(0) + 100) / 80).clamp(0, 1)
