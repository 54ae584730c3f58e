"""How busy a thread is."""

from collections import deque


class Load:
    """Time of work / time of sound, over the last seconds of sound.

    What is not yet heard of the first window counts as idle, so that one slow step at the
    beginning is no overload.

    Args:
        seconds: length of the window.

    >>> load = Load(1.0)
    >>> load.add(0.5, work=0.2)
    >>> load.share
    0.2
    """

    def __init__(self, seconds: float) -> None:
        self._window = seconds
        self._steps: deque[tuple[float, float]] = deque()
        self._sound = self._work = 0.0

    @property
    def share(self) -> float:
        """From 1 on it cannot keep up."""
        return self._work / max(self._sound, self._window)

    def add(self, sound: float, work: float) -> None:
        """Take the seconds of sound and of work of a step."""
        self._steps.append((sound, work))
        self._sound += sound
        self._work += work
        while self._sound - self._steps[0][0] >= self._window:
            sound, work = self._steps.popleft()
            self._sound -= sound
            self._work -= work
