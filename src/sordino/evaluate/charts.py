"""Charts of figures, drawn by Matplotlib without windows: SVG for pages, PNG for files."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sordino.evaluate.measures import MEASURES, Row
from sordino.evaluate.summary import Summary
from sordino.evaluate.tables import replace
from sordino.spectrogram import check_plotting

INK, FAINT, GRID = "#211f2b", "#77737f", "#e4e2e8"
SUBJECT, OTHERS, INPUT = "#b3325b", "#8d93a8", "#c9c7cf"
# Told apart with any colour vision: Okabe and Ito.
LINES = ("#b3325b", "#0072b2", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#777777", "#000000")
COLOURS = 64  # of a PNG file; a quarter of the size of all colours
LABEL: dict[str, Any] = {"color": FAINT, "size": 9}


def means_chart(systems: Mapping[str, Summary], metrics: Sequence[str], subject: str) -> str:
    """Draw one small chart of means and intervals per measure; SVG."""
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
    """Draw lines over groups, for instance over SNR, a chart per measure; SVG.

    Args:
        systems: Per system and group, the condensed figures.
        metrics: One chart for each.
        column: By which the groups were made.
        subject: The system drawn strongest.
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
            style = "o-" if place < len(LINES) else "o:"  # a colour that comes again is dotted
            axes.plot(labels, means, style, color=colours[system], lw=width, ms=4, label=system)
        axes.set_title(MEASURES[name].title, loc="left", color=INK, size=9, pad=5)
        axes.set_xlabel(column, **LABEL)
        plain(axes, grid_axis="y")
    grid[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    chart.tight_layout()
    return svg(chart)


def clips_chart(before: Mapping[str, Row], after: Mapping[str, Row], metrics: Sequence[str]) -> str:
    """Draw every clip, its figure before against after, a chart per measure; SVG."""
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


def line_colours(systems: Sequence[str] | Mapping[str, Any], subject: str) -> dict[str, str]:
    """Give every system a colour, the subject the first one."""
    ordered = [subject, *(name for name in systems if name != subject)]
    return {name: LINES[i % len(LINES)] for i, name in enumerate(ordered)}


def figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    check_plotting()
    figures: Any = import_module("matplotlib.figure")  # no pyplot: no windows, no global state
    return figures.Figure(figsize=(width, height), dpi=150, facecolor="white")


def plain(axes: Any, grid_axis: str = "both") -> None:
    """Leave little ink besides the data."""
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
    """Write a figure as a PNG file of few colours, whole or not at all.

    Raises:
        SordinoError: It cannot be written.
    """
    image: Any = import_module("PIL.Image")
    drawn, data = BytesIO(), BytesIO()
    chart.savefig(drawn, format="png")
    with image.open(drawn) as whole:
        whole.convert("RGB").quantize(COLOURS).save(data, "PNG", optimize=True)
    write: Callable[[Path], object] = lambda partial: partial.write_bytes(data.getvalue())  # noqa: E731
    replace(path, write)
