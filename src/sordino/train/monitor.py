"""What a person sees of a run: a progress bar, log lines, TensorBoard, a picture of a batch."""

# No types: torch and matplotlib.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import time
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from sordino.arrays import Mono
from sordino.spectrogram import Colours, Levels, Spectrogram, image, mel_levels
from sordino.train.checkpoint import Progress as RunProgress
from sordino.train.data.mixing import Batch
from sordino.train.objective import TensorBatch
from sordino.train.recipe import Recipe

HEARD = 4  # examples of a batch that are logged as sound
ROWS = 160  # of their spectrograms


class RunMonitor:
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

    def __enter__(self) -> "RunMonitor":
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
        """Note the figures of one step; show their means every `log_every` steps.

        Args:
            progress: of the run.
            scalars: figures by name, shape = ().
            rate: learning rate.
        """
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
        self.writer.add_scalar("train/hours_per_minute", speed / 60, progress.step)
        if (utilisation := _gpu_utilisation()) is not None:
            means["gpu"] = utilisation
            self.writer.add_scalar("train/gpu", utilisation, progress.step)
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
                self.writer.add_image(tag, _picture(wave.numpy(), rate), step, dataformats="HWC")


def _gpu_utilisation() -> float | None:
    """Return the share of the last second or so that this process's GPU was busy.

    None without a GPU, or without NVIDIA's bindings (nvidia-ml-py) or what they need.
    """
    if not torch.cuda.is_available():
        return None
    try:
        return torch.cuda.utilization() / 100
    except Exception:  # each driver has errors of its own
        return None


def _picture(wave: Mono, rate: int) -> Colours:
    """Spectrogram on the mel scale, -90 to -10 dB, high frequencies on top."""
    return image(mel_levels(_power(wave, rate), rate, ROWS)[::-1], -90, -10)


def _power(wave: Mono, rate: int) -> Levels:
    spectrogram = Spectrogram(rate)
    spectrogram.feed(wave[:, None])
    return spectrogram.power()


def draw_batch(batch: Batch, path: str | Path, count: int = 6) -> None:
    """Draw noisy and clean spectrograms of the first `count` examples into an image file.

    Each row is an example: left the mixture, right its target.  The white line is the speech
    activity, the dashed one the bandwidth above which the target is unknown.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    count = min(count, len(batch.noisy))
    figure, axes = plt.subplots(count, 2, figsize=(14, 2.2 * count), squeeze=False)
    seconds = batch.noisy.shape[1] / batch.sample_rate
    top = batch.sample_rate / 2000
    for i in range(count):
        pair = {"noisy": batch.noisy[i], "clean": batch.clean[i]}
        levels = {
            name: 10 * np.log10(_power(x, batch.sample_rate) + 1e-14) for name, x in pair.items()
        }
        loudest = levels["noisy"].max()
        for axis, (name, x) in zip(axes[i], pair.items(), strict=True):
            axis.imshow(
                levels[name],
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, top),
                vmin=loudest - 90,
                vmax=loudest,
                cmap="magma",
            )
            time_axis = (np.arange(batch.speech.shape[1]) + 0.5) / 100
            share = 0.02 + 0.06 * batch.speech[i]
            axis.plot(time_axis, top * share, color="white", linewidth=0.8)
            axis.axhline(batch.bandwidth[i] / 1000, color="cyan", linestyle="--", linewidth=0.8)
            rms = 10 * np.log10(np.mean(x**2) + 1e-20)
            axis.set_title(f"{i} {name}, {rms:.0f} dBFS, peak {np.abs(x).max():.2f}", fontsize=8)
            axis.set_ylabel("kHz", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
