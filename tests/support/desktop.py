"""A desktop without a screen: Qt's widgets, really there, drawn into memory."""

import os
import sys
import time

import pytest

from support.sound_servers import TIMEOUT

os.environ["QT_QPA_PLATFORM"] = "offscreen"


def require_qt():
    """Skip where Qt or one of its libraries is missing; in CI, where all must be there, fail."""
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        reason = f"needs PySide6 and Qt's system libraries: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason, allow_module_level=True)


def application():
    """Return the one application of this process."""
    from PySide6.QtWidgets import QApplication

    return QApplication.instance() or QApplication(sys.argv[:1])


def spin_until(condition, what, timeout=TIMEOUT):
    """Let Qt work until something is true; return its value."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        application().processEvents()
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"{what}: not within {timeout} s")
