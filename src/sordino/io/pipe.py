"""Standard input, read so that the wait for it can be ended."""

import os
import select
import sys
from threading import Event

PATIENCE_SECONDS = 0.2


class StandardInput:
    """Standard input as a binary file that is at its end as soon as `stop` is set.

    A plain read would hold up Ctrl-C until the other side of the pipe says something.
    """

    name = "standard input"

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._file = sys.stdin.fileno()

    def seekable(self) -> bool:
        """Tell that there is no way back."""
        return False

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, or none at the end."""
        if os.name != "nt":  # Windows can wait for sockets only
            while not select.select([self._file], [], [], PATIENCE_SECONDS)[0]:
                if self._stop.is_set():
                    return b""
        return os.read(self._file, size)
