"""Base class of ports without a device: a thread moves the sound, paced by a clock."""

import threading
import time
from abc import ABC, abstractmethod

from sordino.live.backends.base import RING_SECONDS
from sordino.live.channels import ChannelPicker
from sordino.live.ring_buffer import RingBuffer


class ThreadPort(ABC):
    """A port that moves its sound in a thread of its own.

    Args:
        name: see `Port`.
        sample_rate: in Hz.
        speed: 1.0 is real time, 1.0002 a clock that is 200 ppm fast; None: as fast as possible.
    """

    latency = 0.0

    def __init__(self, name: str, sample_rate: int, speed: float | None) -> None:
        self.name, self.sample_rate, self.clocked = name, sample_rate, speed is not None
        self.picker = ChannelPicker(1, sample_rate)
        self.buffer = RingBuffer(round(RING_SECONDS * sample_rate))
        self._stopping = threading.Event()
        self._speed, self._begun = speed, 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """See `Port`."""
        return self._thread.is_alive()

    def open(self) -> None:
        """See `Port`."""
        if not self._thread.ident:
            self._begun = time.perf_counter()
            self._thread.start()

    def close(self) -> None:
        """See `Port`."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()

    def _wait_until(self, samples: int) -> None:
        """Wait until so many samples have gone by on this clock, or the port is closed."""
        if self._speed:
            due = self._begun + samples / self.sample_rate / self._speed
            self._stopping.wait(max(0.0, due - time.perf_counter()))

    @abstractmethod
    def _run(self) -> None:
        """Move sound until the port is closed, or there is no more."""
