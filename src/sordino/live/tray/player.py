"""The A/B comparison: plays the last seconds noisy and clean, and switches between the two."""

# No types: soxr.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import threading
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import soxr
from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.live.backends.base import DeviceLost, Sink, raise_priority
from sordino.live.monitor import Recent

Version = Literal["noisy", "clean"]

COMPARE_SECONDS = 10
AHEAD_SECONDS = 0.25  # of sound in the buffer
BLEND_SECONDS = 0.01  # from one version to the other, so that there is no click
TICK_MILLISECONDS = 20
SHORTEST_SECONDS = 0.5  # less than this is nothing to compare

_VERSIONS: dict[Version, str] = {"noisy": "&A  noisy", "clean": "&B  clean"}


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
        self._sounds: dict[Version, Mono] = {}
        self._version: Version = "noisy"
        self._before: Version = "noisy"  # the version of the sample before
        self._place = 0
        self._rest = QElapsedTimer()  # runs since the buffer is empty after the end
        self._timer = QTimer(self, interval=TICK_MILLISECONDS)
        self._timer.timeout.connect(self._check)
        self._stopping = threading.Event()
        self._feeder: threading.Thread | None = None

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

    def play(self, noisy: Mono, clean: Mono, sample_rate: int) -> None:
        """Play a sound noisy, then clean; both have the shape (samples,) and one length."""
        self.stop()
        try:
            sink = self._open_output(sample_rate)
        except (DeviceLost, SordinoError) as error:
            self.failed.emit(str(error))
            return
        sounds: dict[Version, Mono] = {"noisy": noisy, "clean": clean}
        for version, sound in sounds.items():
            self._sounds[version] = np.clip(
                soxr.resample(sound, sample_rate, sink.sample_rate), -1, 1, dtype=np.float32
            )
        self._sink, self._place = sink, 0
        self._version = self._before = "noisy"
        self._rest.invalidate()
        self._stopping.clear()
        self._feeder = threading.Thread(target=self._feed, args=(sink,), daemon=True)
        self._feeder.start()
        self._timer.start()
        self.changed.emit()

    def switch(self, version: Version) -> None:
        """Go on with the other version at the same place."""
        if not self._at_end():  # what is still to be heard then is in the buffer
            self._version = version
        self.changed.emit()

    def stop(self) -> None:
        """Be silent."""
        self._timer.stop()
        self._stopping.set()
        if self._feeder is not None:
            self._feeder.join()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
            self.changed.emit()

    def _feed(self, sink: Sink) -> None:
        """Keep the buffer filled, in a thread of its own: a busy window must not be heard."""
        raise_priority()
        ahead = round(AHEAD_SECONDS * sink.sample_rate)
        while True:
            missing = max(0, ahead - sink.buffer.readable)
            block = self._block(missing, sink.sample_rate)
            self._place += sink.buffer.write(block)
            if self._at_end() or self._stopping.wait(TICK_MILLISECONDS / 1000):
                return

    def _at_end(self) -> bool:
        return self._version == "clean" and self._place >= len(self._sounds["clean"])

    def _check(self) -> None:
        sink = self._sink
        if sink is None:
            return
        if not sink.alive:
            self.stop()
            self.failed.emit(f"{sink.name or 'the loudspeaker'} is not there any more")
            return
        if self._at_end():
            self._end(sink)
        self.changed.emit()

    def _block(self, count: int, sample_rate: int) -> Mono:
        """Return the next samples, up to `count`; the clean version follows the noisy one."""
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


class ComparisonBar(QWidget):
    """Buttons that play the last seconds, noisy (A) and then clean (B).

    While they play, A and B go on with the other one at the same place.

    Args:
        player: what plays.
        recent: returns this many last seconds: noisy, clean, sampling rate in Hz.
    """

    def __init__(self, player: Player, recent: Callable[[float], Recent]) -> None:
        super().__init__()
        self._player, self._recent = player, recent
        self.play_button = QPushButton()
        self.play_button.setAccessibleName("Listen to the last ten seconds, noisy and clean")
        self.versions: dict[Version, QPushButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.play_button)
        for version, label in _VERSIONS.items():
            button = self.versions[version] = QPushButton(label)
            button.setCheckable(True)
            button.setAccessibleName(f"Listen to the {version} sound")
            button.clicked.connect(partial(self._switch, version))
            row.addWidget(button)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setMaximum(1000)
        self.progress.setAccessibleName("Place in the ten seconds")
        self.progress.setFixedHeight(6)
        row.addWidget(self.progress, 1, Qt.AlignmentFlag.AlignVCenter)
        self.note = QLabel()
        row.addWidget(self.note, 1)
        self.play_button.clicked.connect(self._play_or_stop)
        player.changed.connect(self._show)
        player.failed.connect(self.show_note)
        self._show()

    def _play_or_stop(self) -> None:
        if self._player.playing:
            self._player.stop()
            return
        noisy, clean, rate = self._recent(COMPARE_SECONDS)
        if len(noisy) < SHORTEST_SECONDS * rate:
            self.show_note("there is no sound yet")
            return
        self._player.play(noisy, clean, rate)

    def _switch(self, version: Version, _checked: bool) -> None:
        self._player.switch(version)

    def _show(self) -> None:
        playing = self._player.playing
        self.play_button.setText("Stop &listening" if playing else "&Listen to the last 10 s")
        for version, button in self.versions.items():
            button.setEnabled(playing)
            button.setChecked(playing and version == self._player.version)
        self.progress.setVisible(playing)
        self.progress.setValue(round(1000 * self._player.share))
        self.note.setVisible(not playing)
        if playing:
            self.note.clear()

    def show_note(self, text: str) -> None:
        """Say something beside the buttons."""
        self.note.setText(text)
        self.note.setToolTip(text)
