"""The three ways to show a session: a panel, plain lines, JSON lines."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Self

from rich.console import Console
from rich.live import Live

from sordino.live.panel import device_lines, panel, state_line, summary
from sordino.live.status import Status

JSON_SECONDS = 1.0
QUIET_SECONDS = 10.0  # between two lines that only tell of more underruns
NOTE_SECONDS = 6.0


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
        # After the machine slept, the lines of the lost seconds are not made up for.
        self._due += JSON_SECONDS * (1 + (now - self._due) // JSON_SECONDS)
        print(json.dumps({"time": time.time(), **asdict(status), **self._more}), flush=True)


class LineView(View):
    """Prints a line when something changes, for logs."""

    def __init__(self) -> None:
        self._shown = Status()
        self._when = -QUIET_SECONDS

    def show(self, status: Status) -> None:
        """Print what is new."""
        self.say_devices(status)
        now = time.monotonic()
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
