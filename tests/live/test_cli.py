"""`sordino live` and `sordino devices`, run as people run them, on real sound servers."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile

from support.sound_servers import TIMEOUT, Player, undisturbed, wait_for
from support.terminal import Terminal

pytestmark = pytest.mark.slow

SORDINO = [sys.executable, "-m", "sordino"]
RATE = 48000


def run(*arguments, **options):
    command = [*SORDINO, *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": 2 * TIMEOUT, **options}
    return subprocess.run(command, stdin=subprocess.DEVNULL, **options)


@contextmanager
def running(*arguments):
    """Run the command with its output in pipes."""
    process = subprocess.Popen(
        [*SORDINO, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def noise():
    return 0.05 * np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32)


def own(server):
    """Return the modules that Sordino has in a server."""
    return [arguments for _, arguments in server.modules() if "sordino" in arguments]


def size(folder):
    return [file.stat().st_size for file in folder.iterdir()]


def test_json_lines(server, noise):
    def attempt():
        with Player("room", noise):
            done = run("live", "--json", "--seconds", 5)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def clicks_came_back(lines):
        loop = lines[0]["loop_seconds"]
        return loop is not None and 0.010 < loop < 0.150

    lines = undisturbed(attempt, clicks_came_back)
    assert len(lines) >= 2
    # While the machine is busy, sound may be bypassed or have gaps.
    active = [line for line in lines if line["state"] == "active"]
    best = max(active, key=lambda line: line["input_dbfs"])
    assert (best["reason"], best["model"]) == ("", "default")
    assert best["input_dbfs"] == pytest.approx(-26, abs=1)
    assert best["output_dbfs"] < -35
    assert 0 < best["cpu_share"] < 1
    assert clicks_came_back(lines)
    assert lines[-1]["seconds"] >= 2
    assert own(server) == []


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_record_all_of_it(server, noise, tmp_path):
    with Player("room", noise):
        done = run("live", "--seconds", 1.5, "--record", tmp_path / "talks")
    assert (done.returncode, done.stderr) == (0, "")
    files = sorted((tmp_path / "talks").iterdir())
    assert len(files) == 2
    assert [soundfile.info(file).duration for file in files] == pytest.approx([1.5, 1.5], abs=0.1)
    levels = [np.sqrt(np.mean(soundfile.read(file)[0] ** 2)) for file in files]
    assert max(levels) == pytest.approx(0.05, rel=0.2)
    assert min(levels) < 0.02


@pytest.mark.parametrize(
    ("server", "number"),
    [("pulseaudio", signal.SIGTERM), ("pipewire", signal.SIGINT)],
    indirect=["server"],
)
def test_signals_end_it_cleanly(server, number):
    before = server.defaults()
    with running("live") as process:
        lines = iter(process.stdout.readline, "")
        head = []
        while not head or not head[-1].startswith("latency"):
            head.append(next(lines))
        assert own(server)
        process.send_signal(number)
        rest = list(lines)
        assert process.wait(TIMEOUT) == 0
        assert process.stderr.read() == ""
    text = "".join(head + rest)
    assert "choose the microphone 'Sordino Microphone'" in text
    assert re.search(r"latency  \d+ ms: 20 ms by the algorithm, \d+ ms in buffers \(clicks", text)
    for begin in ("input ", "output ", "active", "ended after "):
        assert any(line.startswith(begin) for line in text.splitlines()), text
    assert own(server) == []
    assert server.defaults() == before


def test_the_panel_and_its_keys(server, noise, tmp_path):
    with Player("room", noise), Terminal([*SORDINO, "live"], cwd=tmp_path) as terminal:
        end = terminal.expect("Sordino Microphone")
        end = terminal.expect("b bypass", end)
        for keys, shown in (
            ("b", "bypassed"),
            ("b", "active"),
            ("m", "muted"),
            ("m", "active"),
            ("--", "strength 80 %"),
            ("+", "strength 90 %"),
            ("x\x1b[A", "strength 90 %"),
            ("r", "recording the next minute"),
        ):
            terminal.type(keys)
            end = terminal.expect(shown, end)
        wait_for(lambda: sum(size(tmp_path)) > 50_000, "a recording that grows")
        terminal.type("q")
        assert terminal.wait() == 0
        assert terminal.mode() == terminal.mode_before
        assert "ended after" in terminal.output
    assert own(server) == []
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    assert all(soundfile.info(file).frames > 0.2 * RATE for file in files)


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_a_killed_terminal_ends_it(server):
    with Terminal([*SORDINO, "live"]) as terminal:
        terminal.expect("b bypass")
        terminal.hang_up()
        assert terminal.wait() == 0
    assert own(server) == []


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_the_other_direction(server):
    with running("live", "--speaker", "--json") as process:
        states = (json.loads(line)["state"] for line in iter(process.stdout.readline, ""))
        assert "active" in states
        assert "sordino_loudspeaker" in server.sinks()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    assert own(server) == []


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_without_a_virtual_microphone(server):
    arguments = ("--no-virtual-mic", "--input", "microphone", "--output", "room", "--rate", 16000)
    with running("live", *arguments, "--json") as process:
        first = json.loads(process.stdout.readline())
        assert own(server) == []
        assert first["loop_seconds"] is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_a_reader_that_ends_is_no_error(server):
    with running("live", "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(TIMEOUT) == 0
        assert process.stderr.read() == ""
    assert own(server) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("live", "--strength", "2"), "strength is 2.0: expected 0"),
        (("live", "--model", "nobody"), "no model is called 'nobody'"),
        (("live", "--voice", "anna.npz"), "no voice is called 'anna.npz'"),
        (("live", "--voice", "./anna.voice"), "cannot read the voice anna.voice"),
        (("live", "--others", "-3"), "other voices by -3.0 dB"),
        (("live", "--voice-fallback", "soon"), "--voice-fallback soon is neither"),
        (("live", "--rate", "5"), "the sample rate is 5 Hz"),
        (("live", "--seconds", "0"), "seconds is 0.0: expected more than 0"),
        (("live", "--seconds", "inf"), "seconds is inf: expected more than 0"),
        (("live", "--channel", "0"), "the channel is 0: they are counted from 1"),
        (("live", "--attenuation-limit", "-3"), "the attenuation limit is -3.0 dB"),
        (("tray", "--strength", "-1"), "strength is -1.0"),
    ],
)
def test_errors_are_one_line(arguments, message):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sordino: {message}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_what_cannot_work_is_refused_in_one_line(server):
    with running("live", "--json") as process:
        process.stdout.readline()
        refused = {
            ("--input", "nope"): "there is no microphone 'nope' now",
            ("--output", "nope"): "there is no loudspeaker 'nope' now",
            ("--input", "Sordino Microphone", "--output", "room"): "'Sordino Microphone' carries",
            (
                "--output",
                "sordino_microphone_feed",
            ): "'Sordino Microphone (feed)' belongs",
            ("--input", "room.monitor", "--output", "room"): "the input records what",
            (
                "--input",
                "microphone",
                "--output",
                "room",
                "--channel",
                "2",
            ): "microphone has 1",
        }
        for arguments, message in refused.items():
            done = run("live", "--seconds", 600, *arguments, *own_label(arguments))
            assert (done.returncode, done.stdout) == (2, ""), arguments
            assert done.stderr.startswith(f"sordino: {message}"), done.stderr
            assert len(done.stderr.splitlines()) == 1


def own_label(arguments):
    """Use another label: the running session has the virtual microphone."""
    return ("--no-virtual-mic",) if "--output" not in arguments else ()


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_waiting_ends_after_its_seconds(server):
    done = run("live", "--input", "nope", "--wait", "--seconds", 1, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert own(server) == []


def test_without_a_server_it_says_so(tmp_path):
    nowhere = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PULSE_SERVER": ""}
    done = run("live", env={**os.environ, **nowhere})
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not answer: `sordino doctor` says how to fix it; --wait" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
@pytest.mark.parametrize("label", ["Camera [/dev/video0]", "[red]Mic[/red]", "[/]", "a[b"])
def test_labels_are_no_markup(server, label):
    arguments = f"sink_name=odd sink_properties='device.description=\"{label}\"'"
    number = server.load("module-null-sink", arguments, "odd")
    done = run("devices")
    server.remove(number)
    assert (done.returncode, done.stderr) == (0, "")
    assert label in done.stdout


def test_devices(server):
    done = run("devices", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert found["microphone"]["kind"] == "input"
    assert found["microphone"]["rate"] == RATE
    assert found["room"]["kind"] == "output"
    assert found["room.monitor"]["monitor"]
    assert not any(each["virtual"] for each in found.values())
    table = run("devices").stdout.splitlines()
    assert table[0].split() == ["kind", "label", "name", "Hz", "channels"]
    assert len(table) == 1 + len(found)
    rows = [line for line in table if "records a loudspeaker" in line]
    monitors = [each["name"] for each in found.values() if each["monitor"]]
    assert len(rows) == len(monitors)
    assert all(any(name in row for row in rows) for name in monitors)


def test_devices_without_a_server(tmp_path):
    nowhere = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PULSE_SERVER": ""}
    done = run("devices", env={**os.environ, **nowhere})
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not answer: `sordino doctor` says how to fix it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["live", "devices", "doctor", "tray"])
def test_help_loads_nothing_heavy(command):
    program = (
        "import sys; from sordino.cli import main\n"
        f"sys.argv = ['sordino', {command!r}, '--help']\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'numpy', 'onnxruntime', 'pulsectl', 'sounddevice', 'PySide6', 'soxr'}\n"
        "    print('loaded', sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded []"
    assert "--help" in done.stdout


def test_install_service(tmp_path):
    env = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    env.pop("XDG_CONFIG_HOME", None)
    env.pop("DBUS_SESSION_BUS_ADDRESS", None)
    done = run("live", "--strength", 0.8, "--install-service", env=env)
    if "no systemd" in done.stderr:
        pytest.skip("needs systemd")
    assert done.returncode == 0
    unit = tmp_path / ".config/systemd/user/sordino.service"
    assert done.stdout.startswith(f"{unit}: written, but not started")
    assert '"live" "--strength=0.8" "--wait"\n' in unit.read_text()
