"""Terminal views: the panel shows the whole status; lines for logs, JSON for scripts."""

import json
from dataclasses import asdict, replace
from io import StringIO

import pytest
from rich.console import Console

from sordino.live import terminal
from sordino.live.monitor import Status
from sordino.live.terminal import METER_WIDTH, device_lines, panel, state_line, summary

STATUS = Status(
    state="active",
    input_dbfs=-20.0,
    output_dbfs=-35.0,
    taken_db=18.24,
    speech_probability=0.93,
    cpu_share=0.12,
    underruns=2,
    model="default",
    strength=0.8,
    latency_seconds=0.041,
    input_name="Built-in Audio",
    output_name="Sordino Microphone",
    input_rate=44100,
    output_rate=48000,
    seconds=3725.4,
    drift_ppm=-12.0,
)


def lines(status, width=100, **options):
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(panel(status, **{"keys": True, **options}))
    return console.file.getvalue().splitlines()


def row(status, name):
    [line] = [line for line in lines(status) if line.startswith(f"│ {name} ")]
    return line


def filled(line):
    return line.count("█")


def test_all_figures_are_there():
    text = "\n".join(lines(STATUS))
    for part in (
        *("Sordino · default · 1:02:05", "active", "-20 dBFS", "-35 dBFS", "18.2 dB", "93 %"),
        *("12 % of one core", "strength 80 % · latency 41 ms · underruns 2 · drift -12 ppm"),
        *("b bypass", "+ - strength", "m mute", "r record a minute", "q quit"),
    ):
        assert part in text


def test_keys_are_named_only_where_they_work():
    assert not any("bypass" in line for line in lines(STATUS, keys=False))


def test_meters_grow_with_the_level():
    levels = [-100.0, -70.0, -60.0, -40.0, -20.0, -3.0, 0.0, 6.0]
    lengths = [filled(row(replace(STATUS, input_dbfs=level), "input")) for level in levels]
    assert lengths == sorted(lengths)
    assert lengths[0] == lengths[1] == 0
    assert lengths[-2] == lengths[-1] == METER_WIDTH
    assert lengths[levels.index(-20.0)] == pytest.approx(METER_WIDTH * 50 / 70, abs=1)


def test_bars_stay_inside_whatever_the_figures():
    status = replace(STATUS, cpu_share=7.0, taken_db=99.0, output_dbfs=-float("inf"))
    assert filled(row(status, "CPU")) == filled(row(status, "noise taken")) == METER_WIDTH
    assert filled(row(status, "output")) == 0
    assert {len(line) for line in lines(status)} == {78}
    assert filled(row(replace(STATUS, taken_db=-3.0), "noise taken")) == 0


def test_what_is_not_known_is_said():
    text = "\n".join(lines(Status()))
    assert "nothing heard yet" in text
    assert "not estimated" in text
    assert text.count("silence") == 2


def test_why_is_shown_in_full_even_where_it_is_narrow():
    reason = "the processor is too busy for the model; it will be tried again in 10 s"
    shown = lines(replace(STATUS, state="bypassed", reason=reason), width=44)
    assert all(len(line) <= 44 for line in shown)
    words = " ".join(" ".join(line.strip("│ ").split()) for line in shown)
    assert f"bypassed: {reason}" in words


def test_a_name_is_no_markup():
    assert any("[red]mic[/red]" in line for line in lines(STATUS, note="[red]mic[/red]"))


def test_lines():
    assert device_lines(STATUS) == [
        "input    Built-in Audio, 44100 Hz",
        "output   Sordino Microphone, 48000 Hz",
    ]
    assert device_lines(Status()) == []
    assert state_line(STATUS) == "active"
    assert state_line(replace(STATUS, state="waiting", reason="no microphone")) == (
        "waiting: no microphone"
    )
    assert summary(STATUS) == "1:02:05 of sound, 2 underruns"
    assert summary(Status(seconds=61, underruns=1)) == "1:01 of sound, 1 underrun"


ACTIVE = Status(state="active", input_name="Mic", input_rate=44100, seconds=1.0, taken_db=12.5)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test advances."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(terminal.time, "monotonic", lambda: Clock.now)
    return Clock


def test_one_json_line_a_second(clock, capsys):
    view = terminal.JsonView(loop_seconds=0.025)
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
    view = terminal.JsonView()
    for clock.now in (1001.0, 1061.0, 1061.1, 1061.2, 1062.0):
        view.show(ACTIVE)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_line_when_something_changes(clock, capsys):
    view = terminal.LineView()
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
    view = terminal.LineView()
    for step in range(300):  # 30 s, an underrun every 0.1 s
        clock.now = 1000 + 0.1 * step
        view.show(replace(ACTIVE, underruns=step))
    lines = [line for line in capsys.readouterr().out.splitlines() if "underrun" in line]
    assert [int(line.split()[-2]) for line in lines] == pytest.approx([0, 100, 200], abs=1)


def test_the_panel_tells_whose_voice_is_kept_and_whether_it_is_heard():
    status = replace(STATUS, voice="me and anna", voice_probability=1.0)
    assert "me and anna" in row(status, "voice")
    assert filled(row(status, "voice")) == METER_WIDTH
    assert "everybody is kept" in row(replace(status, voice_probability=None), "voice")
    assert not [line for line in lines(STATUS) if line.startswith("│ voice ")]
