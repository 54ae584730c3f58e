"""What the tray remembers from one start to the next, and whether it starts at login."""

import plistlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, QStandardPaths

from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.live.config import LiveSettings
from sordino.live.systemd import program_path

REMEMBERED = (
    "input",
    "model",
    "strength",
    "attenuation_limit_db",
    "voice",
    "on_demand",
)  # fields of LiveSettings

_WINDOWS_RUN = "HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Run"
_DESKTOP_ENTRY = """\
[Desktop Entry]
Type=Application
Name=Sordino
Comment=A clean microphone for every program
Exec={command}
X-GNOME-Autostart-enabled=true
"""


class Preferences:
    """Choices of the user in an INI file: `~/.config/sordino/tray.ini`, or as the system has it.

    Args:
        path: of another file.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or _config_folder() / "sordino" / "tray.ini"
        self._store = QSettings(str(path), QSettings.Format.IniFormat)

    def remember(self, name: str, value: object) -> None:
        """Keep the value of a field of `LiveSettings`; None: forget it."""
        if value is None:
            self._store.remove(name)
        else:
            self._store.setValue(name, str(value))
        self._store.sync()

    def settings(self, options: Mapping[str, Any]) -> LiveSettings:
        """Return how a session is to begin: options of the command line, then what is remembered.

        A remembered value that is not valid any more, such as the path of a model that is gone, is
        forgotten.

        Args:
            options: fields of `LiveSettings`.

        Raises:
            SordinoError: an option is not valid.
        """
        settings = LiveSettings(**options)
        settings.load_models()
        for name in REMEMBERED:
            if name in options or not self._store.contains(name):
                continue
            text = str(self._store.value(name))
            try:
                number = name in ("strength", "attenuation_limit_db")
                value = float(text) if number else name == "on_demand" or text
                changed: dict[str, Any] = {name: value}
                wanted = replace(settings, **changed)
                if name in ("model", "voice"):
                    wanted.load_models()
                settings = wanted
            except (ValueError, SordinoError):
                self.remember(name, None)
        return settings


class Autostart:
    """Whether the desktop starts the tray at login.

    Linux: an entry in `~/.config/autostart`; macOS: a launch agent; Windows: the registry.
    """

    def __init__(self) -> None:
        self.command = [program_path(), "tray"]
        if sys.platform == "darwin":
            self.path = Path.home() / "Library" / "LaunchAgents" / "sordino.tray.plist"
        else:
            self.path = _config_folder() / "autostart" / "sordino.desktop"

    @property
    def enabled(self) -> bool:
        """Whether it does."""
        if sys.platform == "win32":
            return self._registry().contains("Sordino")
        return self.path.exists()

    def set_enabled(self, enabled: bool) -> None:
        """Change it.

        Raises:
            SordinoError: the file cannot be written.
        """
        if sys.platform == "win32":
            registry = self._registry()
            if enabled:
                registry.setValue("Sordino", " ".join(f'"{word}"' for word in self.command))
            else:
                registry.remove("Sordino")
            registry.sync()
            return
        try:
            if not enabled:
                self.path.unlink(missing_ok=True)
                return
            with atomic_write(self.path) as part:
                part.write_bytes(self._entry())
        except OSError as error:
            raise SordinoError(f"cannot write {self.path}: {error.strerror}") from error

    def _entry(self) -> bytes:
        if sys.platform == "darwin":
            agent = {
                "Label": self.path.stem,
                "ProgramArguments": self.command,
                "RunAtLoad": True,
                "ProcessType": "Interactive",
            }
            return plistlib.dumps(agent)
        command = " ".join(map(_quoted, self.command))
        return _DESKTOP_ENTRY.format(command=command).encode()

    @staticmethod
    def _registry() -> QSettings:
        return QSettings(_WINDOWS_RUN, QSettings.Format.NativeFormat)


def _config_folder() -> Path:
    location = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(location))


def _quoted(word: str) -> str:
    """Quote a word of `Exec`: by its own rules first, then by those of all strings."""
    for special in '\\"`$':
        word = word.replace(special, "\\" + special)
    return '"' + word.replace("\\", "\\\\").replace("%", "%%") + '"'
