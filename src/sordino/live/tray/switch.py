"""A check box that looks like a switch."""

from PySide6.QtCore import QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QCheckBox, QStyle, QStyleOptionFocusRect

from sordino.live.tray.meter import faint


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
