"""Levels, the noise that is taken, and the last seconds."""

import numpy as np
import pytest
from hypothesis import given

from sordino.live import monitor
from sordino.live.monitor import KEPT_SECONDS, SILENCE_DBFS, Monitor
from support.signals import block_sizes, cut, level_db, noise

RATE = 8000


def test_levels_are_those_of_the_last_tenth():
    watching, sound = Monitor(RATE), noise(RATE)
    watching.feed(sound, 0.1 * sound)
    assert watching.input_dbfs == pytest.approx(level_db(sound[-RATE // 10 :]), abs=0.01)
    assert watching.output_dbfs == pytest.approx(watching.input_dbfs - 20, abs=0.01)
    for _ in range(100):
        watching.feed(np.zeros(80, np.float32), np.zeros(80, np.float32))
    assert (watching.input_dbfs, watching.output_dbfs) == (SILENCE_DBFS, SILENCE_DBFS)


def test_the_noise_taken_is_that_of_the_last_seconds(monkeypatch):
    monkeypatch.setattr(monitor, "TAKEN_SECONDS", 2.0)
    watching = Monitor(RATE)
    assert watching.taken_db is None
    for gain, taken in ((0.1, 20), (0.5, 6)):
        for part in cut(noise(5 * RATE), [80]):
            watching.feed(part, np.float32(gain) * part)
        assert watching.taken_db == pytest.approx(taken, abs=0.1)


@pytest.mark.slow
@given(sizes=block_sizes(3000))
def test_the_last_seconds_at_any_block_size(sizes):
    watching, sound = Monitor(100), noise(round(2.2 * KEPT_SECONDS * 100))
    for part in cut(sound, sizes):
        watching.feed(part, -part)
    for seconds in (0, 0.01, 7, KEPT_SECONDS):
        noisy, clean = watching.recent(seconds)
        wanted = sound[len(sound) - round(seconds * 100) :]
        assert np.array_equal(noisy, wanted)
        assert np.array_equal(clean, -wanted)


def test_no_more_than_there_is():
    watching = Monitor(RATE)
    assert len(watching.recent(10)[0]) == 0
    watching.feed(noise(80), noise(80))
    assert len(watching.recent(10)[0]) == 80
    watching.feed(noise(40 * RATE), noise(40 * RATE))
    assert len(watching.recent(1000)[0]) == KEPT_SECONDS * RATE
