"""Columns of both spectrograms as a session goes on."""

import numpy as np
from numpy.typing import NDArray

from sordino.live.session import Session
from sordino.live.tray.columns import ROWS, Columns, Levels


class Follower:
    """Makes each moment of a session into columns once, however irregularly it is asked.

    Args:
        most_seconds: of sound to catch up with, when it was not asked for long.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most = most_seconds
        self._columns: Columns | None = None
        self._rate = 0
        self._done = 0  # samples since the session's start, up to the newest column

    def advance(self, session: Session) -> tuple[Levels, Levels]:
        """Return what is new since the last call: columns of the noisy and of the clean sound."""
        _, _, rate = session.recent(0)
        if self._columns is None or rate != self._rate:
            self._columns, self._rate, self._done = Columns(rate), rate, 0
        hop, window = self._columns.hop, self._columns.window
        now = round(session.status().seconds * rate)
        self._done = min(self._done, now)  # a new session begins at nought
        count = min((now - self._done) // hop, round(self._most * rate) // hop)
        if not count:
            nothing = np.zeros((ROWS, 0), np.float32)
            return nothing, nothing
        self._done = now - (now - self._done) % hop
        since = now - self._done  # samples that wait for the next column
        length = window + (count - 1) * hop + since
        noisy, clean, _ = session.recent(length / rate)
        noisy, clean = _last(noisy, length, since), _last(clean, length, since)
        return self._columns.of(noisy), self._columns.of(clean)


def _last(sound: NDArray[np.float32], length: int, since: int) -> NDArray[np.float32]:
    """Return the last samples without the very last; before the beginning there is silence."""
    missing = max(0, length - len(sound))
    return np.pad(sound, (missing, 0))[-length : -since or None]
