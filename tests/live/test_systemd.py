"""The systemd unit has the options that were given, and systemd accepts it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sordino.errors import SordinoError
from sordino.live import systemd
from sordino.live.config import LiveSettings
from support import models

ARGUMENTS = ["--input", 'a "b" $HOME 100% \\ x', "--strength", "0.8"]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("systemctl"), reason="needs systemd"
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory without a running systemd."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    return tmp_path


def program(text):
    """Return the words of the unit's command as systemd parses them."""
    [line] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def test_the_unit_runs_the_command_with_its_arguments():
    command, *arguments = program(systemd.unit(ARGUMENTS))
    assert Path(command).is_absolute()
    assert arguments == ["live", *ARGUMENTS]
    done = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("sordino ")


def test_arguments_are_those_that_differ_from_the_defaults():
    assert systemd.arguments(LiveSettings()) == []
    settings = LiveSettings(
        input="-odd name",
        model="my.onnx",
        strength=0.5,
        attenuation_limit_db=12,
        virtual_mic=False,
        speaker=True,
        record=Path("talks"),
        sample_rate=16000,
    )
    assert systemd.arguments(settings) == [
        "--input=-odd name",
        f"--model={Path.cwd() / 'my.onnx'}",
        "--strength=0.5",
        "--attenuation-limit=12",
        "--no-virtual-mic",
        "--speaker",
        f"--record={Path.cwd() / 'talks'}",
        "--rate=16000",
    ]


def test_voices_are_named_by_their_profiles_or_files(voices_folder):
    models.voice(0, "me").save()
    settings = LiveSettings(voice=("me", "anna.voice"), others_db=20.0, voice_fallback=None)
    assert systemd.arguments(settings) == [
        "--voice=me",
        f"--voice={Path.cwd() / 'anna.voice'}",
        "--others=20.0",
        "--voice-fallback=never",
    ]


def test_systemd_understands_the_unit(home):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    path, _ = systemd.install(ARGUMENTS)
    command = ["systemd-analyze", "verify", "--user", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_install_without_a_running_systemd_says_how_to_go_on(home):
    path, note = systemd.install(ARGUMENTS)
    assert path == home / ".config/systemd/user/sordino.service"
    assert path.read_text() == systemd.unit(ARGUMENTS)
    assert note.startswith("written, but not started")
    assert "systemctl --user enable --now sordino.service" in note
    again, _ = systemd.install([])
    assert again.read_text() == systemd.unit([])
    assert [each.name for each in path.parent.iterdir()] == ["sordino.service"]


def test_a_running_systemd_is_told(home, monkeypatch):
    # A fake systemctl writes down how it was called: a test must
    # not start a service for the user who runs it.
    fake = home / "bin" / "systemctl"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {home}/calls\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    path, note = systemd.install([])
    assert path == home / "xdg/systemd/user/sordino.service"
    assert note.startswith("runs now and after every login")
    assert (home / "calls").read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable sordino.service",
        "--user restart sordino.service",
    ]


def test_a_folder_that_cannot_be_written(home):
    (home / ".config").write_text("a file, not a folder")
    with pytest.raises(SordinoError, match=r"cannot write .*sordino\.service: "):
        systemd.install([])


def test_without_systemd(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(SordinoError, match="no systemd here"):
        systemd.install([])
