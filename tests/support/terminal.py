"""A real terminal for a program under test, seen from its other side."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from fcntl import ioctl

TIMEOUT = 120.0  # seconds to wait for a condition; the machine may be busy

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs a program in a terminal of 100 x 40 characters, as its foreground job."""

    def __init__(self, command, **options):
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.mode_before = self.mode()
        self.process = subprocess.Popen(
            command,
            preexec_fn=lambda: os.login_tty(theirs),
            env={**os.environ, "TERM": "xterm-256color"},
            **options,
        )
        os.close(theirs)
        self._output, self._open = b"", True
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()

    def hang_up(self):
        """Close the terminal's window; does nothing the second time."""
        if self._open:
            self._open = False
            self._reader.join()
            os.close(self._ours)

    @property
    def output(self):
        """All that was printed, without colours and movements of the cursor."""
        return _CONTROL.sub("", self._output.decode("utf-8", "replace"))

    def mode(self):
        """Return the terminal's settings."""
        return termios.tcgetattr(self._ours)

    def expect(self, text, after=0):
        """Wait until a text appears behind a position; return the position behind it."""

        def found():
            return text in self.output[after:]

        with self._changed:
            seen = self._changed.wait_for(found, TIMEOUT)
        assert seen, f"{text!r} was not printed: {self.output[after:]}"
        return after + self.output[after:].index(text) + len(text)

    def set_mode(self, mode):
        termios.tcsetattr(self._ours, termios.TCSANOW, mode)

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def send(self, number):
        os.kill(self.process.pid, number)

    def end(self, number=signal.SIGTERM):
        """Send a signal, and return the exit code."""
        self.send(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(TIMEOUT)
        if self._open:
            self._drain()
        return code

    def _read(self):
        while self._open and self._drain():
            pass

    def _drain(self):
        """Take what was printed; return False if there will be no more."""
        with self._reading:
            while select.select([self._ours], [], [], 0.05)[0]:
                try:
                    block = os.read(self._ours, 4096)
                except OSError:  # the program has ended
                    return False
                with self._changed:
                    self._output += block
                    self._changed.notify_all()
        return True
