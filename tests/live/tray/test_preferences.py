"""What the tray remembers, and the entry that starts it at login; both are real files."""

import configparser
import re
import subprocess
import sys

import pytest

from support.desktop import require_qt

require_qt()

from sordino.errors import SordinoError  # noqa: E402
from sordino.live.config import LiveSettings  # noqa: E402
from sordino.live.tray.preferences import Autostart, Preferences  # noqa: E402


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tray.ini"


def test_what_was_chosen_is_there_at_the_next_start(path):
    chosen = {
        "input": 'Mikrofon 50 %, [links]; "gut"',
        "model": "small",
        "strength": 0.8,
        "attenuation_limit_db": 12.0,
    }
    for name, value in chosen.items():
        Preferences(path).remember(name, value)
    assert Preferences(path).settings({}) == LiveSettings(**chosen)


def test_options_of_the_command_line_win(path):
    Preferences(path).remember("strength", 0.5)
    Preferences(path).remember("model", "small")
    settings = Preferences(path).settings({"strength": 1.0})
    assert (settings.strength, settings.model) == (1.0, "small")


def test_nothing_is_remembered_of_a_default(path):
    Preferences(path).remember("input", "headset")
    Preferences(path).remember("input", None)
    assert Preferences(path).settings({}) == LiveSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strength", "loud"),
        ("strength", "7"),
        ("strength", "nan"),
        ("attenuation_limit_db", "-3"),
        ("model", "/gone/model.onnx"),
        ("voice", "nobody"),
    ],
)
def test_what_is_not_valid_any_more_is_forgotten(path, name, value):
    Preferences(path).remember(name, value)
    Preferences(path).remember("input", "headset")
    assert Preferences(path).settings({}) == LiveSettings(input="headset")
    assert name not in path.read_text()


def test_a_file_that_is_not_readable_is_as_none(path):
    path.write_bytes(b"\xff\x00[broken\n=\n%%%")
    assert Preferences(path).settings({}) == LiveSettings()


def test_an_option_that_is_not_valid_is_an_error(path):
    with pytest.raises(SordinoError, match="strength"):
        Preferences(path).settings({"strength": 2.0})


@pytest.fixture
def autostart(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Autostart()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such entry")
@pytest.mark.parametrize("program", [None, '/opt/so "$di`no\\ 100%/bin/true'])
def test_starts_at_login_with_the_program_that_runs_now(autostart, program):
    if program:
        autostart.command[0] = program
    assert not autostart.enabled
    autostart.set_enabled(True)
    assert autostart.enabled
    assert Autostart().enabled
    assert autostart.path.parts[-3:] == ("config", "autostart", "sordino.desktop")
    entry = configparser.RawConfigParser(strict=True)
    entry.optionxform = str
    entry.read(autostart.path, "utf-8")
    section = entry["Desktop Entry"]
    assert (section["Type"], section["Name"]) == ("Application", "Sordino")
    assert words_of_exec(section["Exec"]) == autostart.command
    if not program:
        done = subprocess.run([*autostart.command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0
    autostart.set_enabled(False)
    autostart.set_enabled(False)
    assert not autostart.enabled


def words_of_exec(value):
    """Read `Exec` as the Desktop Entry Specification says: the string, then the quoting."""
    value = value.replace("\\\\", "\\")
    quoted = re.findall(r'"((?:\\.|[^"\\])*)"', value)
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%") for word in quoted]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such entry")
def test_says_that_it_cannot_write_the_entry(autostart):
    autostart.path.parent.parent.mkdir()
    autostart.path.parent.write_text("a file in the way")
    with pytest.raises(SordinoError, match=r"cannot write .*sordino\.desktop"):
        autostart.set_enabled(True)
