"""The script that takes the pictures of the tray for the docs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.desktop import application, require_qt

require_qt()
pytestmark = pytest.mark.slow

from PySide6.QtGui import QImage  # noqa: E402

SCRIPT = Path(__file__).parents[3] / "scripts" / "tray_picture.py"


def test_takes_a_light_and_a_dark_picture(tmp_path):
    application()
    subprocess.run([sys.executable, SCRIPT, tmp_path, "1.5"], check=True)
    light, dark = (QImage(str(tmp_path / name)) for name in ("tray.webp", "tray-dark.webp"))
    assert (
        light.size()
        == dark.size()
        == QImage(str(SCRIPT.parents[1] / "docs/images/tray.webp")).size()
    )
    assert light.pixelColor(5, 5).lightness() > 200
    assert dark.pixelColor(5, 5).lightness() < 60
    # The last second and a half of the noisy sound are there, below "Microphone".
    grey = light.convertToFormat(QImage.Format.Format_Grayscale8)
    rows = np.frombuffer(grey.constBits(), np.uint8).reshape(grey.height(), grey.bytesPerLine())
    picture = rows[500:680, : grey.width()].astype(float)
    assert picture[:, -140:-80].mean() > picture[:, 60:400].mean() + 50
