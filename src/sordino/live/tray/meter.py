"""A level meter."""

from math import isfinite

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPainterPath, QPaintEvent, QPalette
from PySide6.QtWidgets import QProgressBar, QSizePolicy

LOWEST_DB = -60
FALL_DB_PER_SECOND = 30.0  # a peak stays readable, and silence is seen within two seconds

_GREEN, _AMBER, _RED = QColor("#1f9e89"), QColor("#e0a028"), QColor("#d64541")
_SCALE = ((0, _GREEN), (0.7, _GREEN), (0.75, _AMBER), (0.9, _AMBER), (0.95, _RED))  # place, colour


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
        """Show a level, so many seconds after the one before."""
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
        for place, colour in _SCALE:
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
