"""Plays a moment noisy and clean, and switches between the two while it plays."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray
from PySide6.QtCore import QElapsedTimer, QObject, QTimer, Signal

from sordino.errors import SordinoError
from sordino.live.backends.base import DeviceLost, Sink

Version = Literal["noisy", "clean"]
Samples = NDArray[np.float32]

AHEAD_SECONDS = 0.25  # of sound in the ring: a busy window must not be heard
BLEND_SECONDS = 0.01  # from one version to the other, so that there is no click
TICK_MILLISECONDS = 20


class Player(QObject):
    """Plays two versions of one sound, the noisy one and then the clean one.

    Args:
        open_output: opens a loudspeaker for sound of a rate in Hz, as `Backend.open_output` does.
    """

    changed = Signal()
    """What `version` or `share` say has changed, or playing has begun or ended."""

    failed = Signal(str)
    """Playing has ended early; why, in words."""

    def __init__(self, open_output: Callable[[int], Sink]) -> None:
        super().__init__()
        self._open_output = open_output
        self._sink: Sink | None = None
        self._sounds: dict[Version, Samples] = {}
        self._version: Version = "noisy"
        self._before: Version = "noisy"  # the version of the sample before
        self._place = 0
        self._rest = QElapsedTimer()  # runs since the ring is empty after the end
        self._timer = QTimer(self, interval=TICK_MILLISECONDS)
        self._timer.timeout.connect(self._advance)

    @property
    def playing(self) -> bool:
        """Whether there is sound."""
        return self._sink is not None

    @property
    def version(self) -> Version:
        """Which one plays, or played last."""
        return self._version

    @property
    def share(self) -> float:
        """How far into the version that plays, 0..1."""
        return self._place / len(self._sounds[self._version]) if self._sink else 0.0

    def play(self, noisy: Samples, clean: Samples, sample_rate: int) -> None:
        """Play a sound noisy, then clean; both have the shape (samples,) and one length."""
        self.stop()
        try:
            sink = self._open_output(sample_rate)
        except (DeviceLost, SordinoError) as error:
            self.failed.emit(str(error))
            return
        sounds: dict[Version, Samples] = {"noisy": noisy, "clean": clean}
        for version, sound in sounds.items():
            self._sounds[version] = np.clip(
                soxr.resample(sound, sample_rate, sink.sample_rate), -1, 1, dtype=np.float32
            )
        self._sink, self._place = sink, 0
        self._version = self._before = "noisy"
        self._rest.invalidate()
        self._timer.start()
        self._advance()

    def switch(self, version: Version) -> None:
        """Go on with the other version at the same place."""
        self._version = version
        self.changed.emit()

    def stop(self) -> None:
        """Be silent."""
        self._timer.stop()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
            self.changed.emit()

    def _advance(self) -> None:
        sink = self._sink
        if sink is None:
            return
        if not sink.alive:
            self.stop()
            self.failed.emit(f"{sink.name or 'the loudspeaker'} is not there any more")
            return
        lacking = round(AHEAD_SECONDS * sink.sample_rate) - sink.buffer.readable
        block = self._block(max(0, lacking), sink.sample_rate)
        self._place += sink.buffer.write(block)
        if self._version == "clean" and self._place >= len(self._sounds["clean"]):
            self._end(sink)
        self.changed.emit()

    def _block(self, count: int, sample_rate: int) -> Samples:
        """Return the next samples, at most so many; the clean version follows the noisy one."""
        sound = self._sounds[self._version]
        if self._place >= len(sound) and self._version == "noisy":
            self._version = self._before = "clean"
            self._place, sound = 0, self._sounds["clean"]
        block = sound[self._place : self._place + count]
        if self._version != self._before:
            other = self._sounds[self._before][self._place : self._place + count]
            blend = round(BLEND_SECONDS * sample_rate)
            share = np.minimum(np.arange(len(block)) / blend, 1)
            block = np.asarray(other + (block - other) * share, np.float32)
            self._before = self._version
        return block

    def _end(self, sink: Sink) -> None:
        """Let what is on its way to the ear arrive, then stop."""
        if sink.buffer.readable:
            return
        if not self._rest.isValid():
            self._rest.start()
        if self._rest.elapsed() >= 1000 * sink.latency:
            self.stop()
