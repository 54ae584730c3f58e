"""The window: what the session does, what the user may change, and both spectrograms."""

from PySide6.QtCore import QElapsedTimer, Qt
from PySide6.QtGui import QFont, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from sordino.live.session import Status
from sordino.live.tray.desk import Desk
from sordino.live.tray.follower import Follower
from sordino.live.tray.icon import state_icon
from sordino.live.tray.listening import Listening
from sordino.live.tray.meter import Meter
from sordino.live.tray.player import Player
from sordino.live.tray.spectrogram import SECONDS, Spectrogram
from sordino.live.tray.switch import Switch

WIDTH, HEIGHT = 580, 640  # pixels, as are the following
ICON_PIXELS = 40
DEFAULT_INPUT = "The system's default"
MARGIN, GAP = 18, 10

_STATES = {
    "active": "the noise is taken out",
    "bypassed": "the sound passes as it is",
    "muted": "nothing passes",
    "waiting": "waiting",
}


_WIDEST = Status(
    taken_db=99,
    speech_probability=1,
    latency_seconds=0.1,
    cpu_share=1,
    underruns=99,
    model="default",
)


class Window(QWidget):
    """All about one session.

    Args:
        desk: the session.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._clock = QElapsedTimer()
        self._follower = Follower(SECONDS)
        self._changes: int | None = None  # of devices, as listed in the choice of inputs
        self.player = Player(desk.open_loudspeaker)

        self.setWindowTitle("Sordino")
        self.resize(WIDTH, HEIGHT)
        self._icon, self.state = QLabel(), QLabel()
        self._title = QLabel()
        self.switch = Switch("Take the &noise out")
        self.mute = Switch("&Mute")
        self.input = QComboBox()
        self.input_meter = Meter("Level of the noisy sound")
        self.output_meter = Meter("Level of the clean sound")
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(0, 100)
        self.strength_text = QLabel()
        self.facts = QLabel()
        self.noisy = Spectrogram("Microphone")
        self.clean = Spectrogram("Cleaned")
        self.listening = Listening(self.player, lambda s: desk.session.recent(s))
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        bold = QFont(self.font())
        bold.setBold(True)
        bold.setPointSizeF(1.25 * bold.pointSizeF())
        self._title.setFont(bold)
        self._title.setToolTip("Choose this microphone in your meeting program")
        self.state.setWordWrap(True)
        # As wide as it may become, so that the window does not change with every figure.
        self.facts.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.facts.setMinimumWidth(self.fontMetrics().horizontalAdvance(facts(_WIDEST)))
        self.strength.setAccessibleName("Strength: share of the noise that is taken away")
        self.input.setAccessibleName("Microphone")
        self.input.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._title)
        words.addWidget(self.state)
        switches = QVBoxLayout()
        switches.setSpacing(2)
        switches.addWidget(self.switch)
        switches.addWidget(self.mute)
        head = QHBoxLayout()
        head.setSpacing(14)
        head.addWidget(self._icon)
        head.addLayout(words, 1)
        head.addLayout(switches)

        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(GAP)
        grid.setColumnStretch(1, 1)
        rows = (
            ("M&icrophone", self.input),
            ("&Strength", self.strength),
            ("Before", self.input_meter),
            ("After", self.output_meter),
        )
        for row, (text, widget) in enumerate(rows):
            label = QLabel(text)
            label.setBuddy(widget)
            grid.addWidget(label, row, 0)
            grid.addWidget(widget, row, 1, 1, 1 if widget is self.strength else 2)
        grid.addWidget(self.strength_text, 1, 2, Qt.AlignmentFlag.AlignRight)

        column = QVBoxLayout(self)
        column.setSpacing(GAP)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.addLayout(head)
        column.addSpacing(GAP // 2)
        column.addLayout(grid)
        column.addWidget(self.facts)
        column.addWidget(self.noisy, 1)
        column.addWidget(self.clean, 1)
        column.addWidget(self.listening)

    def _connect(self) -> None:
        desk = self._desk
        self.switch.setChecked(desk.cleaning)
        self.switch.toggled.connect(desk.set_cleaning)
        desk.cleaning_changed.connect(self.switch.setChecked)
        self.mute.setChecked(desk.muted)
        self.mute.toggled.connect(desk.set_muted)
        desk.muted_changed.connect(self.mute.setChecked)
        self.strength.setValue(round(100 * desk.status().strength))
        self._say_strength()
        self.strength.valueChanged.connect(self._set_strength)
        self.input.activated.connect(self._choose_input)
        QShortcut(QKeySequence(Qt.Key.Key_Escape), self, self.close)

    def refresh(self) -> None:
        """Show what has happened since the last call; to be called while the window is seen."""
        seconds = self._clock.restart() / 1000 if self._clock.isValid() else 0.0
        self._clock.start()
        status = self._desk.status()
        self._icon.setPixmap(state_icon(status.state).pixmap(ICON_PIXELS, ICON_PIXELS))
        self.state.setText(_capitalised(state_words(status)))
        self.input_meter.show_level(status.input_dbfs, seconds)
        self.output_meter.show_level(status.output_dbfs, seconds)
        self.facts.setText(facts(status))
        self._list_inputs()
        noisy, clean = self._follower.advance(self._desk.session)
        self.noisy.append(noisy)
        self.clean.append(clean)

    def _set_strength(self, percent: int) -> None:
        self._desk.session.set_strength(percent / 100)
        self._say_strength()

    def _say_strength(self) -> None:
        self.strength_text.setText(f"{self.strength.value()} %")

    def _list_inputs(self) -> None:
        """Name the microphones, if they have changed."""
        changes = self._desk.backend.changes()
        if changes == self._changes:
            return
        self._changes = changes
        self._title.setText(self._desk.virtual_name())
        chosen = self._desk.session.input
        self.input.clear()
        self.input.addItem(DEFAULT_INPUT, None)
        for device in self._desk.inputs():
            self.input.addItem(device.label, device.name)
            if chosen in (device.name, device.label):
                self.input.setCurrentIndex(self.input.count() - 1)
        if chosen is not None and not self.input.currentIndex():
            self.input.addItem(f"{chosen} (not there now)", chosen)
            self.input.setCurrentIndex(self.input.count() - 1)

    def _choose_input(self, index: int) -> None:
        self._desk.session.set_input(self.input.itemData(index))
        self._changes = None  # a chosen microphone that is away leaves the list with the choice


def state_words(status: Status) -> str:
    """Say what happens to the sound, and why if that is not the usual."""
    words = _STATES[status.state]
    return f"{words}: {status.reason}" if status.reason else words


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def facts(status: Status) -> str:
    """Return the figures of a session in one line."""
    taken, speech = status.taken_db, status.speech_probability
    parts = [
        f"noise −{taken:.0f} dB" if taken is not None else "",
        f"speech {100 * speech:.0f} %" if speech is not None else "",
        f"latency {1000 * status.latency_seconds:.0f} ms",
        f"CPU {100 * status.cpu_share:.0f} %",
        f"underruns {status.underruns}",
        f"model {status.model}" if status.model else "",
    ]
    return "   ".join(part for part in parts if part)
