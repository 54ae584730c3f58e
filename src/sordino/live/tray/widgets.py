"""Widgets of the tray: the icon of a state, a level meter, a switch, a running spectrogram."""

from functools import cache
from math import isfinite

import numpy as np
from PySide6.QtCore import QLineF, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QIcon,
    QImage,
    QLinearGradient,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import (
    QCheckBox,
    QProgressBar,
    QSizePolicy,
    QStyle,
    QStyleOptionFocusRect,
    QWidget,
)

from sordino.arrays import Mono
from sordino.live.session import Session
from sordino.spectrogram import PALETTE, Levels, image, mel, mel_levels

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


HIGHEST_HZ = 16000.0
ROWS = 144
HOP_SECONDS = 0.02
WINDOW_SECONDS = 0.0427  # 2048 samples at 48 kHz
FLOOR_DB = -140.0

SPECTROGRAM_SECONDS = 10
COLUMNS = round(SPECTROGRAM_SECONDS / HOP_SECONDS)
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
        self.setAccessibleDescription(f"The last {SPECTROGRAM_SECONDS} seconds; louder is brighter")
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
