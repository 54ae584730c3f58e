"""When the fallback steps down and up, in simulated time."""

import threading

import numpy as np
import pytest

from sordino.live.fallback import FIRST_PAUSE, MAX_PAUSE, TRIAL_SECONDS, ModelFallback
from sordino.voice import VoiceChoice
from support import models
from support.live_models import SlowModel
from support.signals import noise

RATE = 8000
FRAME = RATE // 100
PAUSE = threading.Event()  # never set; sleeping has no effect here


class Clock:
    """A clock that advances only while a slow model works."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr("time.sleep", self._sleep)

    def _sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def run(fallback, seconds):
    """Feed sound; return the levels that were used, in order, and the pauses between."""
    levels, block = [], noise(FRAME)
    for _ in range(round(100 * seconds)):
        fallback.process(block, 1.0)
        while fallback._trial and fallback._trial.behind_seconds > 1e-6:
            PAUSE.wait(1e-4)  # its thread is a real one
        levels.append(fallback.level)
    changes = np.flatnonzero(np.diff(levels)) + 1
    return levels, [round(at / 100, 2) for at in changes]


@pytest.mark.usefixtures("clock")
def test_it_stays_where_there_is_time_enough():
    fallback = ModelFallback([SlowModel(0.008), SlowModel(0)], RATE)
    levels, _ = run(fallback, 20)
    assert set(levels) == {0}


@pytest.mark.usefixtures("clock")
def test_one_slow_step_is_no_overload():
    model = SlowModel(0)
    fallback = ModelFallback([model, SlowModel(0)], RATE)
    run(fallback, 2)
    model.seconds = 0.3
    run(fallback, 0.01)
    model.seconds = 0
    assert set(run(fallback, 5)[0]) == {0}


@pytest.mark.usefixtures("clock")
def test_it_steps_down_soon_and_up_after_a_trial():
    model = SlowModel(0.012)
    fallback = ModelFallback([model, SlowModel(0)], RATE)
    levels, changes = run(fallback, 2)
    assert levels[-1] == 1
    assert changes[0] <= 0.5
    model.seconds = 0
    levels, changes = run(fallback, 10)
    assert levels[-1] == 0
    assert changes[0] < FIRST_PAUSE + TRIAL_SECONDS + 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_failed_trials_become_rare():
    best = SlowModel(0.0085)  # too slow to be chosen, not too slow to stay
    fallback = ModelFallback([best, SlowModel(0)], RATE)
    best.seconds = 0.012
    run(fallback, 1)
    best.seconds = 0.0085
    pauses = []
    for _ in range(132):
        levels, _ = run(fallback, 1)
        assert set(levels) == {1}
        pauses.append(fallback._pause)
    assert sorted(set(pauses)) == [4, 8, 16, 32, 64]
    assert max(pauses) == MAX_PAUSE


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_a_better_model_that_fails_at_once_is_not_tried_again_soon():
    best = SlowModel(0.012)
    fallback = ModelFallback([best, SlowModel(0)], RATE)
    run(fallback, 1)
    for _ in range(2):
        best.seconds = 0
        while fallback.level:
            run(fallback, 0.1)
        best.seconds = 0.012
        run(fallback, 1)
        assert fallback.level == 1
    assert fallback._pause == 4 * FIRST_PAUSE


@pytest.mark.usefixtures("clock")
def test_the_last_level_is_no_model_at_all():
    fallback = ModelFallback([SlowModel(0.02)], RATE)
    levels, _ = run(fallback, 2)
    assert levels[-1] == 1
    assert fallback.model == ""
    assert fallback.process(noise(FRAME), 1.0) is None


@pytest.mark.usefixtures("clock")
def test_without_real_time_nothing_is_too_slow():
    fallback = ModelFallback([SlowModel(0.05), SlowModel(0)], RATE, realtime=False)
    assert set(run(fallback, 3)[0]) == {0}


@pytest.mark.usefixtures("clock")
def test_a_lighter_model_keeps_everybody():
    voices = VoiceChoice((models.voice(0),))
    fallback = ModelFallback([models.voices_model(), SlowModel(0)], RATE, voices=voices)
    fallback.process(noise(FRAME), 1.0)
    assert fallback.target_probability is not None
    fallback._step_down()
    fallback.process(noise(FRAME), 1.0)
    assert fallback.target_probability is None
    assert not fallback.voice_missing
