"""Quality against cost: computation of each system, or hours of audio in training."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sordino.evaluate.plots import FAINT, GRID, INK, LABEL, OTHERS, SUBJECT, figure, plain, save
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import MEASURES
from sordino.evaluate.statistics import Interval
from sordino.evaluate.systems import UNPROCESSED, Network

# Offsets of a label from its point, preferred first: points right, points up.
PLACES = (
    *((7, 0), (-7, 0), (0, 8), (0, -8), (6, 7), (6, -7), (-6, 7), (-6, -7)),
    *((0, 17), (0, -17), (12, 14), (12, -14), (-12, 14), (-12, -14)),
)


ACROSS, PANEL = 2, (4.6, 3.2)  # panels in a row; inches, so that text is legible on a narrow page
STEPS = np.linspace(0, 1, 40)  # along a line


class CostAxis(StrEnum):
    """Horizontal axis of the curve."""

    WORK = "work"
    """Multiply-accumulates in the left panels, processor time in the right ones."""
    HOURS = "hours"
    """Hours of audio in training, of Sordino's models."""


def draw_curve(
    path: Path,
    evaluation: Evaluation,
    measures: Sequence[str],
    macs: Mapping[str, float],
    against: CostAxis = CostAxis.WORK,
) -> None:
    """Plot measures against their cost as PNG, two panels in a row.

    A system without a known number of multiply-accumulates appears in the panels of
    processor time only; one that ran elsewhere may appear in the other panels only.

    Args:
        path: Output file.
        evaluation: What was measured.
        measures: Vertical axes.
        macs: Multiply-accumulates per second of audio by system, in addition to those that
            systems and their figures have.
        against: Horizontal axes.

    Raises:
        SordinoError: Matplotlib is missing, or the file cannot be written.
    """
    costs = (_hours if against is CostAxis.HOURS else _work)(evaluation, macs)
    summaries = evaluation.summaries()
    ours = {
        each.name: each.model.info.kind for each in evaluation.systems if isinstance(each, Network)
    }
    panels = [(name, label) for name in measures for label in costs]
    down = -(-len(panels) // ACROSS)
    chart = figure(PANEL[0] * min(ACROSS, len(panels)), PANEL[1] * down + 0.4)
    # Labels are laid out by their size in pixels.
    import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(chart)
    grid = chart.subplots(
        down,
        min(ACROSS, len(panels)),
        squeeze=False,
        sharey="row" if len(costs) == ACROSS else False,
    )
    points: list[tuple[Any, Mapping[str, tuple[float, Interval]]]] = []
    for axes, (name, label) in zip(grid.flat, panels, strict=False):
        cost = costs[label]
        quality = {key: each[name] for key, each in summaries.items() if name in each}
        _line(axes, cost, quality, ours, training=against is CostAxis.HOURS)
        axes.set_xlabel(label, **LABEL)
        axes.set_title(MEASURES[name].title, loc="left", color=INK, size=10, pad=6)
        shown = {key: (cost[key], quality[key]) for key in cost if key in quality}
        points.append((axes, shown if against is CostAxis.WORK else {}))
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    title = f"{Path(evaluation.title).resolve().name}: {len(evaluation.clips)} clips"
    chart.suptitle(title, x=0.012, ha="left", color=FAINT, size=9)
    chart.tight_layout(w_pad=2.5, h_pad=2)
    for axes, shown in points:
        _label(axes, shown, ours)
    save(path, chart)


def _work(evaluation: Evaluation, macs: Mapping[str, float]) -> dict[str, dict[str, float]]:
    known = {each.name: each.macs for each in evaluation.systems if each.macs}
    known |= {**evaluation.macs, **macs}
    time = {
        name: each[column].mean
        for name, each in evaluation.summaries().items()
        for column in ("rtf", "rtf_live")  # live where it can
        if column in each and name != UNPROCESSED
    }
    return {
        "million multiply-accumulates per second of audio": {
            name: value / 1e6 for name, value in known.items()
        },
        "processor time per second of audio, one thread": time,
    }


def _hours(evaluation: Evaluation, _: Mapping[str, float]) -> dict[str, dict[str, float]]:
    hours = {
        each.name: float(each.model.info.training["hours"])
        for each in evaluation.systems
        if isinstance(each, Network) and "hours" in each.model.info.training
    }
    return {"hours of mixed audio in training": hours}


def _line(
    axes: Any,
    cost: Mapping[str, float],
    quality: Mapping[str, Interval],
    ours: Mapping[str, str],
    training: bool,
) -> None:
    """Draw systems with their intervals; join models of the same kind as the first."""
    if UNPROCESSED in quality:
        _level(axes, quality[UNPROCESSED].mean, training)
    shown = sorted((cost[name], name) for name in cost if name in quality)
    kind = next(iter(ours.values()), "")
    joined = [(value, quality[name]) for value, name in shown if ours.get(name) == kind]
    places = [value for value, _ in joined]
    if len(joined) > 1:
        means = [interval.mean for _, interval in joined]
        axes.plot(places, means, color=SUBJECT, lw=1.2, alpha=0.6, zorder=1)
    if training:
        low, high = ([interval[i] for _, interval in joined] for i in (1, 2))
        axes.fill_between(places, low, high, color=SUBJECT, alpha=0.12, lw=0, zorder=0)
    for value, name in shown:
        interval, mine = quality[name], name in ours
        reach = np.nan_to_num([[interval.mean - interval.low], [interval.high - interval.mean]])
        axes.errorbar(
            value,
            interval.mean,
            yerr=None if training else reach,
            fmt="o",
            color=SUBJECT if mine else OTHERS,
            ecolor=(*_rgb(SUBJECT), 0.45) if mine else GRID,
            ms=6 if mine else 5,
            lw=1.4,
            zorder=3 if mine else 2,
        )
    if shown and not training:
        axes.set_xscale("log")
        ticker: Any = import_module("matplotlib.ticker")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        first, last = shown[0][0], shown[-1][0]
        spread = max(last / first, 2)
        axes.set_xlim(first / spread**0.2, last * spread**0.5)  # room for names on the right
        axes.margins(y=0.08)
    plain(axes)
    axes.tick_params(which="minor", length=0)


def _level(axes: Any, level: float, right: bool) -> None:
    """Draw the level of the unprocessed input, labelled away from the points."""
    axes.axhline(level, color=FAINT, lw=1, ls=":", zorder=0)
    axes.annotate(
        "unprocessed",
        (0.995 if right else 0.005, level),
        xycoords=("axes fraction", "data"),
        color=FAINT,
        size=8,
        va="bottom",
        ha="right" if right else "left",
    )


def _label(
    axes: Any, points: Mapping[str, tuple[float, Interval]], ours: Mapping[str, str]
) -> None:
    """Label points, each where the label covers least of the drawing."""
    renderer = axes.figure.canvas.get_renderer()
    within = axes.get_window_extent(renderer)
    # What is drawn already, with its weight: a label beside another point misleads.
    taken = [(each.get_window_extent(renderer), 1.0) for each in axes.texts]
    kind = next(iter(ours.values()), "")
    joined = sorted(
        axes.transData.transform((value, interval.mean)).tolist()
        for name, (value, interval) in points.items()
        if ours.get(name) == kind
    )
    for (x, y), (to_x, to_y) in pairwise(joined):
        for step in STEPS:
            height = y + step * (to_y - y)
            taken.append((_box(x + step * (to_x - x), height, height, 2), 1.0))
    for value, interval in points.values():
        x, y = axes.transData.transform((value, interval.mean))
        (_, low), (_, high) = axes.transData.transform([(value, each) for each in interval[1:3]])
        taken += [(_box(x, y, y, 12), 4.0), (_box(x, low, high, 2), 0.5)]
    for name, (value, interval) in sorted(points.items(), key=lambda item: item[0] not in ours):
        text = axes.annotate(
            name,
            (value, interval.mean),
            xytext=(0, 0),
            textcoords="offset points",
            color=SUBJECT if name in ours else INK,
            size=8.5,
            weight="bold" if name in ours else "normal",
        )
        covered: list[tuple[float, int]] = []
        for rank, place in enumerate(PLACES):
            _put(text, place)
            box = text.get_window_extent(renderer)
            area = sum(weight * _shared(box, other) for other, weight in taken)
            outside = box.width * box.height - _shared(box, within)
            covered.append((area + 4 * outside + 8 * rank, rank))
        _put(text, PLACES[min(covered)[1]])
        taken.append((text.get_window_extent(renderer), 2.0))


def _put(text: Any, place: tuple[int, int]) -> None:
    right, up = place
    text.set_position(place)
    text.set_ha("center" if not right else "left" if right > 0 else "right")
    text.set_va("center" if not up else "bottom" if up > 0 else "top")


def _box(x: float, low: float, high: float, reach: float) -> Any:
    """Return a box around a point or an upright line, in pixels."""
    bounds: Any = import_module("matplotlib.transforms").Bbox
    return bounds.from_extents(x - reach, low - reach, x + reach, high + reach)


def _shared(one: Any, other: Any) -> float:
    """Return the area that two boxes have in common, in square pixels."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    up = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, across) * max(0.0, up)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
