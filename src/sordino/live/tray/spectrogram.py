"""The last seconds of a session as spectrograms: columns of the sound, and their widget."""

import numpy as np
from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from sordino.arrays import Mono
from sordino.live.session import Session
from sordino.spectrogram import PALETTE, Levels, image, mel, mel_levels

HIGHEST_HZ = 16000.0
ROWS = 144
HOP_SECONDS = 0.02
WINDOW_SECONDS = 0.0427  # 2048 samples at 48 kHz
FLOOR_DB = -140.0

SECONDS = 10
COLUMNS = round(SECONDS / HOP_SECONDS)
DARKEST_DB, BRIGHTEST_DB = -105.0, -35.0
TICKS_HZ = {250: "250", 1000: "1k", 4000: "4k", 12000: "12k"}

_INK = QColor(255, 255, 255, 210)
_FAINT = QColor(255, 255, 255, 36)
_CORNER = 6  # pixels


class Columns:
    """Turns samples into columns of levels on the mel scale; holds no sound.

    Args:
        sample_rate: in Hz.  Rows above half of it stay at the floor.

    >>> columns = Columns(48000)
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000).astype(np.float32)
    >>> levels = columns.of(tone)
    >>> levels.shape == (ROWS, columns.count(48000))
    True
    >>> abs(int(levels[:, 9].argmax()) - row_of(1000)) <= 1
    True
    """

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(HOP_SECONDS * sample_rate)
        self.window = round(WINDOW_SECONDS * sample_rate)
        window = np.hanning(self.window + 1)[:-1]
        self._window = (window * 2 / window.sum()).astype(np.float32)
        self._bins = round(HIGHEST_HZ * self.window / sample_rate) + 1

    def count(self, samples: int) -> int:
        """Return the number of columns for a number of samples."""
        return max(0, 1 + (samples - self.window) // self.hop)

    def of(self, samples: Mono) -> Levels:
        """Return the columns of the sound, one every 20 ms, the last one at its end.

        Args:
            samples: full scale is 1.

        Returns:
            Shape = (ROWS, columns), dB, the highest frequency first; a sine at full scale has 0.
        """
        count = self.count(len(samples))
        if not count:
            return np.zeros((ROWS, 0), np.float32)
        start = len(samples) - self.window - (count - 1) * self.hop
        frames = np.lib.stride_tricks.sliding_window_view(samples[start:], self.window)
        spectra = np.fft.rfft(frames[:: self.hop] * self._window).T[: self._bins]
        power = np.zeros((self._bins, count), np.float32)
        power[: len(spectra)] = spectra.real**2 + spectra.imag**2
        return mel_levels(power, 2 * HIGHEST_HZ, ROWS)[::-1]


def row_of(frequency: float) -> int:
    """Return the row, counted from the top, in which a frequency in Hz lies."""
    height = float(mel(frequency)) / float(mel(HIGHEST_HZ))
    return int(np.clip(ROWS - 1 - int(height * ROWS), 0, ROWS - 1))


class ColumnFeed:
    """Makes each moment of a session into columns once, however irregularly it is called.

    Args:
        max_seconds: of sound to catch up with after a long time without a call.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._columns: Columns | None = None
        self._rate = 0
        self._done = 0  # samples since the session's start, up to the newest column

    def advance(self, session: Session) -> tuple[Levels, Levels]:
        """Return what is new since the last call: columns of the noisy and of the clean sound."""
        _, _, rate = session.recent(0)
        if self._columns is None or rate != self._rate:
            self._columns, self._rate, self._done = Columns(rate), rate, 0
        hop, window = self._columns.hop, self._columns.window
        now = round(session.status().seconds * rate)
        self._done = min(self._done, now)  # a new session begins at 0
        count = min((now - self._done) // hop, round(self._max_seconds * rate) // hop)
        if not count:
            nothing = np.zeros((ROWS, 0), np.float32)
            return nothing, nothing
        self._done = now - (now - self._done) % hop
        since = now - self._done  # samples that wait for the next column
        length = window + (count - 1) * hop + since
        noisy, clean, _ = session.recent(length / rate)
        noisy, clean = _last(noisy, length, since), _last(clean, length, since)
        return self._columns.of(noisy), self._columns.of(clean)


def _last(sound: Mono, length: int, since: int) -> Mono:
    """Return the last samples without the very last; before the beginning there is silence."""
    missing = max(0, length - len(sound))
    return np.pad(sound, (missing, 0))[-length : -since or None]


class SpectrogramView(QWidget):
    """Ten seconds of sound, newest at the right; frequency upwards on the mel scale.

    Columns lie in a ring that the image shares with NumPy, so a new one costs only itself.

    Args:
        title: what is shown, such as "Microphone"; also the accessible name.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._pixels = np.tile(PALETTE[0], (ROWS, COLUMNS, 1))
        self._next = 0  # column to be written
        self._image = QImage(
            self._pixels.data, COLUMNS, ROWS, 3 * COLUMNS, QImage.Format.Format_RGB888
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
        count = levels.shape[1]
        places = np.arange(self._next, self._next + count, dtype=np.int64) % COLUMNS
        self._pixels[:, places] = image(levels, DARKEST_DB, BRIGHTEST_DB)
        self._next = (self._next + count) % COLUMNS
        self.update()

    def clear(self) -> None:
        """Show silence."""
        self._pixels[:] = PALETTE[0]
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
