"""What a running session shows: a panel in a terminal, lines elsewhere."""

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sordino.live.status import Status

METER_FLOOR_DB = -70.0  # left end of the meters; a quiet room is at about -60 dBFS
MOST_TAKEN_DB = 40.0  # right end of its bar
LOUD_DB, CLIPPING_DB = -12.0, -1.0
METER_WIDTH = 32
KEYS = {
    "b": "bypass",
    "+ -": "strength",
    "m": "mute",
    "r": "record a minute",
    "q": "quit",
}
_COLOURS = {"active": "green", "bypassed": "yellow", "muted": "red", "waiting": "yellow"}


def panel(status: Status, keys: bool, note: str = "") -> RenderableType:
    """Draw the state of a session.

    Args:
        status: what is shown.
        keys: whether to name the keys.
        note: one line below, what the last key did.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True, min_width=11)
    table.add_column(no_wrap=True, width=METER_WIDTH)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row("input", _level(status.input_dbfs), _decibels(status.input_dbfs))
    table.add_row("output", _level(status.output_dbfs), _decibels(status.output_dbfs))
    taken = status.taken_db
    table.add_row(
        "noise taken",
        _bar((taken or 0.0) / MOST_TAKEN_DB, "cyan"),
        "nothing heard yet" if taken is None else f"{taken:.1f} dB",
    )
    speech = status.speech_probability
    table.add_row(
        "speech",
        _bar(speech or 0.0, "magenta"),
        "not estimated" if speech is None else f"{100 * speech:.0f} %",
    )
    busy = status.cpu_share
    colour = "green" if busy < 0.5 else "yellow" if busy < 0.9 else "red"
    table.add_row("CPU", _bar(busy, colour), f"{100 * busy:.0f} % of one core")
    facts = [
        f"strength {100 * status.strength:.0f} %",
        f"latency {1000 * status.latency_seconds:.0f} ms",
        f"underruns {status.underruns}",
        f"drift {status.drift_ppm:+.0f} ppm",
    ]
    state = Text(state_line(status), f"bold {_COLOURS[status.state]}")
    lines: list[RenderableType] = [state, "", table, "", Text(" · ".join(facts))]
    if keys:
        lines.append(_keys())
    if note:
        lines.append(Text(note, "cyan"))
    title = [text for text in ("Sordino", status.model, _clock(status.seconds)) if text]
    return Panel(Group(*lines), title=Text(" · ".join(title)), border_style="dim", width=78)


def device_lines(status: Status) -> list[str]:
    """Return what sound goes from where to where; nothing while there is no device."""
    ports = {
        "input": (status.input_name, status.input_rate),
        "output": (status.output_name, status.output_rate),
    }
    return [f"{what:8} {name}, {rate} Hz" for what, (name, rate) in ports.items() if name]


def state_line(status: Status) -> str:
    """Return the state and why it is so, in plain text."""
    return f"{status.state}: {status.reason}" if status.reason else status.state


def summary(status: Status) -> str:
    """Say in one line how the session went."""
    underruns = "1 underrun" if status.underruns == 1 else f"{status.underruns} underruns"
    return f"{_clock(status.seconds)} of sound, {underruns}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _level(dbfs: float) -> RenderableType:
    colour = "red" if dbfs >= CLIPPING_DB else "yellow" if dbfs >= LOUD_DB else "green"
    return _bar(1 - dbfs / METER_FLOOR_DB, colour)


def _decibels(dbfs: float) -> str:
    return f"{dbfs:.0f} dBFS" if dbfs > METER_FLOOR_DB else "silence"


def _bar(share: float, colour: str) -> RenderableType:
    return Bar(1.0, 0.0, max(0.0, share), width=METER_WIDTH, color=colour, bgcolor="grey23")


def _keys() -> Text:
    text = Text()
    for key, meaning in KEYS.items():
        text.append(key, "bold").append(f" {meaning}  ", "dim")
    return text
