"""A widget that shows the last seconds of a sound as a spectrogram."""

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from sordino.live.tray.columns import HOP_SECONDS, ROWS, Levels, row_of

SECONDS = 10
COLUMNS = round(SECONDS / HOP_SECONDS)
DARKEST_DB, BRIGHTEST_DB = -105.0, -35.0
TICKS_HZ = {100: "100", 1000: "1k", 10000: "10k"}

_STOPS = ("#0b0b17", "#241145", "#57157e", "#8c2981", "#c73e6f", "#f1605d", "#fd9668", "#fcfdbf")
_INK = QColor(255, 255, 255, 210)
_FAINT = QColor(255, 255, 255, 36)
_CORNER = 6  # pixels


class Spectrogram(QWidget):
    """Ten seconds of sound, newest at the right; frequency upwards on a logarithmic scale.

    Columns lie in a ring that the image shares with NumPy, so a new one costs only itself.

    Args:
        title: what is shown, such as "Microphone"; also the accessible name.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._pixels = np.full((ROWS, COLUMNS), _TABLE[0], np.uint32)
        self._next = 0  # column to be written
        self._image = QImage(
            self._pixels.data, COLUMNS, ROWS, 4 * COLUMNS, QImage.Format.Format_RGB32
        )
        self.setAccessibleName(f"Spectrogram: {title}")
        self.setAccessibleDescription(f"The last {SECONDS} seconds; louder is brighter")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(72)

    def sizeHint(self) -> QSize:
        """Return the size that one column and one row on a pixel need."""
        return QSize(COLUMNS, ROWS)

    def append(self, levels: Levels) -> None:
        """Show columns as the newest ones; shape = (ROWS, columns), dB."""
        levels = levels[:, -COLUMNS:]
        share = (levels - DARKEST_DB) / (BRIGHTEST_DB - DARKEST_DB)
        colours = _TABLE[(np.clip(share, 0, 1) * 255).astype(np.uint8)]
        places = (self._next + np.arange(levels.shape[1])) % COLUMNS
        self._pixels[:, places] = colours
        self._next = (self._next + levels.shape[1]) % COLUMNS
        self.update()

    def clear(self) -> None:
        """Show silence."""
        self._pixels[:] = _TABLE[0]
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the two halves of the ring, the oldest column first, and the scale over them."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        frame = QPainterPath()
        frame.addRoundedRect(QRectF(self.rect()), _CORNER, _CORNER)
        painter.setClipPath(frame)
        old = COLUMNS - self._next
        seam = self.width() * old / COLUMNS
        height = self.height()
        painter.drawImage(QRectF(0, 0, seam, height), self._image, QRectF(self._next, 0, old, ROWS))
        painter.drawImage(
            QRectF(seam, 0, self.width() - seam, height),
            self._image,
            QRectF(0, 0, self._next, ROWS),
        )
        self._draw_scale(painter)

    def _draw_scale(self, painter: QPainter) -> None:
        font = painter.font()
        font.setPointSizeF(0.8 * font.pointSizeF())
        painter.setFont(font)
        line = painter.fontMetrics().height()
        left, right = 8, self.width() - 8
        for hertz, label in TICKS_HZ.items():
            y = round((row_of(hertz) + 0.5) / ROWS * self.height())
            painter.setPen(_FAINT)
            width = painter.fontMetrics().horizontalAdvance(label)
            painter.drawLine(0, y, right - width - 6, y)
            painter.setPen(_INK)
            place = QRect(right - width, y - line // 2, width, line)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, label)
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(
            QRect(left, 5, right - left, line), Qt.AlignmentFlag.AlignLeft, self._title
        )


def _table() -> NDArray[np.uint32]:
    """Return 256 opaque colours, 0xAARRGGBB, from the darkest to the brightest."""
    stops = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in _STOPS])
    places = np.linspace(0, len(stops) - 1, 256)
    red, green, blue = (
        np.interp(places, np.arange(len(stops)), channel).round().astype(np.uint32)
        for channel in stops.T
    )
    return np.uint32(0xFF000000) | red << 16 | green << 8 | blue


_TABLE = _table()
