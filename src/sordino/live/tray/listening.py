"""The A/B comparison: what was heard in the last ten seconds, and what was made of it."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from sordino.live.tray.player import Player, Version

SECONDS = 10
SHORTEST_SECONDS = 0.5  # less than this is nothing to compare

_VERSIONS: dict[Version, str] = {"noisy": "&A  noisy", "clean": "&B  clean"}

Recent = Callable[[float], tuple[NDArray[np.float32], NDArray[np.float32], int]]


class Listening(QWidget):
    """Buttons that play the last seconds, noisy (A) and then clean (B).

    While they play, A and B go on with the other one at the same place.

    Args:
        player: what plays.
        recent: returns so many last seconds: noisy, clean, sampling rate in Hz.
    """

    def __init__(self, player: Player, recent: Recent) -> None:
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
        player.failed.connect(self._explain)
        self._show()

    def _play_or_stop(self) -> None:
        if self._player.playing:
            self._player.stop()
            return
        noisy, clean, rate = self._recent(SECONDS)
        if len(noisy) < SHORTEST_SECONDS * rate:
            self._explain("there is no sound yet")
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

    def _explain(self, reason: str) -> None:
        self.note.setText(reason)
        self.note.setToolTip(reason)
