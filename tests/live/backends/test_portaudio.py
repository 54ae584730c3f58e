"""PortAudio's ports on a real sound server, through ALSA's plugin for PulseAudio."""

import os
import subprocess
import sys

import numpy as np
import pytest

from support.signals import tone
from support.sound_servers import RATE, TIMEOUT, Listener, Player, Server, require, wait_for

PROGRAM = """
import sys, time
import sounddevice
from sordino.live.engine import Controls
from sordino.live.engine import Engine
from sordino.live.monitor import Monitor
from sordino.live.backends.portaudio import PortAudioSink, PortAudioSource
from sordino.model import load_model

if not any(device["name"] == "pulse" for device in sounddevice.query_devices()):
    sys.exit("no plugin")
source, sink = PortAudioSource(None, 48000), PortAudioSink(None, 48000)
print(source.alive, sink.alive, flush=True)
for port in (source, sink):
    port.open()
    port.open()
engine = Engine(source, sink, [load_model()], Controls(bypass=True), Monitor(48000))
engine.start()
print(source.alive, sink.alive, source.sample_rate, sink.buffer.capacity, flush=True)
sys.stdin.readline()
print(round(1000 * engine.latency), flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 10
while source.alive and time.perf_counter() - source.buffer.written_at < 1:
    assert time.monotonic() < deadline, "still alive"
    time.sleep(0.05)
engine.stop()
for port in (source, sink):
    port.close()
    port.close()
print("closed", source.alive, sink.alive, flush=True)
"""


@pytest.fixture
def pulseaudio():
    with Server("pulseaudio") as server:
        server.add_room()
        server.add_microphone()
        server.add_room("speaker")
        yield server


def test_sound_goes_through_until_the_server_has_gone(pulseaudio):
    environment = {**os.environ, "PULSE_SOURCE": "microphone", "PULSE_SINK": "speaker"}
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        if program.stdout.readline() != "False False\n":
            reason = program.stderr.read()
            if "no plugin" in reason:
                need_plugin()
            pytest.fail(reason)
        assert program.stdout.readline() == f"True True {RATE} {RATE}\n"
        with Listener("speaker.monitor") as listener, Player("room", tone(1000, RATE, 60, 0.3)):
            wait_for(lambda: is_tone(listener.sound[-RATE:]), "a second of the tone without a gap")
        program.stdin.write("\n")
        program.stdin.flush()
        assert 20 < int(program.stdout.readline()) < 300, "ms"  # 150 on a machine that is not busy
        program.stdin.write("\n")
        program.stdin.flush()
        pulseaudio.kill()
        output, errors = program.communicate(timeout=TIMEOUT)
        assert output == "closed False False\n", errors
    finally:
        program.kill()
        program.wait()


def is_tone(second):
    """Whether a second of sound is a tone of 1 kHz and nothing else."""
    spectrum = np.abs(np.fft.rfft(second * np.hanning(len(second)))) ** 2
    return len(second) == RATE and spectrum[995:1006].sum() > 0.99 * spectrum.sum() > 0


def need_plugin():
    reason = "needs ALSA's plugin for PulseAudio (Debian package libasound2-plugins)"
    pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def test_a_device_that_is_not_there():
    require("pulseaudio")  # comes with PortAudio in the list of what tests need
    program = (
        "from sordino.live.backends.base import DeviceLost\n"
        "from sordino.live.backends.portaudio import PortAudioSource\n"
        "try:\n"
        "    PortAudioSource(99, 48000)\n"
        "except DeviceLost as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert "not there" in result.stdout, result.stderr
