"""Whole live sessions on real sound servers: what a meeting program records."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sordino.denoiser import denoise
from support.meeting import (
    MAX_LATENCY,
    NAME,
    attempts,
    check_speech,
    command,
    hear,
    live,
    own_modules,
    wait_active,
)
from support.sound_servers import RATE, Listener, Player, wait_for
from support.speech import aligned, delay_of, example, si_sdr

pytestmark = pytest.mark.slow

OURS = ["module-null-sink", "module-null-sink", "module-remap-source"]


def test_live_is_as_good_as_offline(server):
    noisy, clean = example("noisy")[: 4 * RATE], example("clean")[: 4 * RATE]
    # Played twice: how much silence the live engine has processed before is not known.
    twice = np.concatenate([noisy, noisy])
    offline = denoise(twice, RATE, "default")[len(noisy) :]
    wanted = si_sdr(offline, clean)

    def measure():
        with live():
            heard = hear(twice)[3 * RATE :]
        got = aligned(heard, offline)
        reached = si_sdr(got, clean)
        print(
            f"offline {wanted:.2f} dB, live {reached:.2f} dB, alike {si_sdr(got, offline):.1f} dB"
        )
        return reached

    assert attempts(measure, lambda reached: abs(reached - wanted) < 0.5) == pytest.approx(
        wanted, abs=0.5
    )


def test_latency(server):
    clean = example("clean")[: 3 * RATE // 2]

    def measure():
        latencies = []
        with live() as session, Listener("room.monitor") as before, Listener(NAME) as after:
            play_all(clean, before)  # lets the output delay settle
            for bypass in (False, True):
                session.set_bypass(bypass)
                start = len(before.sound)
                play_all(clean, before)
                at_microphone = delay_of(before.sound[start:], clean)
                at_program = delay_of(after.sound[start:], clean)
                latency = after.beginning - before.beginning + (at_program - at_microphone) / RATE
                known = session.status().latency_seconds
                print(f"bypass {bypass}: {1e3 * latency:.1f} ms, by its status {1e3 * known:.1f}")
                latencies.append(latency)
        return latencies

    latencies = attempts(measure, lambda latencies: max(latencies) < MAX_LATENCY)
    assert min(latencies) >= 0.020
    assert max(latencies) < MAX_LATENCY


def play_all(sound, listener):
    """Play a sound into the room until a listener must have heard it."""
    enough = len(listener.sound) + len(sound) + RATE // 2
    with Player("room", sound):
        wait_for(lambda: len(listener.sound) > enough, "the sound's end")


BUSY = "import time; end = time.monotonic() + 3\nwhile time.monotonic() < end: pass"


def test_busy_processor(server):
    with live() as session:
        with Listener(NAME) as listener:
            before, begin = len(listener.sound), time.monotonic()
            load = [
                subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * os.cpu_count())
            ]
            for process in load:
                process.wait()
            heard, passed = (len(listener.sound) - before) / RATE, time.monotonic() - begin
        status = session.status()
        print(f"under load: {heard:.2f} s in {passed:.2f} s, {status}")
        assert heard == pytest.approx(passed, abs=0.5)
        assert status.state == "active" or status.reason
        wait_active(session)
        check_speech()


def test_other_direction(server):
    with live(speaker=True, virtual_mic=False) as session:
        assert server.sinks()["sordino_loudspeaker"].description == "Sordino Loudspeaker"
        check_speech(into="sordino_loudspeaker", out_of="room.monitor")
        assert session.status().state == "active"
    assert server.sinks().keys() == {"room"}


def test_a_killed_program_leaves_nothing_behind(server):
    modules = server.modules()
    with command() as process:
        server.set_default_source(NAME)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert own_modules(server) == OURS
    with command() as process:
        assert own_modules(server) == OURS
        wait_for(lambda: server.defaults()[0] == "microphone", "the default from before")
        server.set_default_source(NAME)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert server.modules() == modules
    wait_for(lambda: server.defaults()[0] == "microphone", "the default from before")
