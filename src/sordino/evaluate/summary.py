"""Many clips condensed: means, how sure they are, differences, the worst ones."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from sordino.evaluate.measures import MEASURES, Row

RESAMPLES = 2000
WORST = 10
RANKING = ("pesq", "ovrl", "sisdr", "nr_db", "level_db")  # the first there is tells the worst


class Interval(NamedTuple):
    """A mean with its 95 % interval; the bounds are nan where there is nothing to judge by."""

    mean: float
    low: float
    high: float
    files: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


Summary = dict[str, Interval]


def bootstrap(values: Iterable[float], level: float = 0.95, seed: int = 0) -> Interval:
    """Estimate the mean over all clips there might be from those there are.

    Percentile bootstrap: the clips are drawn anew, with replacement, 2000 times.  Source:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        values: One per clip; those that are nan are left out.
        level: Probability that the interval covers the mean.
        seed: Of the draws, so that a report is the same twice.

    >>> bootstrap([1.0, 2.0, 3.0, float("nan")])
    Interval(mean=2.0, low=1.0, high=3.0, files=3)
    """
    x = np.array([value for value in values if np.isfinite(value)])
    if len(x) < 2:
        mean = float(x[0]) if len(x) else float("nan")
        return Interval(mean, float("nan"), float("nan"), len(x))
    draws = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
    tail = 50 * (1 - level)
    low, high = np.percentile(x[draws].mean(axis=1), [tail, 100 - tail])
    return Interval(float(x.mean()), float(low), float(high), len(x))


def summarize(rows: Iterable[Row]) -> Summary:
    """Bootstrap every measure over the clips where it is defined, in the order of `MEASURES`.

    A measure that is defined for no clip is left out.
    """
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    condensed = {name: bootstrap(columns[name]) for name in MEASURES if name in columns}
    return {name: interval for name, interval in condensed.items() if interval.files}


def differences(ours: Mapping[str, Row], theirs: Mapping[str, Row]) -> Summary:
    """Bootstrap the difference, ours less theirs, over the clips that both have.

    Paired, clip by clip: most of the spread of a measure is between clips, and falls out.
    """
    return summarize(
        {name: row[name] - theirs[clip][name] for name in row if name in theirs[clip]}
        for clip, row in ours.items()
        if clip in theirs
    )


def worst(rows: Mapping[str, Row], count: int = WORST) -> tuple[str, list[str]]:
    """Return the measure by which clips are ranked, and the worst clips, the worst one first.

    The measure is the first of `RANKING` that any clip has; without one there are no clips.
    """
    for measure in RANKING:
        values = {clip: row.get(measure, math.nan) for clip, row in rows.items()}
        ranked = sorted(
            (clip for clip in values if np.isfinite(values[clip])), key=values.__getitem__
        )
        if ranked:
            return measure, ranked[:count]
    return "", []


def means(rows: dict[str, Row]) -> Row:
    """Mean of every measure over the clips where it is defined."""
    return {name: interval.mean for name, interval in summarize(rows.values()).items()}
