"""Lines for logs, JSON for scripts."""

import json
from dataclasses import asdict, replace

import pytest

from sordino.live import views
from sordino.live.session import Status

ACTIVE = Status(state="active", input_name="Mic", input_rate=44100, seconds=1.0, taken_db=12.5)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a test says so."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(views.time, "monotonic", lambda: Clock.now)
    return Clock


def test_one_json_line_a_second(clock, capsys):
    view = views.JsonView(loop_seconds=0.025)
    for step in range(101):  # 10 s
        clock.now = 1000 + 0.1 * step
        view.show(replace(ACTIVE, seconds=0.1 * step))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["seconds"] for line in lines] == pytest.approx([*range(1, 11)], abs=0.11)
    assert set(lines[0]) == {"time", "loop_seconds", *asdict(ACTIVE)}
    assert (lines[0]["state"], lines[0]["taken_db"], lines[0]["loop_seconds"]) == (
        *("active", 12.5, 0.025),
    )


def test_after_a_pause_no_json_lines_are_made_up_for(clock, capsys):
    view = views.JsonView()
    for clock.now in (1001.0, 1061.0, 1061.1, 1061.2, 1062.0):
        view.show(ACTIVE)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_line_when_something_changes(clock, capsys):
    view = views.LineView()
    view.show(Status(state="waiting", reason="there is no microphone"))
    for seconds in (1.0, 1.1, 1.2):
        view.show(replace(ACTIVE, seconds=seconds, input_dbfs=-seconds))
    view.show(replace(ACTIVE, state="muted", seconds=62.0))
    view.show(replace(ACTIVE, state="muted", seconds=63.0, input_name="Other"))
    view.tell("recording")
    view.end(replace(ACTIVE, seconds=64.0, underruns=1))
    assert capsys.readouterr().out.splitlines() == [
        "waiting: there is no microphone (0:00 of sound, 0 underruns)",
        "input    Mic, 44100 Hz",
        "active (0:01 of sound, 0 underruns)",
        "muted (1:02 of sound, 0 underruns)",
        "input    Other, 44100 Hz",
        "recording",
        "ended after 1:04 of sound, 1 underrun",
    ]


def test_underruns_are_told_but_not_each(clock, capsys):
    view = views.LineView()
    for step in range(300):  # 30 s, an underrun every 0.1 s
        clock.now = 1000 + 0.1 * step
        view.show(replace(ACTIVE, underruns=step))
    lines = [line for line in capsys.readouterr().out.splitlines() if "underrun" in line]
    assert [int(line.split()[-2]) for line in lines] == pytest.approx([0, 100, 200], abs=1)
