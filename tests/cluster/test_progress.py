"""What a run shows: throughput, what is left, and what it costs."""

import pytest

from sordino.cluster import progress
from sordino.cluster.ledger import Result
from sordino.cluster.plan import Work
from sordino.cluster.progress import ClusterDisplay


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is set."""
    time = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: time[0])
    return time


def test_throughput_time_left_and_costs_are_those_of_the_work_done(clock, capsys):
    works = [Work(f"{n}.wav", f"out/{n}.wav", size=1000) for n in range(4)]
    display = ClusterDisplay(works, price=0.5)
    tally = display.tally
    tally.begin = 0.0
    for seconds in (1800.0, 3600.0):  # two workers, for an hour
        clock[0] = seconds
        display.tick(2)
    display.ended(works[0], Result(works[0].id, seconds=7200.0))
    assert tally.throughput == pytest.approx(2)  # audio hours an hour
    assert tally.left == pytest.approx(3 * 3600)  # three quarters of the bytes
    assert tally.costs() == "cost 1.00 of about 4.00"
    display.failed("b.wav: it is damaged", 3)
    tally.failed += 1
    clock[0] = 3700.0
    display.tick(2)
    said = capsys.readouterr().err
    assert "b.wav: it is damaged (tried 3 times)" in said
    assert "2/4 files, 2.0 h of sound, 2 audio h/h, 2 workers, 1 failed" in said
    display.summary("out/.sordino", has_ended=False)
    said = capsys.readouterr().err
    assert "2 not done (the same command goes on with the rest)" in said


def test_no_price_no_costs(clock):
    display = ClusterDisplay([Work("a.wav", "out/a.wav")])
    assert display.tally.costs() == ""
    assert display.tally.left is None
