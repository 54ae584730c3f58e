"""The trade-off curve: quality against cost, our models and other systems on it."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sordino.evaluate.charts import FAINT, INK, LABEL, OTHERS, SUBJECT, figure, plain, save
from sordino.evaluate.evaluation import Evaluation
from sordino.evaluate.measures import MEASURES
from sordino.evaluate.printing import UNPROCESSED
from sordino.evaluate.summary import Interval
from sordino.evaluate.systems import Network


def draw_curve(path: Path, evaluation: Evaluation, measure: str, macs: Mapping[str, float]) -> None:
    """Draw a measure against multiply-accumulates and against the time taken, as PNG.

    Systems whose multiply-accumulates are unknown, or that have no network, stand in the
    second panel only; those that ran elsewhere in the first only, if their figures say no
    more.

    Args:
        path: Where to.
        evaluation: What was measured.
        measure: The quality.
        macs: Multiply-accumulates per second of sound by system, beside what systems know
            of themselves.

    Raises:
        SordinoError: Matplotlib is missing, or the file cannot be written.
    """
    summaries = evaluation.summaries()
    known = {each.name: each.macs for each in evaluation.systems if each.macs} | dict(macs)
    ours = {each.name for each in evaluation.systems if isinstance(each, Network)}
    quality = {name: each[measure] for name, each in summaries.items() if measure in each}
    cost = {
        name: each[column].mean
        for name, each in summaries.items()
        for column in ("rtf", "rtf_live")
        if column in each and name != UNPROCESSED
    }
    chart = figure(12, 5)
    left, right = chart.subplots(1, 2, sharey=True)
    _scatter(left, {name: value / 1e6 for name, value in known.items()}, quality, ours)
    _scatter(right, cost, quality, ours)
    left.set_xlabel("million multiply-accumulates per second of sound", **LABEL)
    right.set_xlabel("processor time per second of sound, one thread, live where it can", **LABEL)
    left.set_ylabel(MEASURES[measure].title, **LABEL)
    for axes in (left, right):
        axes.tick_params(which="minor", length=0)
        if UNPROCESSED in quality:
            axes.axhline(quality[UNPROCESSED].mean, color=FAINT, lw=1, ls=":")
    if UNPROCESSED in quality:
        place = (0.005, quality[UNPROCESSED].mean)
        left.annotate(
            "unprocessed",
            place,
            xycoords=("axes fraction", "data"),
            color=FAINT,
            size=8,
            va="bottom",
        )
    title = (
        f"{MEASURES[measure].title} against cost: {evaluation.title}, {len(evaluation.clips)} clips"
    )
    chart.suptitle(title, x=0.01, ha="left", color=INK, size=12)
    chart.tight_layout()
    save(path, chart)


def _scatter(
    axes: Any, cost: Mapping[str, float], quality: Mapping[str, Interval], ours: set[str]
) -> None:
    """Draw systems with their intervals; join ours, cheapest first."""
    shown = sorted((cost[name], name) for name in cost if name in quality)
    for value, name in shown:
        interval, colour = quality[name], SUBJECT if name in ours else OTHERS
        reach = np.nan_to_num([[interval.mean - interval.low], [interval.high - interval.mean]])
        axes.errorbar(value, interval.mean, yerr=reach, fmt="o", color=colour, ms=6, lw=1.2)
        axes.annotate(
            name,
            (value, interval.mean),
            xytext=(7, 3),
            textcoords="offset points",
            color=colour if name in ours else INK,
            size=9,
            weight="bold" if name in ours else "normal",
        )
    mine = [(value, quality[name].mean) for value, name in shown if name in ours]
    if len(mine) > 1:
        axes.plot(*zip(*mine, strict=True), color=SUBJECT, lw=1.5, zorder=1)
    if shown:
        axes.set_xscale("log")
        ticker: Any = import_module("matplotlib.ticker")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.2)
    plain(axes)
