"""The dialog that has a text read aloud and makes a voice profile of what the session hears."""

from PySide6.QtCore import QElapsedTimer, QTimer
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from sordino.errors import SordinoError
from sordino.live.tray.controller import Controller
from sordino.voice import saved_voices
from sordino.voice.enrolment import SENTENCES

READ_SECONDS = 20
TICK_MILLISECONDS = 100


class EnrolmentDialog(QDialog):
    """Enrols whoever reads the text; accepted when there is a profile, under `name`.

    The sound is that of the microphone of the running session, so nothing else is recorded.

    Args:
        controller: of the session.
        parent: the window.
    """

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller, self._clock = controller, QElapsedTimer()
        self.setWindowTitle("Record my voice")
        text = QLabel(f"Read this aloud, as you would speak in a meeting:\n\n{SENTENCES}")
        text.setWordWrap(True)
        label = QLabel("&Name")
        self.name = QLineEdit(self._free_name())
        label.setBuddy(self.name)
        self.progress = QProgressBar()
        self.progress.setRange(0, READ_SECONDS)
        self.progress.setFormat("%v s")
        self.note = QLabel("The sound is not kept; the profile is a file that only you can read.")
        self.note.setWordWrap(True)
        self.start = QPushButton("&Start")
        self.start.setDefault(True)
        cancel = QPushButton("&Cancel")
        row, buttons, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(label)
        row.addWidget(self.name, 1)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.start)
        column.addWidget(text)
        column.addLayout(row)
        column.addWidget(self.progress)
        column.addWidget(self.note)
        column.addLayout(buttons)
        self._timer = QTimer(self, interval=TICK_MILLISECONDS)
        self._timer.timeout.connect(self._tick)
        self.start.clicked.connect(self._press)
        cancel.clicked.connect(self.reject)
        controller.voice_enrolled.connect(self._enrolled)

    def _press(self) -> None:
        """Begin to listen, or end it before the time is over."""
        if self._timer.isActive():
            self._finish()
            return
        self._clock.start()
        self._timer.start()
        self.note.setText("Listening …")
        self.start.setText("&Done")

    def _tick(self) -> None:
        seconds = self._clock.elapsed() / 1000
        self.progress.setValue(int(seconds))
        if seconds >= READ_SECONDS:
            self._finish()

    def _finish(self) -> None:
        self._timer.stop()
        self.start.setEnabled(False)
        self.note.setText("Making the profile …")
        seconds = self._clock.elapsed() / 1000
        try:
            self._controller.enrol(self.name.text().strip(), seconds)
        except SordinoError as error:
            self._enrolled("", str(error))

    def _enrolled(self, name: str, problem: str) -> None:
        if name:
            self.name.setText(name)
            self.accept()
            return
        self.note.setText(problem)
        self.progress.setValue(0)
        self.start.setText("&Start")
        self.start.setEnabled(True)

    @staticmethod
    def _free_name() -> str:
        """Return "me", or what is free beside it."""
        taken = saved_voices()
        names = ["me", *(f"me {number}" for number in range(2, 100))]
        return next((name for name in names if name not in taken), "")
