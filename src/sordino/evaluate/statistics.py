"""Statistics over clips: means and medians with bootstrap intervals, paired differences, ranks."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sordino.evaluate.scores import MEASURES, Row

RESAMPLES = 2000
WORST = 10
RANKING = ("pesq", "ovrl", "sisdr", "nr_db", "level_db")  # the first one available ranks clips

Statistic = Callable[..., Any]
"""Over the last axis: `numpy.mean` or `numpy.median`."""


class Interval(NamedTuple):
    """A mean or median with its 95 % interval; the bounds are nan below two clips."""

    mean: float
    low: float
    high: float
    files: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


Summary = dict[str, Interval]


def bootstrap(
    values: Iterable[float], level: float = 0.95, seed: int = 0, statistic: Statistic = np.mean
) -> Interval:
    """Estimate the mean over all possible clips from those of a set.

    Percentile bootstrap: the clips are drawn again 2000 times, with replacement.  Source:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        values: One per clip; nan is skipped.
        level: Probability that the interval covers the true value.
        seed: Of the draws, so that a report can be reproduced.
        statistic: `numpy.mean` or `numpy.median`.

    >>> bootstrap([1.0, 2.0, 3.0, float("nan")])
    Interval(mean=2.0, low=1.0, high=3.0, files=3)
    """
    x = np.array([value for value in values if np.isfinite(value)])
    return _interval(x, lambda drawn: statistic(drawn, axis=-1), level, seed)


def paired_bootstrap(
    pairs: Iterable[tuple[float, float]],
    level: float = 0.95,
    seed: int = 0,
    statistic: Statistic = np.mean,
) -> Interval:
    """Estimate the difference of a statistic between two systems on the same clips.

    Both systems are drawn with the same clips, so the spread between clips cancels.

    Args:
        pairs: Figures of both systems, one pair per clip; pairs with nan are skipped.
        level: Probability that the interval covers the true difference.
        seed: Of the draws.
        statistic: `numpy.mean` or `numpy.median`.

    Returns:
        First system less the second.

    >>> found = paired_bootstrap([(2.0, 1.0), (3.0, 2.0), (5.0, 4.0)])
    >>> found.mean, round(found.low, 6), round(found.high, 6), found.files
    (1.0, 1.0, 1.0, 3)
    """
    x = np.array([pair for pair in pairs if np.isfinite(pair).all()]).reshape(-1, 2).T

    def difference(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = statistic(drawn, axis=-1)
        return first - second

    return _interval(x, difference, level, seed)


def _interval(
    x: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], Any],
    level: float,
    seed: int,
) -> Interval:
    """Bootstrap a statistic of figures, shape = (..., clips)."""
    count = x.shape[-1]
    if count < 2:
        value = float(statistic(x)) if count else float("nan")
        return Interval(value, float("nan"), float("nan"), count)
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    tail = 50 * (1 - level)
    low, high = np.percentile(statistic(x[..., draws]), [tail, 100 - tail])
    return Interval(float(statistic(x)), float(low), float(high), count)


def summarize(rows: Iterable[Row]) -> Summary:
    """Bootstrap every measure over the clips where it is defined, in the order of `MEASURES`.

    A measure without a single defined value is left out.
    """
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    condensed = {name: bootstrap(columns[name]) for name in MEASURES if name in columns}
    return {name: interval for name, interval in condensed.items() if interval.files}


def differences(ours: Mapping[str, Row], theirs: Mapping[str, Row]) -> Summary:
    """Bootstrap the paired difference, ours less theirs, over the clips that both have.

    Most of the spread of a measure is between clips and cancels.
    """
    return summarize(
        {name: row[name] - theirs[clip][name] for name in row if name in theirs[clip]}
        for clip, row in ours.items()
        if clip in theirs
    )


def worst(rows: Mapping[str, Row], count: int = WORST) -> tuple[str, list[str]]:
    """Return the measure that ranks clips, and the worst clips, worst first.

    The measure is the first of `RANKING` that any clip has; without one the list is empty.
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
