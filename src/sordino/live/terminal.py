"""A session in a terminal: shown, controlled by keys, ended by a key or a signal.

There are three views: a panel in a terminal, plain lines elsewhere (for logs), JSON lines for
scripts.
"""

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any, Self

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sordino.errors import SordinoError
from sordino.levels import noise_taken
from sordino.live.backends import choose_backend
from sordino.live.backends.base import DeviceLost, virtual_end
from sordino.live.config import LiveSettings
from sordino.live.keys import Keys
from sordino.live.latency import loop_latency
from sordino.live.monitor import Status
from sordino.live.session import Session

REFRESH_SECONDS = 0.1
SETTLE_SECONDS = 2.0  # of sound, until the session knows how full its buffers have to be
RECORD_SECONDS = 60.0
STRENGTH_STEP = 0.1
JSON_SECONDS = 1.0
QUIET_SECONDS = 10.0  # between two lines that only tell of more underruns
NOTE_SECONDS = 6.0

METER_FLOOR_DB = -70.0  # left end of the meters; a quiet room is at about -60 dBFS
MAX_TAKEN_DB = 40.0  # right end of its bar
LOUD_DB, CLIPPING_DB = -12.0, -1.0
METER_WIDTH = 32
KEYS = {
    "b": "bypass",
    "+ -": "strength",
    "m": "mute",
    "r": "record a minute",
    "q": "quit",
}
_COLOURS = {
    "active": "green",
    "bypassed": "yellow",
    "muted": "red",
    "waiting": "yellow",
    "idle": "cyan",
}


class View(AbstractContextManager["View"]):
    """Shows a session; this one shows nothing."""

    _devices: Sequence[str] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, status: Status) -> None:
        """Take the state of this moment; called several times a second."""

    def say(self, line: str) -> None:
        """Say something that stays."""

    def say_devices(self, status: Status) -> None:
        """Say what the session hears and feeds, when that has changed."""
        devices = device_lines(status)
        if devices != self._devices:
            for line in devices:
                self.say(line)
            self._devices = devices

    def tell(self, line: str) -> None:
        """Say what has just happened."""

    def end(self, status: Status) -> None:
        """Say how it went."""


class JsonView(View):
    """Prints the state as one JSON object a line, once a second.

    Args:
        more: further members of every object.
    """

    def __init__(self, **more: object) -> None:
        self._more = more
        self._due = time.monotonic() + JSON_SECONDS

    def show(self, status: Status) -> None:
        """Print, if a second is over."""
        now = time.monotonic()
        if now < self._due:
            return
        # No lines are printed for seconds in which the machine slept.
        self._due += JSON_SECONDS * (1 + (now - self._due) // JSON_SECONDS)
        print(json.dumps({"time": time.time(), **asdict(status), **self._more}), flush=True)


class LineView(View):
    """Prints a line when something changes, for logs."""

    def __init__(self) -> None:
        self._shown = Status()
        self._notice = ""
        self._when = -QUIET_SECONDS

    def show(self, status: Status) -> None:
        """Print what is new."""
        self.say_devices(status)
        now = time.monotonic()
        if status.notice and status.notice != self._notice:
            print(f"note: {status.notice}", flush=True)
        self._notice = status.notice
        changed = state_line(status) != state_line(self._shown)
        worse = status.underruns > self._shown.underruns and now >= self._when + QUIET_SECONDS
        if changed or worse:
            print(f"{state_line(status)} ({summary(status)})", flush=True)
            self._shown, self._when = status, now

    def say(self, line: str) -> None:
        """Print the line."""
        print(line, flush=True)

    tell = say

    def end(self, status: Status) -> None:
        """Print the summary."""
        print(f"ended after {summary(status)}", flush=True)


class PanelView(View):
    """Keeps a panel up to date at the bottom of a terminal.

    Args:
        keys: whether the keys work, and are to be named.
    """

    def __init__(self, keys: bool) -> None:
        self._keys = keys
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._note, self._note_end = "", 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, status: Status) -> None:
        """Redraw the panel; lines on new devices go above it."""
        self.say_devices(status)
        note = self._note if time.monotonic() < self._note_end else ""
        self._live.update(panel(status, self._keys, note), refresh=True)

    def say(self, line: str) -> None:
        """Print the line above the panel."""
        self._console.print(line, markup=False)

    def tell(self, line: str) -> None:
        """Show the line in the panel for some seconds."""
        self._note, self._note_end = line, time.monotonic() + NOTE_SECONDS

    def end(self, status: Status) -> None:
        """Leave the summary in the panel's place."""
        self._live.stop()
        self._console.print(f"ended after {summary(status)}", markup=False)


def choose_view(as_json: bool, keys: bool, **more: object) -> View:
    """Return the view that standard output is fit for."""
    if as_json:
        return JsonView(**more)
    return PanelView(keys) if sys.stdout.isatty() else LineView()


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
        _bar((taken or 0.0) / MAX_TAKEN_DB, "cyan"),
        noise_taken(taken),
    )
    speech = status.speech_probability
    table.add_row(
        "speech",
        _bar(speech or 0.0, "magenta"),
        "not estimated" if speech is None else f"{100 * speech:.0f} %",
    )
    if status.voice:
        heard = status.voice_probability
        table.add_row(
            "voice",
            _bar(heard or 0.0, "magenta"),
            status.voice if heard is not None else "everybody is kept",
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
    if status.notice:
        lines.append(Text(status.notice, "yellow"))
    if keys:
        lines.append(_keys())
    if note:
        lines.append(Text(note, "cyan"))
    title = [text for text in ("Sordino", status.model, _clock(status.seconds)) if text]
    return Panel(Group(*lines), title=Text(" · ".join(title)), border_style="dim", width=78)


def device_lines(status: Status) -> list[str]:
    """Return what sound goes from where to where; nothing while there is no device."""
    lines: list[str] = []
    if status.input_name:
        several = status.channels > 1
        channel = f", channel {status.channel} of {status.channels}" if several else ""
        lines.append(f"input    {status.input_name}, {status.input_rate} Hz{channel}")
    if status.output_name:
        lines.append(f"output   {status.output_name}, {status.output_rate} Hz")
    return lines


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


class KeyBindings:
    """What the keys do to a session.

    Args:
        session: what they control.
        view: where it says what it did.
        folder: where recordings go.
    """

    def __init__(self, session: Session, view: View, folder: Path) -> None:
        self._session, self._view, self._folder = session, view, folder

    def press(self, key: str) -> bool:
        """Do what a key means; return False if it means to quit."""
        session = self._session
        match key.lower():
            case "q":
                return False
            case "b":
                session.set_bypass(not session.bypassed)
                self._view.tell("the sound passes as it is" if session.bypassed else "cleaning")
            case "m":
                session.set_muted(not session.muted)
                self._view.tell("muted" if session.muted else "no longer muted")
            case "+" | "=":
                self._change_strength(STRENGTH_STEP)
            case "-" | "_":
                self._change_strength(-STRENGTH_STEP)
            case "r":
                self._record()
            case _:
                pass
        return True

    def _record(self) -> None:
        try:
            paths = self._session.record(RECORD_SECONDS, self._folder)
        except SordinoError as error:
            self._view.tell(str(error))
        else:
            files = " and ".join(str(path) for path in paths)
            self._view.tell(f"recording the next minute to {files}")

    def _change_strength(self, step: float) -> None:
        strength = round(self._session.strength + step, 3)
        self._session.set_strength(min(1.0, max(0.0, strength)))


def run_live(settings: LiveSettings, as_json: bool) -> None:
    """Run a session until a key, a signal or its own end stops it.

    Args:
        settings: of the session; recordings on demand go to its folder, or to this one.
        as_json: print JSON lines and nothing else.

    Raises:
        SordinoError: the session cannot begin.
    """
    try:
        with stop_signals() as stopped, ExitStack() as stack:
            backend = choose_backend()
            stack.callback(backend.close)
            session = stack.enter_context(Session(settings, backend))
            loop = _loop_latency(session)
            keys = stack.enter_context(Keys()) if sys.stdout.isatty() and not as_json else None
            view = choose_view(as_json, keys is not None and keys.works, loop_seconds=loop)
            stack.enter_context(view)
            _say_what_to_choose(session, view)
            _show_until_ended(session, view, keys, stopped, loop)
            view.end(session.status())
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # The reader of the output or the terminal is gone: end without an error message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_until_ended(
    session: Session, view: View, keys: Keys | None, stopped: Event, loop: float | None
) -> None:
    """Show the session and do what the keys say until one, a signal or the session ends it."""
    settled = False
    bindings = KeyBindings(session, view, session.settings.record or Path.cwd())
    while not stopped.is_set() and not session.wait(0 if keys else REFRESH_SECONDS):
        status = session.status()
        view.show(status)
        if not settled and status.seconds >= SETTLE_SECONDS:
            settled = True
            view.say(_latency_line(session, status, loop))
        pressed = keys.read(REFRESH_SECONDS) if keys else ""
        if not all([bindings.press(key) for key in pressed]):
            return


def _loop_latency(session: Session) -> float | None:
    """Measure it through the session's virtual device, which is silent meanwhile.

    None where there is no such device, or where a recording would begin with that silence.
    """
    label = session.settings.virtual_label
    if not label or session.settings.record:
        return None
    session.set_muted(True)
    try:
        return loop_latency(session.backend, label, session.settings.sample_rate)
    except DeviceLost:
        return None
    finally:
        session.set_muted(False)


def _say_what_to_choose(session: Session, view: View) -> None:
    """Say what to choose in the meeting program."""
    label, speaker = session.settings.virtual_label, session.settings.speaker
    what, kind = ("loudspeaker", "output") if speaker else ("microphone", "input")
    with suppress(DeviceLost):
        device = virtual_end(session.backend, kind, label) if label else None
        if device:
            view.say(f"In your meeting program, choose the {what} {device.label!r}.")


def _latency_line(session: Session, status: Status, loop: float | None) -> str:
    algorithm = session.algorithm_latency
    parts = {"by the algorithm": algorithm, "in buffers": status.latency_seconds - algorithm}
    line = ", ".join(f"{1000 * seconds:.0f} ms {where}" for where, seconds in parts.items())
    line = f"latency  {1000 * status.latency_seconds:.0f} ms: {line}"
    return line if loop is None else f"{line} (clicks go out and in again in {1000 * loop:.0f} ms)"


@contextmanager
def stop_signals() -> Generator[Event]:
    """Let Ctrl-C, SIGTERM and a closed terminal set an event instead.

    A second Ctrl-C interrupts at once, in case that the end takes long.
    """
    stopped = Event()

    def stop(number: int, _: FrameType | None) -> None:
        stopped.set()
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # `nohup` does that
            before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
