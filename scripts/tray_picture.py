"""Take the pictures of the tray's window for the docs: a real session, cleaning a real recording.

    python scripts/tray_picture.py docs/images

writes tray.webp and tray-dark.webp.  It needs no screen, and Sordino with its extra [gui].
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from sordino import examples
from sordino.live.config import LiveSettings
from sordino.live.tray.app import Tray
from sordino.live.tray.controller import Controller
from support.file_backend import FileBackend

SCALE = 1.5  # pixels for each of the window's: pages are read on fine screens
SECONDS = 12.0  # until the spectrograms are full
LOOKS = {"tray.webp": ("#f3f3f3", "#e4e4e4"), "tray-dark.webp": ("#2b2d31", "#1f2125")}


def main(folder: Path, seconds: float = SECONDS) -> None:
    """Write the pictures into a folder, after so many seconds of sound."""
    app = QApplication(sys.argv[:1])
    with tempfile.TemporaryDirectory() as clean:
        noisy = examples.path("office_48k")
        backend = FileBackend(noisy, Path(clean) / "clean.wav", loops=None)
        controller = Controller(LiveSettings(), backend)
        tray = Tray(controller, Event())
        tray.window.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
        controller.start()
        tray.start()
        while controller.status().seconds < seconds:
            app.processEvents()
            time.sleep(0.01)
        for name, (button, background) in LOOKS.items():
            app.setPalette(QPalette(QColor(button), QColor(background)))
            app.processEvents()
            picture(tray.window).save(str(folder / name), quality=80)
        tray.close()
        controller.stop()


def picture(window: QWidget) -> QImage:
    """Draw a window, finer than a screen would."""
    image = QImage(window.size() * SCALE, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(SCALE)
    window.render(image)
    return image


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
