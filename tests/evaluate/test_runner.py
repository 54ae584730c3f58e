import pytest

from sordino.evaluate import FAST, evaluate_set, means


def test_evaluate_set_scores_any_callable(dataset):
    rows = evaluate_set(dataset, lambda x, rate: x / 2, metrics=("att_db", "nr_db"))
    assert list(rows) == ["clip0", "clip1", "clip2"]
    assert means(rows)["att_db"] == pytest.approx(6.02, abs=0.1)
    assert means(rows)["nr_db"] == pytest.approx(6.02, abs=0.1)
    assert list(evaluate_set(dataset, lambda x, rate: x, metrics=["sisdr"], limit=1)) == ["clip0"]


def test_fast_measures_are_a_subset_for_checkpoints(dataset):
    rows = evaluate_set(dataset, lambda x, rate: x, limit=2)
    assert set(means(rows)) == set(FAST)


def test_processes_change_nothing(dataset):
    alone = evaluate_set(dataset, lambda x, rate: x, metrics=("sisdr", "lsd_db"))
    shared = evaluate_set(dataset, lambda x, rate: x, metrics=("sisdr", "lsd_db"), jobs=2)
    assert list(alone) == list(shared)
    # Sums of floats depend on how arrays happen to lie in memory, in the last digits.
    for clip, scores in alone.items():
        assert scores == pytest.approx(shared[clip], rel=1e-9)
