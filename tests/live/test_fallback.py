"""When the ladder is climbed, told by a clock of the test's own."""

import threading

import numpy as np
import pytest

from sordino.live import ladder
from sordino.live.ladder import FIRST_PAUSE, LONGEST_PAUSE, Ladder
from support.live_models import SlowModel
from support.signals import noise

RATE = 8000
FRAME = RATE // 100
PAUSE = threading.Event()  # never set; sleeping has no effect here


class Clock:
    """Time goes by only where a slow model works."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr("time.sleep", self._sleep)

    def _sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def run(climbing, seconds):
    """Feed sound; return the rungs that were used, in order, and the pauses between."""
    rungs, block = [], noise(FRAME)
    for _ in range(round(100 * seconds)):
        climbing.process(block, 1.0)
        while climbing._trial and climbing._trial.behind_seconds > 1e-6:
            PAUSE.wait(1e-4)  # its thread is a real one
        rungs.append(climbing.level)
    changes = np.flatnonzero(np.diff(rungs)) + 1
    return rungs, [round(at / 100, 2) for at in changes]


@pytest.mark.usefixtures("clock")
def test_it_stays_where_there_is_time_enough():
    climbing = Ladder([SlowModel(0.008), SlowModel(0)], RATE)
    rungs, _ = run(climbing, 20)
    assert set(rungs) == {0}


@pytest.mark.usefixtures("clock")
def test_one_slow_step_is_no_overload():
    model = SlowModel(0)
    climbing = Ladder([model, SlowModel(0)], RATE)
    run(climbing, 2)
    model.seconds = 0.3
    run(climbing, 0.01)
    model.seconds = 0
    assert set(run(climbing, 5)[0]) == {0}


@pytest.mark.usefixtures("clock")
def test_it_climbs_down_soon_and_up_after_a_trial():
    model = SlowModel(0.012)
    climbing = Ladder([model, SlowModel(0)], RATE)
    rungs, changes = run(climbing, 2)
    assert rungs[-1] == 1
    assert changes[0] <= 0.5
    model.seconds = 0
    rungs, changes = run(climbing, 10)
    assert rungs[-1] == 0
    assert changes[0] < FIRST_PAUSE + ladder.TRIAL_SECONDS + 0.1


@pytest.mark.usefixtures("clock")
def test_failed_trials_become_rare():
    best = SlowModel(0.0085)  # too slow to be chosen, not too slow to stay
    climbing = Ladder([best, SlowModel(0)], RATE)
    best.seconds = 0.012
    run(climbing, 1)
    best.seconds = 0.0085
    pauses = []
    for _ in range(132):
        rungs, _ = run(climbing, 1)
        assert set(rungs) == {1}
        pauses.append(climbing._pause)
    assert sorted(set(pauses)) == [4, 8, 16, 32, 64]
    assert max(pauses) == LONGEST_PAUSE


@pytest.mark.usefixtures("clock")
def test_a_better_model_that_fails_at_once_is_not_tried_again_soon():
    best = SlowModel(0.012)
    climbing = Ladder([best, SlowModel(0)], RATE)
    run(climbing, 1)
    for _ in range(2):
        best.seconds = 0
        while climbing.level:
            run(climbing, 0.1)
        best.seconds = 0.012
        run(climbing, 1)
        assert climbing.level == 1
    assert climbing._pause == 4 * FIRST_PAUSE


@pytest.mark.usefixtures("clock")
def test_the_last_rung_is_no_model_at_all():
    climbing = Ladder([SlowModel(0.02)], RATE)
    rungs, _ = run(climbing, 2)
    assert rungs[-1] == 1
    assert climbing.model == ""
    assert climbing.process(noise(FRAME), 1.0) is None


@pytest.mark.usefixtures("clock")
def test_without_hurry_nothing_is_too_slow():
    climbing = Ladder([SlowModel(0.05), SlowModel(0)], RATE, realtime=False)
    assert set(run(climbing, 3)[0]) == {0}
