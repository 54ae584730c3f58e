"""Live use as an icon on the desktop; the only place that imports Qt."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from sordino.errors import SordinoError, install_command

# What Qt's wheels need of a Debian or Ubuntu system, on X11 and Wayland.
LIBRARIES = (
    "libegl1 libgl1 libdbus-1-3 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1"
)


def run(options: Mapping[str, Any], toggle: str | None = None) -> None:
    """Clean live sound, with an icon in the tray and a window, until the user quits.

    If a tray runs already, its window is opened instead.

    Args:
        options: fields of `LiveSettings`; for those that are not there, what the user chose last.
        toggle: "mute" or "noise": only switch that on the tray that runs.

    Raises:
        SordinoError: there is no desktop, Qt is missing, or the session cannot begin.
    """
    _check_desktop()
    try:
        from sordino.live.tray.instance import send

        if send(toggle or "open"):  # before all else is imported: a shortcut has to be quick
            return
        if toggle:
            raise SordinoError("no tray runs that could switch it: start `sordino tray` first")
        from sordino.live.tray import app
    except ImportError as error:
        if error.name and not error.name.startswith("PySide6"):
            raise
        if isinstance(error, ModuleNotFoundError):
            raise SordinoError(f"the tray needs Qt: {install_command('gui')}") from None
        raise SordinoError(
            f"Qt cannot be loaded ({error}): install what it needs, on Debian and Ubuntu with "
            f"`sudo apt install {LIBRARIES}`"
        ) from None
    app.run(options)


def _check_desktop() -> None:
    """Qt ends the whole program where it finds no display; say it in words instead."""
    here = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform not in ("darwin", "win32") and not any(os.environ.get(name) for name in here):
        raise SordinoError(
            "there is no desktop here for the tray: start it from one, or use `sordino live`"
        )
