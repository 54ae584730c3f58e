"""The command, from its start to its end, on a sound server that no other test can reach.

(Sessions follow the server that the environment names, and that of `test_app` runs all the while.)
"""

import signal
import subprocess
import sys

import pytest

from support.desktop import require_qt
from support.sound_servers import TIMEOUT, Server, wait_for

require_qt()
pytestmark = [pytest.mark.slow, pytest.mark.audio]


def test_puts_everything_back_when_it_is_ended():
    with Server("pulseaudio") as server:
        server.add_room()
        server.add_microphone()
        modules, defaults = server.modules(), server.defaults()
        command = [sys.executable, "-m", "sordino", "tray"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(
            lambda: "sordino_microphone" in server.sources(), "the virtual microphone", TIMEOUT
        )
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, said
        assert server.modules() == modules
        assert server.defaults() == defaults


def test_nothing_can_be_switched_where_no_tray_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    command = [sys.executable, "-m", "sordino", "tray"]
    done = subprocess.run([*command, "--toggle", "mute"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("sordino: no tray runs")
    assert done.stderr.count("\n") == 1
