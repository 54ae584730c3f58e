"""The last seconds of a session as spectrograms: columns of the sound, and their widget."""

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from sordino.arrays import Mono
from sordino.live.session import Session

LOWEST_HZ, HIGHEST_HZ = 60.0, 16000.0
ROWS = 144  # eighteen to an octave
HOP_SECONDS = 0.02
WINDOW_SECONDS = 0.0427  # 2048 samples at 48 kHz

Levels = NDArray[np.float32]
"""dB; the mean power of the bins in a row, of which a sine at full scale has 0 in its own.
Shape = (ROWS, columns), the highest frequency first."""


class Columns:
    """Turns samples into columns of levels; holds no sound.

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

    FLOOR_DB = -140.0

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(HOP_SECONDS * sample_rate)
        self.window = round(WINDOW_SECONDS * sample_rate)
        window = np.hanning(self.window + 1)[:-1]
        self._window = (window * 2 / window.sum()).astype(np.float32)
        bins = self.window // 2 + 1
        hertz = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** np.linspace(0, 1, ROWS + 1)
        edges = np.minimum(hertz * self.window / sample_rate + 0.5, bins)  # of rows, in bins
        # Mean power between two edges, from the running sum over the bins.  Below about 600 Hz
        # rows are narrower than bins, and several show the same one.
        running = np.zeros((bins + 1, ROWS + 1))
        below = np.minimum(edges.astype(int), bins - 1)
        np.add.at(running, (below, np.arange(ROWS + 1)), 1 - (edges - below))
        np.add.at(running, (below + 1, np.arange(ROWS + 1)), edges - below)
        sums = np.triu(np.ones((bins, bins + 1)), 1) @ running  # shape = (bins, ROWS + 1)
        width = np.maximum(np.diff(edges), 1e-6)  # none above half the sampling rate
        self._rows = np.ascontiguousarray((np.diff(sums, axis=1) / width).T[::-1], np.float32)

    def count(self, samples: int) -> int:
        """Return how many columns so many samples make."""
        return max(0, 1 + (samples - self.window) // self.hop)

    def of(self, samples: Mono) -> Levels:
        """Return the columns of the sound, one every 20 ms, the last one at its end.

        Args:
            samples: shape = (samples,), full scale is 1.
        """
        count = self.count(len(samples))
        if not count:
            return np.zeros((ROWS, 0), np.float32)
        start = len(samples) - self.window - (count - 1) * self.hop
        frames = np.lib.stride_tricks.sliding_window_view(samples[start:], self.window)
        spectra = np.fft.rfft(frames[:: self.hop] * self._window)
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        floor = np.float32(10 ** (self.FLOOR_DB / 10))
        return 10 * np.log10(np.maximum(self._rows @ power.T, floor))


def row_of(hertz: float) -> int:
    """Return the row, counted from the top, in which a frequency in Hz lies."""
    height = np.log(hertz / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ)
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
        self._done = min(self._done, now)  # a new session begins at nought
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


SECONDS = 10
COLUMNS = round(SECONDS / HOP_SECONDS)
DARKEST_DB, BRIGHTEST_DB = -105.0, -35.0
TICKS_HZ = {100: "100", 1000: "1k", 10000: "10k"}

# The dark palette of the live page (web/page/src/colours.ts).
_STOPS = ("#0d0e18", "#1d1842", "#4f1f6f", "#8e2c76", "#ce4660", "#f67e48", "#fdc470", "#fff6d6")
_INK = QColor(255, 255, 255, 210)
_FAINT = QColor(255, 255, 255, 36)
_CORNER = 6  # pixels


class SpectrogramView(QWidget):
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
