"""The window: what the session does, what the user may change, and both spectrograms."""

from pathlib import Path

from PySide6.QtCore import QElapsedTimer, Qt, QUrl
from PySide6.QtGui import QColor, QDesktopServices, QFont, QKeySequence, QPalette, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from sordino.errors import SordinoError
from sordino.levels import noise_taken
from sordino.live.monitor import Status
from sordino.live.tray.controller import RECORD_SECONDS, Controller
from sordino.live.tray.enrolment import EnrolmentDialog
from sordino.live.tray.player import ComparisonBar, Player
from sordino.live.tray.preferences import Autostart
from sordino.live.tray.widgets import (
    SPECTROGRAM_SECONDS,
    VOICE,
    ColumnFeed,
    Meter,
    SpectrogramView,
    Switch,
    state_icon,
)
from sordino.model import available_models
from sordino.voice import saved_voices

WIDTH, HEIGHT = 580, 720  # pixels, as are the following
ICON_PIXELS = 40
MARGIN, GAP = 18, 10
DEFAULT_INPUT = "The system's default"
EVERYBODY = "Everybody"
RECORD_VOICE = ""  # no profile has this name
LIMITS_DB = (6, 9, 12, 18, 24, 30)

_STATES = {
    "active": "the noise is taken out",
    "bypassed": "the sound passes as it is",
    "muted": "nothing passes",
    "idle": "no program is using it",
    "waiting": "waiting",
}
_WIDEST = Status(
    taken_db=98.9,  # 99 and more is "all of it"
    speech_probability=1,
    latency_seconds=0.1,
    cpu_share=1,
    underruns=99,
    model="default-voice",
)


class Window(QWidget):
    """All about one session.

    Args:
        controller: of the session.
        autostart: whether the tray starts at login.
    """

    def __init__(self, controller: Controller, autostart: Autostart) -> None:
        super().__init__()
        self._controller, self._autostart = controller, autostart
        self._clock = QElapsedTimer()
        self._feed = ColumnFeed(SPECTROGRAM_SECONDS)
        self._changes: int | None = None  # of devices, as listed in the choice of inputs
        self._recording_until: float | None = None  # in seconds of the session
        self._folder: Path | None = None  # of recordings
        self.player = Player(controller.open_loudspeaker)

        self.setWindowTitle("Sordino")
        self.resize(WIDTH, HEIGHT)
        self._icon, self.state = QLabel(), QLabel()
        self._title = QLabel()
        self.switch = Switch("Take the &noise out")
        self.mute = Switch("&Mute")
        self.input, self.model, self.limit = QComboBox(), QComboBox(), QComboBox()
        self.voice = QComboBox()
        self.input_meter = Meter("Level of the noisy sound")
        self.output_meter = Meter("Level of the clean sound")
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(0, 100)
        self.strength_text = QLabel()
        self.facts = QLabel()
        self.noisy = SpectrogramView("Microphone")
        self.clean = SpectrogramView("Cleaned")
        self.comparison = ComparisonBar(self.player, controller.session.recent)
        self.record = QPushButton("&Record a minute")
        self.open_folder = QPushButton("Open &folder")
        self.open_folder.hide()
        self.autostart = Switch("Start at lo&gin")
        self._use_palette()
        self._lay_out()
        self._fill()
        self._connect()

    def _use_palette(self) -> None:
        """Have what is on in the colour of the logo; all else as the desktop has it."""
        palette = QPalette()
        palette.setColor(QPalette.ColorRole.Highlight, QColor(VOICE))
        palette.setColor(QPalette.ColorRole.HighlightedText, QColor("#191726"))
        self.setPalette(palette)

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
        self.strength.setAccessibleName("Strength: share of the noise that is removed")
        self.limit.setToolTip("No sound gets quieter by more than this")
        self.voice.setToolTip("Whose voice is kept; other voices go with the noise")
        names = {
            self.input: "Microphone",
            self.voice: "Voice",
            self.model: "Model",
            self.limit: "Attenuation limit",
        }
        for box, name in names.items():
            box.setAccessibleName(name)
            box.setSizeAdjustPolicy(
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
            ("&Voice", self.voice),
            ("M&odel", self.model),
            ("&Strength", self.strength),
            ("At mos&t", self.limit),
            ("Before", self.input_meter),
            ("After", self.output_meter),
        )
        for row, (text, widget) in enumerate(rows):
            label = QLabel(text)
            label.setBuddy(widget)
            grid.addWidget(label, row, 0)
            grid.addWidget(widget, row, 1, 1, 1 if widget is self.strength else 2)
        grid.addWidget(self.strength_text, 3, 2, Qt.AlignmentFlag.AlignRight)

        foot = QHBoxLayout()
        foot.addWidget(self.record)
        foot.addWidget(self.open_folder)
        foot.addStretch(1)
        foot.addWidget(self.autostart)
        column = QVBoxLayout(self)
        column.setSpacing(GAP)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.addLayout(head)
        column.addSpacing(GAP // 2)
        column.addLayout(grid)
        column.addWidget(self.facts)
        column.addWidget(self.noisy, 1)
        column.addWidget(self.clean, 1)
        column.addWidget(self.comparison)
        column.addLayout(foot)

    def _fill(self) -> None:
        session = self._controller.session
        self.switch.setChecked(self._controller.cleaning)
        self.mute.setChecked(self._controller.muted)
        self.strength.setValue(round(100 * session.strength))
        self._show_strength()
        for name in available_models():
            self.model.addItem(name, name)
        chosen = str(session.settings.model)
        if self.model.findData(chosen) < 0:
            self.model.addItem(Path(chosen).name, chosen)
        self.model.setCurrentIndex(self.model.findData(chosen))
        self._list_voices()
        self.limit.addItem("no limit", None)
        limit = session.attenuation_limit_db
        for decibels in sorted({*map(float, LIMITS_DB), *([] if limit is None else [limit])}):
            self.limit.addItem(f"{decibels:g} dB quieter", decibels)
            if decibels == limit:
                self.limit.setCurrentIndex(self.limit.count() - 1)
        self.autostart.setChecked(self._autostart.enabled)

    def _connect(self) -> None:
        controller = self._controller
        self.switch.toggled.connect(controller.set_cleaning)
        controller.cleaning_changed.connect(self.switch.setChecked)
        self.mute.toggled.connect(controller.set_muted)
        controller.muted_changed.connect(self.mute.setChecked)
        self.strength.valueChanged.connect(self._set_strength)
        self.input.activated.connect(self._choose_input)
        self.model.activated.connect(self._choose_model)
        self.voice.activated.connect(self._choose_voice)
        self.limit.activated.connect(self._choose_limit)
        self.record.clicked.connect(self._record)
        self.open_folder.clicked.connect(self._open_folder)
        self.autostart.toggled.connect(self._set_autostart)
        QShortcut(QKeySequence(Qt.Key.Key_Escape), self, self.close)

    def refresh(self) -> None:
        """Show what has happened since the last call; to be called while the window is seen."""
        seconds = self._clock.restart() / 1000 if self._clock.isValid() else 0.0
        self._clock.start()
        status = self._controller.status()
        self._icon.setPixmap(state_icon(status.state).pixmap(ICON_PIXELS, ICON_PIXELS))
        self.state.setText(_capitalised(state_words(status)))
        self.input_meter.show_level(status.input_dbfs, seconds)
        self.output_meter.show_level(status.output_dbfs, seconds)
        self.facts.setText(facts(status))
        self._list_inputs()
        self._show_recording(status.seconds)
        noisy, clean = self._feed.advance(self._controller.session)
        self.noisy.append(noisy)
        self.clean.append(clean)

    def _set_strength(self, percent: int) -> None:
        self._controller.set_strength(percent / 100)
        self._show_strength()

    def _show_strength(self) -> None:
        self.strength_text.setText(f"{self.strength.value()} %")

    def _choose_input(self, index: int) -> None:
        self._controller.set_input(self.input.itemData(index))

    def _choose_limit(self, index: int) -> None:
        self._controller.set_attenuation_limit(self.limit.itemData(index))

    def _choose_model(self, index: int) -> None:
        try:
            self._controller.set_model(self.model.itemData(index))
        except SordinoError as error:
            self.comparison.show_note(str(error))
            self.model.setCurrentIndex(self.model.findText(self._controller.session.model))

    def _choose_voice(self, index: int) -> None:
        chosen = self.voice.itemData(index)
        if chosen == RECORD_VOICE:
            dialog = EnrolmentDialog(self._controller, self)
            dialog.accepted.connect(lambda: self._use_voice(dialog.name.text()))
            dialog.finished.connect(self._list_voices)
            dialog.open()
        else:
            self._use_voice(chosen)

    def _use_voice(self, name: str | None) -> None:
        try:
            self._controller.set_voice(name)
        except SordinoError as error:
            self.comparison.show_note(str(error))
        self._list_voices()

    def _list_voices(self) -> None:
        """Name the profiles, and choose the one in use."""
        used = " and ".join(each.name for each in self._controller.session.voices)
        self.voice.clear()
        self.voice.addItem(EVERYBODY, None)
        for name in sorted({*saved_voices(), *([used] if used else [])}):
            self.voice.addItem(f"{name} only", name)
        self.voice.addItem("Record my voice …", RECORD_VOICE)
        self.voice.setCurrentIndex(max(0, self.voice.findData(used)) if used else 0)

    def _list_inputs(self) -> None:
        """Name the microphones, if they have changed."""
        changes = self._controller.backend.changes()
        if changes == self._changes:
            return
        self._changes = changes
        self._title.setText(self._controller.virtual_name())
        chosen = self._controller.session.input
        self.input.clear()
        self.input.addItem(DEFAULT_INPUT, None)
        for device in self._controller.inputs():
            self.input.addItem(device.label, device.name)
            if chosen in (device.name, device.label):
                self.input.setCurrentIndex(self.input.count() - 1)
        if chosen is not None and not self.input.currentIndex():
            self.input.addItem(f"{chosen} (not there now)", chosen)
            self.input.setCurrentIndex(self.input.count() - 1)

    def _record(self) -> None:
        try:
            self._folder = self._controller.record()
        except SordinoError as error:
            self.comparison.show_note(str(error))
            return
        self._recording_until = self._controller.status().seconds + RECORD_SECONDS
        self.record.setEnabled(False)
        self.open_folder.hide()
        self._show_recording(self._controller.status().seconds)

    def _show_recording(self, seconds: float) -> None:
        """Count down while it is recorded; then offer the folder."""
        if self._recording_until is None:
            return
        left = self._recording_until - seconds
        if left > 0:
            self.record.setText(f"Recording: {left:.0f} s")
            return
        self._recording_until = None
        self.record.setText("&Record a minute")
        self.record.setEnabled(True)
        self.open_folder.setToolTip(str(self._folder))
        self.open_folder.show()

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))

    def _set_autostart(self, enabled: bool) -> None:
        try:
            self._autostart.set_enabled(enabled)
        except SordinoError as error:
            self.comparison.show_note(str(error))
            self.autostart.setChecked(not enabled)


def state_words(status: Status) -> str:
    """Say what happens to the sound, and why if that is not the usual."""
    words = _STATES[status.state]
    words = f"{words}: {status.reason}" if status.reason else words
    return f"{words}; {status.notice}" if status.notice else words


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def facts(status: Status) -> str:
    """Return the figures of a session in one line."""
    taken, speech = status.taken_db, status.speech_probability
    parts = [
        f"noise taken {noise_taken(taken)}" if taken is not None else "",
        f"speech {100 * speech:.0f} %" if speech is not None else "",
        f"latency {1000 * status.latency_seconds:.0f} ms",
        f"CPU {100 * status.cpu_share:.0f} %",
        f"underruns {status.underruns}",
        f"model {status.model}" if status.model else "",
    ]
    return "   ".join(part for part in parts if part)
