"""Small widgets of the tray: the icon of a state, a level meter, a switch."""

from functools import cache
from math import isfinite

from PySide6.QtCore import QLineF, QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QIcon,
    QLinearGradient,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QCheckBox, QProgressBar, QSizePolicy, QStyle, QStyleOptionFocusRect

SIZES = (16, 22, 24, 32, 48, 64, 128)  # pixels; what trays and task bars ask for

# The logo, as in src/sordino/serve/page/mark.svg: a voice, then quiet, on a ground of 32 by 32.
GROUND, VOICE, QUIET = "#191726", "#f67e48", "#fdc470"
_MUTED, _PASSING = "#ff5a52", "#c9c5d3"
_BARS = ((6, 12, 20), (10.5, 8, 24), (15, 13, 19), (19, 15.2, 16.8), (23, 14, 18), (27, 15.2, 16.8))
_VOICE_BARS = 3
_STROKE = 2.6


@cache
def state_icon(state: str) -> QIcon:
    """Return the icon of a state of the session; states differ in shape as well as in colour.

    "active" is the logo, a voice that becomes quiet; "bypassed" has bars of one height, as what
    comes in goes out; "muted" is struck through; "waiting" and "idle" are three dots.
    """
    icon = QIcon()
    for size in SIZES:
        icon.addPixmap(_pixmap(state, size))
    return icon


def _pixmap(state: str, size: int) -> QPixmap:
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(size / 32, size / 32)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(GROUND))
    painter.drawRoundedRect(QRectF(0, 0, 32, 32), 9, 9)
    if state in ("waiting", "idle"):
        painter.setBrush(QColor(QUIET))
        for x in (8.5, 16, 23.5):
            painter.drawEllipse(QPointF(x, 16), 2.6, 2.6)
    else:
        for number, (x, top, bottom) in enumerate(_BARS):
            colour = VOICE if number < _VOICE_BARS else QUIET
            if state != "active":
                colour = _PASSING
            if state == "bypassed":
                top, bottom = 11, 21
            _draw_line(painter, QLineF(x, top, x, bottom), colour, _STROKE)
    if state == "muted":
        _draw_line(painter, QLineF(6, 26, 26, 6), GROUND, 6.5)
        _draw_line(painter, QLineF(6, 26, 26, 6), _MUTED, 3)
    painter.end()
    return pixmap


def _draw_line(painter: QPainter, line: QLineF, colour: str, width: float) -> None:
    cap = Qt.PenCapStyle.RoundCap
    painter.setPen(QPen(QColor(colour), width, Qt.PenStyle.SolidLine, cap))
    painter.drawLine(line)


LOWEST_DB = -60
FALL_DB_PER_SECOND = 30.0  # a peak stays readable, and silence is seen within two seconds

_GREEN, _AMBER, _RED = QColor("#1f9e89"), QColor("#e0a028"), QColor("#d64541")
_METER_SCALE = ((0, _GREEN), (0.7, _GREEN), (0.75, _AMBER), (0.9, _AMBER), (0.95, _RED))


class Meter(QProgressBar):
    """A level in dB re full scale as a bar: it rises at once and falls slowly.

    It is a progress bar to assistive programs, which read its value.

    Args:
        name: accessible name, such as "Microphone level".
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._dbfs = float(LOWEST_DB)
        self.setRange(LOWEST_DB, 0)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_level(float("-inf"), 0)

    @property
    def dbfs(self) -> float:
        """What the bar shows now."""
        return self._dbfs

    def show_level(self, dbfs: float, seconds: float) -> None:
        """Show a level, this many seconds after the last one."""
        level = max(dbfs, LOWEST_DB) if isfinite(dbfs) else LOWEST_DB
        self._dbfs = min(0.0, max(level, self._dbfs - FALL_DB_PER_SECOND * seconds))
        self.setValue(round(self._dbfs))
        self.update()

    def text(self) -> str:
        """Return the value in words, for the eye and for assistive programs."""
        return "silent" if self.value() <= LOWEST_DB else f"{self.value()} dB"

    def sizeHint(self) -> QSize:
        """Return a line of text by the width of a window."""
        return QSize(240, self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar and, to its right, the value."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text_width = self.fontMetrics().horizontalAdvance("-60 dB ") + 8
        bar = QRectF(0, self.height() / 2 - 4, self.width() - text_width, 8)
        groove = QPainterPath()
        groove.addRoundedRect(bar, 4, 4)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        painter.fillPath(groove, faint(ink))
        scale = QLinearGradient(bar.topLeft(), bar.topRight())
        for place, colour in _METER_SCALE:
            scale.setColorAt(place, colour)
        lit = QRectF(bar)
        lit.setWidth(bar.width() * (1 - self._dbfs / LOWEST_DB))
        painter.setClipRect(lit)
        painter.fillPath(groove, scale)
        painter.setClipping(False)
        painter.setPen(ink)
        painter.drawText(
            QRectF(self.width() - text_width, 0, text_width, self.height()),
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
            self.text(),
        )


def faint(ink: QColor) -> QColor:
    """Return a colour of text thinned to what an empty groove should have, light or dark."""
    return QColor(ink.red(), ink.green(), ink.blue(), 45)


class Switch(QCheckBox):
    """A check box in everything but its looks, for the keyboard and assistive programs too."""

    def sizeHint(self) -> QSize:
        """Return the room that the switch and its text take."""
        metrics = self.fontMetrics()
        text = metrics.size(Qt.TextFlag.TextShowMnemonic, self.text())
        height = max(text.height(), 20) + 6
        return QSize(36 + 8 + text.width() + 4, height)

    def hitButton(self, pos: QPoint) -> bool:
        """Let a click anywhere on it count."""
        return self.rect().contains(pos)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw track, knob and text."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        on, ink = self.isChecked(), self.palette().color(QPalette.ColorRole.WindowText)
        track = QRectF(1, self.height() / 2 - 10, 36, 20)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.palette().highlight() if on else faint(ink))
        painter.drawRoundedRect(track, 10, 10)
        painter.setBrush(QColor("white"))
        knob = track.adjusted(2, 2, -2, -2)
        knob.setWidth(knob.height())
        if on:
            knob.moveRight(track.right() - 2)
        painter.drawEllipse(knob)
        painter.setPen(ink)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextShowMnemonic
        painter.drawText(self.rect().adjusted(44, 0, 0, 0), flags, self.text())
        if self.hasFocus():
            option = QStyleOptionFocusRect()
            option.initFrom(self)
            option.rect = self.rect().adjusted(41, 1, 0, -1)
            self.style().drawPrimitive(
                QStyle.PrimitiveElement.PE_FrameFocusRect, option, painter, self
            )
