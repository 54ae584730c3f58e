"""Keys of a terminal, each at once and without Enter."""

import os
import re
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Self

MOST_BYTES = 64

_ESCAPE_SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)  # ECMA-48


class Keys:
    """Reads keys while the program stands in the foreground of a terminal.

    Ctrl-C goes on to interrupt.  When the block ends, however it ends, the terminal has the mode
    it had before; after Ctrl-Z and `fg` the keys work again.  Where standard input is no terminal,
    or belongs to another program (`sordino live &`), there are no keys and `read` just waits.

    Use it in the main thread: it listens to a signal.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._mode: Any = None
        self._resumed: Any = None

    @property
    def works(self) -> bool:
        """Whether keys can be read."""
        return self._descriptor is not None

    def __enter__(self) -> Self:
        if sys.platform == "win32":
            self._descriptor = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None
            return self
        import termios

        with suppress(AttributeError, ValueError, OSError, termios.error):  # no or closed stdin
            descriptor = sys.stdin.fileno()
            if os.isatty(descriptor) and _is_foreground(descriptor):
                self._mode = termios.tcgetattr(descriptor)
                self._descriptor = descriptor
                self._resumed = signal.signal(signal.SIGCONT, self._on_resume)
                self._set_mode()
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or sys.platform == "win32":
            return
        import termios

        signal.signal(signal.SIGCONT, self._resumed)
        # A program in the background is stopped when it sets the mode, unless it ignores this.
        stopped = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, self._mode)
        signal.signal(signal.SIGTTOU, stopped)

    def read(self, seconds: float) -> str:
        """Wait for keys, at most this many seconds, and return those pressed; "" if there are none.

        Arrows, function keys and the like are left out.
        """
        if sys.platform == "win32":
            return self._read_console(seconds)
        if self._descriptor is None or not _is_foreground(self._descriptor):
            time.sleep(seconds)
            return ""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return ""
        try:
            pressed = os.read(self._descriptor, MOST_BYTES)
        except OSError:
            pressed = b""
        if not pressed:  # the terminal is gone: waiting for it would not wait
            self._descriptor = None
        return _ESCAPE_SEQUENCE.sub(b"", pressed).decode("utf-8", "ignore")

    def _on_resume(self, *_: object) -> None:
        self._set_mode()

    def _set_mode(self) -> None:
        """Keys at once and not echoed; all else stays as the user has it."""
        import termios
        import tty

        if self._descriptor is not None and _is_foreground(self._descriptor):
            with suppress(termios.error):
                tty.setcbreak(self._descriptor, termios.TCSANOW)

    def _read_console(self, seconds: float) -> str:
        if sys.platform == "win32":
            import msvcrt

            deadline = time.monotonic() + seconds
            while self._descriptor is not None and not msvcrt.kbhit():
                if time.monotonic() >= deadline:
                    return ""
                time.sleep(0.02)
            if self._descriptor is not None:
                key = msvcrt.getwch()
                if key not in ("\x00", "\xe0"):
                    return key
                msvcrt.getwch()  # second half of an arrow or a function key
                return ""
            time.sleep(seconds)
        return ""


def _is_foreground(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
