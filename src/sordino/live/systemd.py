"""Live use as a service of the user's systemd: there after every login, back after a crash."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from shutil import which

from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.live.config import LiveSettings
from sordino.voice import AUTO, saved_voices

UNIT = "sordino.service"

_TEMPLATE = """\
[Unit]
Description=Sordino: a clean microphone for every program
After=pipewire-pulse.service wireplumber.service pulseaudio.service

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=3
TimeoutStopSec=10

[Install]
WantedBy=default.target
"""


def arguments(settings: LiveSettings) -> list[str]:
    """Return the options of `sordino live` that lead to these settings.

    Paths are made absolute: a service runs in another folder.

    >>> arguments(LiveSettings(strength=0.8, virtual_mic=False))
    ['--strength=0.8', '--no-virtual-mic']
    """
    options = {
        "attenuation_limit_db": "attenuation-limit",
        "others_db": "others",
        "sample_rate": "rate",
    }
    result: list[str] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        option = options.get(field.name, field.name.replace("_", "-"))
        if value == field.default:
            continue
        if field.name == "voice":
            several = [value] if isinstance(value, str | Path) else value
            result += [f"--voice={_absolute(str(each))}" for each in several]
            continue
        if field.name == "voice_fallback" and value is None:
            value = "never"
        if isinstance(value, bool):
            result.append(f"--{option}" if value else f"--no-{option}")
            continue
        if isinstance(value, Path) or (field.name == "model" and value.endswith(".onnx")):
            value = Path(value).resolve()
        result.append(f"--{option}={value}")
    return result


def _absolute(voice: str) -> str:
    """Return the name of a saved profile, or the absolute path of one in a file."""
    return voice if voice in saved_voices() or voice == AUTO else str(Path(voice).resolve())


def unit(arguments: Sequence[str]) -> str:
    """Return the text of the unit that runs `sordino live` with these arguments."""
    command = [program_path(), "live", *arguments]
    return _TEMPLATE.format(command=" ".join(map(_quoted, command)))


def install(arguments: Sequence[str]) -> tuple[Path, str]:
    """Write the unit for `sordino live` with these arguments, and start it now and at login.

    Returns:
        Where the unit is, and one line on what became of it.

    Raises:
        SordinoError: this system has no systemd, or the file cannot be written.
    """
    if sys.platform != "linux" or which("systemctl") is None:
        raise SordinoError(
            "there is no systemd here to run a service: start `sordino live` with your desktop's "
            "own list of programs to start at login"
        )
    path = _folder() / UNIT
    try:
        with atomic_write(path) as part:
            part.write_text(unit(arguments), encoding="utf-8")
    except OSError as error:
        raise SordinoError(f"cannot write {path}: {error.strerror}") from error
    for action in (["daemon-reload"], ["enable", UNIT], ["restart", UNIT]):
        problem = _systemctl(*action)
        if problem:
            return path, (
                f"written, but not started ({problem}): log in on the desktop and run "
                f"`systemctl --user daemon-reload && systemctl --user enable --now {UNIT}`"
            )
    return path, (
        f"runs now and after every login; `systemctl --user disable --now {UNIT}` ends it, "
        f"`journalctl --user -u {UNIT}` shows what it says"
    )


def _folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "systemd" / "user"


def program_path() -> str:
    """Return the path of the command; a service has another PATH than the shell."""
    beside = Path(sys.executable).with_name("sordino")
    return str(beside) if beside.exists() else which("sordino") or str(Path(sys.argv[0]).resolve())


def _systemctl(*action: str) -> str:
    """Return what went wrong, "" if nothing did."""
    try:
        done = subprocess.run(
            ["systemctl", "--user", *action], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines or [f"exit code {done.returncode}"])[-1]


def _quoted(argument: str) -> str:
    """Quote a word as systemd.service(5) says: % and $ have a meaning of their own there."""
    special = (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%"), ("$", "$$"))
    for plain, written in special:
        argument = argument.replace(plain, written)
    return f'"{argument}"'
