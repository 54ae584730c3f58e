"""Plots by Matplotlib without windows: charts of figures as SVG or PNG, spectrograms as WebP."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sordino.arrays import Mono
from sordino.evaluate.conditions import Condition
from sordino.evaluate.dataset import Clip
from sordino.evaluate.metrics import align
from sordino.evaluate.results import replace
from sordino.evaluate.scores import MEASURES, Row
from sordino.evaluate.statistics import Summary
from sordino.evaluate.systems import System
from sordino.spectrogram import (
    RANGE_DB,
    Levels,
    Spectrogram,
    check_plotting,
    image,
    mel,
    mel_levels,
)

INK, FAINT, GRID = "#211f2b", "#77737f", "#e4e2e8"
SUBJECT, OTHERS, INPUT = "#b3325b", "#8d93a8", "#c9c7cf"
# Distinct with any colour vision: Okabe and Ito.
LINES = ("#b3325b", "#0072b2", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#777777", "#000000")
COLOURS = 64  # of a PNG file, which is then a quarter of the size
LABEL: dict[str, Any] = {"color": FAINT, "size": 9}

STRIP_SECONDS = 10  # longest spectrogram of a strip
STRIP_INCHES = (9.6, 2.1)
STRIP_PIXELS = (1200, 262)
STRIP_ROWS = 200  # mel bands of a panel
WEBP_QUALITY = 56  # about 30 kB a strip
TICKS_HZ = (500, 1000, 2000, 4000, 8000, 16000)


def means_chart(systems: Mapping[str, Summary], metrics: Sequence[str], subject: str) -> str:
    """Return one small SVG chart of means and intervals per measure."""
    shown = [name for name in metrics if sum(name in each for each in systems.values()) > 0]
    across = 4
    down = -(-len(shown) // across)
    height = 0.62 + 0.24 * len(systems)  # inches
    chart = figure(12, down * height + 0.2)
    grid = chart.subplots(down, across, squeeze=False, sharey=True)
    labels = list(systems)
    for axes, name in zip(grid.flat, shown, strict=False):
        for place, system in enumerate(labels):
            interval = systems[system].get(name)
            if interval is None:
                continue
            colour = SUBJECT if system == subject else INPUT if system == labels[0] else OTHERS
            reach = np.nan_to_num([[interval.mean - interval.low], [interval.high - interval.mean]])
            axes.errorbar(
                interval.mean, place, xerr=reach, fmt="o", color=colour, ms=5, lw=2, capsize=0
            )
        arrow = {1: "  (more is better)", -1: "  (less is better)"}.get(MEASURES[name].better, "")
        axes.set_title(MEASURES[name].title + arrow, loc="left", color=INK, size=9, pad=5)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.margins(x=0.08)
        plain(axes, grid_axis="x")
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    chart.tight_layout()
    return svg(chart)


def groups_chart(
    systems: Mapping[str, Mapping[str, Summary]], metrics: Sequence[str], column: str, subject: str
) -> str:
    """Return SVG charts of lines over groups, for instance over SNR, one per measure.

    Args:
        systems: Statistics by system and group.
        metrics: One chart each.
        column: Column of META.csv that made the groups.
        subject: The system that is emphasised.
    """
    chart = figure(12, 3.2)
    grid = chart.subplots(1, len(metrics), squeeze=False)[0]
    labels = list(next(iter(systems.values())))
    colours = line_colours(systems, subject)
    for axes, name in zip(grid, metrics, strict=True):
        for place, system in enumerate(colours):
            found = systems[system]
            means = [
                found[label][name].mean if name in found[label] else np.nan for label in labels
            ]
            width = 2.4 if system == subject else 1.3
            style = "o-" if place < len(LINES) else "o:"  # a repeated colour is dotted
            axes.plot(labels, means, style, color=colours[system], lw=width, ms=4, label=system)
        axes.set_title(MEASURES[name].title, loc="left", color=INK, size=9, pad=5)
        axes.set_xlabel(column, **LABEL)
        plain(axes, grid_axis="y")
    grid[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    chart.tight_layout()
    return svg(chart)


def clips_chart(before: Mapping[str, Row], after: Mapping[str, Row], metrics: Sequence[str]) -> str:
    """Return SVG scatter plots of every clip before and after, one per measure."""
    chart = figure(12, 3.4)
    grid = chart.subplots(1, len(metrics), squeeze=False)[0]
    for axes, name in zip(grid, metrics, strict=True):
        pairs = [
            (before[clip][name], row[name])
            for clip, row in after.items()
            if name in row and name in before.get(clip, {})
        ]
        x, y = np.array(pairs).reshape(-1, 2).T
        axes.axline((np.nanmean(x), np.nanmean(x)), slope=1, color=GRID, lw=1.5, zorder=0)
        axes.scatter(x, y, s=14, color=SUBJECT, alpha=0.6, linewidths=0)
        axes.set_title(f"{MEASURES[name].title}, every clip", loc="left", color=INK, size=9, pad=5)
        axes.set_xlabel("before", **LABEL)
        axes.set_ylabel("after", **LABEL)
        plain(axes)
    chart.tight_layout()
    return svg(chart)


def comparison(system: System, clip: Clip, condition: Condition) -> tuple[dict[str, Mono], int]:
    """Run a system on a clip, for listening and looking.

    Returns:
        By title: the noisy signal, the output aligned to it, and the clean signal, or the
        removed noise where there is no reference; mono, without the gain of the condition.
        And their sample rate in Hz.

    Raises:
        SordinoError: The clip cannot be read, or the system has no output for it.
    """
    reference, recording, rate = clip.read()
    stimulus = condition.apply(reference, recording, rate)
    clean, noisy = stimulus.clean, stimulus.noisy
    estimate = stimulus.undo(system.opened(clip, rate, condition)(stimulus.given))
    estimate, _ = align(noisy if clean is None else clean, estimate, rate)
    sounds = {"noisy": noisy, system.name: estimate}
    sounds["noise removed" if clean is None else "clean"] = (
        noisy - estimate if clean is None else clean
    )
    return sounds, rate


def comparison_strip(sounds: Mapping[str, Mono], rate: int) -> bytes:
    """Draw spectrograms side by side, with one colour scale, as a small WebP file.

    Args:
        sounds: By title, mono; the first one sets the scale.
        rate: Sample rate of all, Hz.

    Raises:
        SordinoError: Matplotlib is missing.
    """
    pil: Any = import_module("PIL.Image")
    chart = figure(*STRIP_INCHES)
    images = {name: _levels(x[: STRIP_SECONDS * rate], rate) for name, x in sounds.items()}
    seconds = min(len(next(iter(sounds.values()))) / rate, STRIP_SECONDS)
    top = max(-60.0, float(np.percentile(next(iter(images.values())), 99.9)))
    grid: Any = chart.subplots(1, len(images), sharey=True, squeeze=False)
    chart.subplots_adjust(left=0.05, right=0.992, top=0.87, bottom=0.21, wspace=0.05)
    for axes, (name, levels) in zip(grid[0], images.items(), strict=True):
        axes.imshow(
            image(levels, top - RANGE_DB, top),
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, float(mel(rate / 2))),
        )
        axes.set_title(name, loc="left", color=INK, size=11, pad=4)
        axes.set_xlabel("time, s", color=FAINT, size=9, labelpad=1)
        axes.tick_params(colors=FAINT, labelsize=9, length=2)
        axes.spines[:].set_visible(False)
    shown = [tick for tick in TICKS_HZ if tick <= rate / 2]
    first = grid[0][0]
    first.set_yticks([float(mel(tick)) for tick in shown], [f"{tick / 1000:g}" for tick in shown])
    first.set_ylabel("kHz", color=FAINT, size=9, labelpad=2)
    drawn, packed = BytesIO(), BytesIO()
    chart.savefig(drawn, format="png")
    with pil.open(drawn) as whole:
        small = whole.convert("RGB").resize(STRIP_PIXELS, pil.Resampling.LANCZOS)
    small.save(packed, "WEBP", quality=WEBP_QUALITY, method=6)
    return packed.getvalue()


def line_colours(systems: Sequence[str] | Mapping[str, Any], subject: str) -> dict[str, str]:
    """Return a colour for each system, the first one for the subject."""
    ordered = [subject, *(name for name in systems if name != subject)]
    return {name: LINES[i % len(LINES)] for i, name in enumerate(ordered)}


def figure(width: float, height: float) -> Any:
    """Return an empty figure of this size in inches."""
    check_plotting()
    figures: Any = import_module("matplotlib.figure")  # no pyplot: no windows, no global state
    return figures.Figure(figsize=(width, height), dpi=150, facecolor="white")


def plain(axes: Any, grid_axis: str = "both") -> None:
    """Remove frames and ticks, keep a faint grid."""
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    axes.grid(axis=grid_axis, color=GRID, lw=0.8)
    axes.set_axisbelow(True)


def svg(chart: Any) -> str:
    """Return a figure as an SVG element."""
    text = StringIO()
    chart.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def save(path: Path, chart: Any) -> None:
    """Write a figure as a PNG file of few colours, atomically.

    Raises:
        SordinoError: It cannot be written.
    """
    pil: Any = import_module("PIL.Image")
    drawn, data = BytesIO(), BytesIO()
    chart.savefig(drawn, format="png")
    with pil.open(drawn) as whole:
        whole.convert("RGB").quantize(COLOURS).save(data, "PNG", optimize=True)
    write: Callable[[Path], object] = lambda partial: partial.write_bytes(data.getvalue())  # noqa: E731
    replace(path, write)


def _levels(x: Mono, rate: int) -> Levels:
    spectrogram = Spectrogram(rate)
    spectrogram.feed(x[:, None].astype(np.float32))
    return mel_levels(spectrogram.power(), rate, STRIP_ROWS)
