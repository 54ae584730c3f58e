"""A session in the foreground: shown, steered by keys, ended by a key or a signal."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.live.keys import Keys
from sordino.live.latency import loop_latency, virtual_end
from sordino.live.ports import DeviceLost
from sordino.live.session import Session
from sordino.live.settings import Settings
from sordino.live.status import Status
from sordino.live.systems import LOUDSPEAKER, MICROPHONE, System, choose_system
from sordino.live.views import View, choose_view

REFRESH_SECONDS = 0.1
SETTLE_SECONDS = 2.0  # of sound, until the session knows how full its buffers have to be
RECORD_SECONDS = 60.0
STRENGTH_STEP = 0.1


class Steering:
    """What the keys do to a session.

    Args:
        session: what is steered.
        view: where it says what it did.
        folder: where recordings go.
    """

    def __init__(self, session: Session, view: View, folder: Path) -> None:
        self._session, self._view, self._folder = session, view, folder
        self._bypassed = self._muted = False

    def press(self, key: str) -> bool:
        """Do what a key means; return False if it means to quit."""
        match key.lower():
            case "q":
                return False
            case "b":
                self._bypassed = not self._bypassed
                self._session.set_bypass(self._bypassed)
                self._view.tell("the sound passes as it is" if self._bypassed else "cleaning")
            case "m":
                self._muted = not self._muted
                self._session.set_muted(self._muted)
                self._view.tell("muted" if self._muted else "no longer muted")
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
        strength = round(self._session.status().strength + step, 3)
        self._session.set_strength(min(1.0, max(0.0, strength)))


def run_live(settings: Settings, as_json: bool) -> None:
    """Run a session until a key, a signal or its own end stops it.

    Args:
        settings: of the session; recordings on demand go to its folder, or to this one.
        as_json: print JSON lines and nothing else.

    Raises:
        SordinoError: the session cannot begin.
    """
    try:
        with asked_to_end() as asked, ExitStack() as stack:
            system = choose_system()
            stack.callback(system.close)
            session = stack.enter_context(Session(settings, system))
            loop = _loop_latency(session, system, settings)
            keys = stack.enter_context(Keys()) if sys.stdout.isatty() and not as_json else None
            view = choose_view(as_json, keys is not None and keys.works, loop_seconds=loop)
            stack.enter_context(view)
            for line in _hints(system, settings):
                view.say(line)
            _watch(session, view, keys, settings, asked, loop)
            view.end(session.status())
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # Who read the output has gone, or the terminal: the session ends, without complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _watch(
    session: Session,
    view: View,
    keys: Keys | None,
    settings: Settings,
    asked: Event,
    loop: float | None,
) -> None:
    """Show the session and do what the keys say until one, a signal or the session ends it."""
    told = False
    steering = Steering(session, view, settings.record or Path.cwd())
    while not asked.is_set() and not session.wait(0 if keys else REFRESH_SECONDS):
        status = session.status()
        view.show(status)
        if not told and status.seconds >= SETTLE_SECONDS:
            told = True
            view.say(_latency_line(settings, status, loop))
        pressed = keys.read(REFRESH_SECONDS) if keys else ""
        if not all([steering.press(key) for key in pressed]):
            return


def _loop_latency(session: Session, system: System, settings: Settings) -> float | None:
    """Measure it through the session's virtual device, which is silent meanwhile.

    None where there is no such device, or where a recording would begin with that silence.
    """
    if not _has_virtual_device(settings) or settings.record:
        return None
    session.set_muted(True)
    try:
        label = LOUDSPEAKER if settings.speaker else MICROPHONE
        return loop_latency(system, label, settings.sample_rate)
    except DeviceLost:
        return None
    finally:
        session.set_muted(False)


def _hints(system: System, settings: Settings) -> Iterator[str]:
    """Say what to choose in the meeting program."""
    what, kind, label = "microphone", "input", MICROPHONE
    if settings.speaker:
        what, kind, label = "loudspeaker", "output", LOUDSPEAKER
    with suppress(DeviceLost):
        device = virtual_end(system, kind, label) if _has_virtual_device(settings) else None
        if device:
            yield f"In your meeting program, choose the {what} {device.label!r}."


def _has_virtual_device(settings: Settings) -> bool:
    return settings.speaker or (settings.virtual_mic and settings.output is None)


def _latency_line(settings: Settings, status: Status, loop: float | None) -> str:
    algorithm = Denoiser(settings.load_model(), settings.sample_rate).latency
    parts = {"by the algorithm": algorithm, "in buffers": status.latency_seconds - algorithm}
    line = ", ".join(f"{1000 * seconds:.0f} ms {where}" for where, seconds in parts.items())
    line = f"latency  {1000 * status.latency_seconds:.0f} ms: {line}"
    return line if loop is None else f"{line} (clicks go out and in again in {1000 * loop:.0f} ms)"


@contextmanager
def asked_to_end() -> Iterator[Event]:
    """Let Ctrl-C, SIGTERM and a closed terminal set an event, instead of what else they do.

    A second Ctrl-C interrupts at once, in case that the end takes long.
    """
    asked = Event()

    def ask(number: int, _: FrameType | None) -> None:
        asked.set()
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # `nohup` asks for that
            before[number] = signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
