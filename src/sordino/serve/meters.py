"""What a live stream's statistics say: levels and the time that blocks took."""

from math import log10

import numpy as np
from numpy.typing import NDArray

SILENCE_DBFS = -100.0


class Level:
    """Level of the sound since the last reading."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._count = 0

    def add(self, sound: NDArray[np.float32]) -> None:
        """Take sound in."""
        flat = sound.reshape(-1)
        self._energy += float(np.dot(flat, flat))
        self._count += flat.size

    def read(self) -> float | None:
        """Return the level in dB re full scale and begin anew; None if there was no sound."""
        energy, count = self._energy, self._count
        self._energy, self._count = 0.0, 0
        if not count:
            return None
        power = max(energy / count, 10 ** (SILENCE_DBFS / 10))
        return round(10 * log10(power), 1)


class Times:
    """How long blocks took since the last reading."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        """Take the time of a block in."""
        self._seconds.append(seconds)

    def read(self) -> tuple[float | None, float | None]:
        """Return median and 99th percentile in ms and begin anew; None if there was no block."""
        times, self._seconds = sorted(self._seconds), []
        if not times:
            return None, None
        p50, p99 = times[len(times) // 2], times[min(len(times) - 1, int(0.99 * len(times)))]
        return round(1000 * p50, 2), round(1000 * p99, 2)
