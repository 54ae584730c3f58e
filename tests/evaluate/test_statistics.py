import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.evaluate.statistics import (
    bootstrap,
    differences,
    paired_bootstrap,
    summarize,
    worst,
)


@given(seed=st.integers(0, 100))
def test_bootstrap_brackets_the_mean(seed):
    values = np.random.default_rng(seed).normal(3, 1, 50)
    interval = bootstrap([*values, np.nan])
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 50**0.5, rel=0.2)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0, 1, (200, 40))
    covered = [interval.low < 0 < interval.high for interval in map(bootstrap, draws)]
    assert 0.88 < np.mean(covered) < 0.99


def test_paired_differences_see_what_spread_hides():
    rng = np.random.default_rng(0)
    level = rng.normal(2, 1, 30)
    ours = {str(i): {"pesq": x + 0.1 + 0.01 * rng.normal()} for i, x in enumerate(level)}
    theirs = {str(i): {"pesq": x} for i, x in enumerate(level)}
    found = differences(ours, theirs)["pesq"]
    assert found.mean == pytest.approx(0.1, abs=0.01)
    assert found.significant
    assert found.high - found.low < 0.02
    assert summarize(ours.values())["pesq"].high - 0.1 > summarize(theirs.values())["pesq"].low
    assert differences({"a": {"pesq": 1.0}}, {"b": {"pesq": 2.0}}) == {}


def test_a_measure_defined_for_no_clip_is_left_out():
    rows = [{"pesq": 1.0, "wer": float("nan")}, {"pesq": 2.0}]
    assert list(summarize(rows)) == ["pesq"]


def test_worst_clips_come_first_and_undefined_ones_never():
    rows = {"a": {"pesq": 2.0}, "b": {"pesq": 1.0}, "c": {"pesq": float("nan")}}
    assert worst(rows) == ("pesq", ["b", "a"])
    assert worst(rows, 1) == ("pesq", ["b"])
    assert worst({"a": {"lag": 1.0}}) == ("", [])


def test_a_paired_mean_is_the_bootstrap_of_the_differences():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(2, 1, 30), rng.normal(1.8, 1, 30)
    found = paired_bootstrap([*zip(ours, theirs, strict=True), (np.nan, 1.0)])
    assert found == pytest.approx(bootstrap(ours - theirs))
    assert found.files == 30


def test_a_median_ignores_outliers_and_is_paired_too():
    rng = np.random.default_rng(0)
    theirs = rng.normal(30, 2, 40)
    ours = theirs + 1
    ours[:3] -= 50
    plain = bootstrap(ours, statistic=np.median)
    assert plain.mean == np.median(ours)
    assert plain.low < plain.mean < plain.high
    found = paired_bootstrap(zip(ours, theirs, strict=True), statistic=np.median)
    assert found.mean == np.median(ours) - np.median(theirs)
    assert found.high <= 1 + 1e-9
