"""`sordino doctor` on real sound servers: what it finds, and its advice."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pulsectl
import pytest

from sordino.live import doctor
from sordino.live.config import LiveSettings
from support.sound_servers import TIMEOUT, Player, Server, wait_for

pytestmark = pytest.mark.slow

SORDINO = [sys.executable, "-m", "sordino"]
RATE = 48000
NAMES = [
    *("versions", "model and CPU", "permissions", "priority", "sound server", "microphone"),
    *("rates", "loudspeaker", "virtual microphone", "xruns", "hearing"),
]


@pytest.fixture(scope="module")
def noise():
    return 0.05 * np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32)


@pytest.fixture
def examine(monkeypatch):
    """Run the checks in this process with shorter times; return name -> check."""
    monkeypatch.setattr(doctor, "BENCH_SECONDS", 1.0)
    monkeypatch.setattr(doctor, "RUN_SECONDS", 0.5)
    monkeypatch.setattr(doctor, "SETTLE_SECONDS", 0.3)

    def run(**settings):
        return {check.name: check for check in doctor.examine(LiveSettings(**settings))}

    return run


def run(*arguments, **options):
    command = [*SORDINO, "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT, **options)


def own(server):
    return [arguments for _, arguments in server.modules() if "sordino" in arguments]


@pytest.mark.parametrize("server", ["pipewire"], indirect=True)
def test_all_is_well(server, noise):
    before = server.defaults()
    with Player("room", noise):
        done = run("--json")
    checks = {each["name"]: each for each in json.loads(done.stdout)}
    assert list(checks) == NAMES
    assert (done.returncode, done.stderr) == (0, "")
    assert all(each["level"] in ("ok", "warn") for each in checks.values())
    assert all(each["advice"] for each in checks.values() if each["level"] == "warn")
    assert "PipeWire" in checks["sound server"]["found"]
    assert f"Python {sys.version.split()[0]}" in checks["versions"]["found"]
    assert checks["rates"]["found"] == "48000 Hz everywhere, nothing is converted"
    assert checks["hearing"]["found"].endswith(("-26 dBFS", "-25 dBFS"))
    assert re.fullmatch(r"\d+ xruns? in 5 s, \d+ % of one core", checks["xruns"]["found"])
    assert own(server) == []
    assert server.defaults() == before


def test_without_a_server(tmp_path):
    done = run(env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)})
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    [number] = [i for i, line in enumerate(lines) if line.startswith("fail")]
    assert "does not answer" in lines[number]
    assert lines[number + 1].strip().startswith("-> start it: `systemctl --user start")


def test_a_microphone_that_is_silent(server, examine):
    checks = examine()
    assert (checks["hearing"].level, checks["hearing"].found) == (
        *("warn", "the microphone sends digital silence"),
    )
    assert "unmute it" in checks["hearing"].advice
    assert checks["virtual microphone"].level == "ok"
    assert checks["xruns"].level != "fail"


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_a_headset_in_its_mode_for_calls(server, examine, noise):
    with pulsectl.Pulse("test") as pulse:
        arguments = "source_name=headset master=room.monitor rate=8000"
        pulse.module_load("module-remap-source", arguments)
    wait_for(lambda: "headset" in server.sources(), "the headset")
    with Player("room", noise):
        checks = examine(input="headset", model="nobody")
    assert checks["rates"].level == "warn"
    assert "8000 Hz" in checks["rates"].found
    assert "Bluetooth" in checks["rates"].advice
    # A model that is missing is one finding among others.
    assert checks["model and CPU"].level == "fail"
    assert checks["model and CPU"].found == "no model is called 'nobody'"
    assert checks["model and CPU"].advice.startswith("choose one of default")
    assert "xruns" not in checks


@pytest.mark.parametrize("kind", ["pulseaudio", "pipewire"])
def test_without_a_microphone(kind, examine):
    with Server(kind) as server:
        server.add_room()
        checks = examine()
        assert (checks["microphone"].level, checks["microphone"].advice) == ("fail", "plug one in")
        assert checks["loudspeaker"].level == "ok"
        assert checks["virtual microphone"].level == "ok"
        assert "xruns" not in checks
        named = examine(input="nobody's")
        assert named["microphone"].level == "fail"
        assert named["microphone"].advice.startswith("`sordino devices` lists")


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_beside_a_session_that_runs(server, examine):
    command = [*SORDINO, "live", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            process.stdout.readline()
            check = examine()["virtual microphone"]
            assert check.level == "warn"
            assert str(process.pid) in check.found
            assert "end that `sordino` first" in check.advice
        finally:
            process.terminate()


def test_permissions(examine, monkeypatch, tmp_path):
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nobody"))
    check = examine()["permissions"]
    assert (check.level, check.advice) == ("fail", "run it as yourself, without `sudo` or `su`")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert examine()["permissions"].level == "warn"
