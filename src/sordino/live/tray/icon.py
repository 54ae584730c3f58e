"""Icons that tell the states apart by shape as well as by colour."""

from functools import cache

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

SIZES = (16, 22, 24, 32, 48, 64, 128)  # pixels; what trays and task bars ask for

_COLOURS = {"active": "#14847a", "bypassed": "#6b7280", "muted": "#b93a35", "waiting": "#b7791f"}
_HEIGHTS = (0.22, 0.46, 0.62, 0.36, 0.18)  # of the bars: a word on a level meter


@cache
def state_icon(state: str) -> QIcon:
    """Return the icon of a state of the session.

    Bars are speech: filled when it is cleaned ("active"), outlined when it passes as it is
    ("bypassed"), struck through when nothing passes ("muted"); three dots are "waiting".
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
    painter.scale(size, size)  # from here on the icon is 1 by 1
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(_COLOURS[state]))
    painter.drawRoundedRect(QRectF(0.02, 0.02, 0.96, 0.96), 0.22, 0.22)
    white = QColor("white")
    painter.setBrush(white)
    if state == "waiting":
        for x in (0.27, 0.5, 0.73):
            painter.drawEllipse(QPointF(x, 0.5), 0.085, 0.085)
        painter.end()
        return pixmap
    if state == "bypassed":
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(white, 0.045))
    for number, height in enumerate(_HEIGHTS):
        bar = QRectF(0.155 + 0.15 * number, 0.5 - height / 2, 0.09, height)
        painter.drawRoundedRect(bar, 0.045, 0.045)
    if state == "muted":
        for colour, width in ((QColor(_COLOURS[state]), 0.2), (white, 0.09)):
            painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
            painter.drawLine(QPointF(0.2, 0.8), QPointF(0.8, 0.2))
    painter.end()
    return pixmap
