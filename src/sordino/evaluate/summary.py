"""Many clips condensed: means, and how sure they are."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sordino.evaluate.measures import MEASURES, Row

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean with its 95 % interval; the bounds are nan where there is nothing to judge by."""

    mean: float
    low: float
    high: float
    files: int


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
    """Bootstrap every measure over the clips where it is defined, in the order of `MEASURES`."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: bootstrap(columns[name]) for name in MEASURES if name in columns}


def means(rows: dict[str, Row]) -> Row:
    """Mean of every measure over the clips where it is defined."""
    return {name: interval.mean for name, interval in summarize(rows.values()).items()}
