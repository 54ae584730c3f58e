"""Recovery of a session after its server or microphone disappeared, or its process slept."""

import json
import signal
from typing import NamedTuple

import numpy as np
import pytest
from scipy.signal import butter, correlate, sosfilt

from sordino.live.backends import MICROPHONE
from support.meeting import (
    MAX_LATENCY,
    NAME,
    attempts,
    check_speech,
    command,
    live,
    own_modules,
    wait_active,
)
from support.sound_servers import RATE, Listener, Player, wait_for

pytestmark = pytest.mark.slow

RECOVERY_SECONDS = 2.0  # limit, after a device is there again or the process woke up
MAX_DELAY = 0.5  # seconds; later sound disturbs a conversation
PIECE = RATE // 20  # samples whose delay is measured by cross-correlation


class Recovery(NamedTuple):
    """What a meeting program receives of continuous sound after a suspension."""

    silence: float
    """Seconds until the first sound arrives."""

    max_delay: float
    """Largest delay of any sound, in seconds."""

    final_delay: float
    """Median delay from RECOVERY_SECONDS on, in seconds."""


def low_pass_noise(seconds):
    """Return noise up to 1.5 kHz; no two pieces of it are alike."""
    white = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    sound = sosfilt(butter(2, 1500, fs=RATE, output="sos"), white)
    return 0.1 * sound / np.std(sound)


def measure_recovery(suspend, resume, seconds):
    """Suspend something for some seconds and measure the sound after it resumes."""
    with (
        Listener("room.monitor") as room,
        Listener(NAME) as program,
        Player("room", low_pass_noise(30)),
    ):
        wait_for(lambda: np.any(program.sound[-RATE // 10 :]), "sound before the suspension")
        suspend()
        record(room, seconds)
        resume()
        start = len(program.sound)
        record(program, RECOVERY_SECONDS + 1)
        beginning, delays = program.beginning - room.beginning, []
        before, after = room.sound, program.sound
    for at in range(start, len(after) - PIECE, PIECE):
        piece = after[at : at + PIECE]
        now = round(beginning * RATE) + at  # in samples of the room's recording
        since = max(0, now - round((seconds + 2) * RATE))
        past = before[since : now + PIECE]
        alike = correlate(past, piece, "valid")
        best = int(np.argmax(alike))
        match = np.linalg.norm(past[best : best + PIECE]) * np.linalg.norm(piece)
        if alike[best] > 0.5 * match > 0:  # neither silence nor a fade between two pieces
            delays.append(((at - start) / RATE, (now - since - best) / RATE))
    times, lags = np.array(delays).reshape(-1, 2).T
    if not np.any(times > RECOVERY_SECONDS):
        return Recovery(np.inf, np.inf, np.inf)
    result = Recovery(times[0], lags.max(), np.median(lags[times > RECOVERY_SECONDS]))
    print(f"back after {result.silence:.2f} s, at most {1e3 * result.max_delay:.0f} ms late, "
          f"then {1e3 * result.final_delay:.0f} ms")  # fmt: skip
    return result


def record(listener, seconds):
    """Wait until this many more seconds have been recorded."""
    enough = len(listener.sound) + round(seconds * RATE)
    wait_for(lambda: len(listener.sound) > enough, "the time's end")


def is_good(recovery):
    """Whether a recovery is within all limits."""
    return (
        recovery.silence < RECOVERY_SECONDS
        and recovery.max_delay < MAX_DELAY
        and recovery.final_delay < MAX_LATENCY
    )


def test_recovers_when_the_server_restarts(server):
    with live() as session:
        server.kill()
        wait_for(lambda: session.status().state == "waiting", "the loss")
        assert session.status().reason
        server.start()
        server.add_room()
        server.add_microphone()
        seconds = wait_active(session)
        print(f"back after {seconds:.2f} s")
        assert seconds < RECOVERY_SECONDS
        assert server.sources()[NAME].description == MICROPHONE
        check_speech()
    assert own_modules(server) == []


def test_recovers_when_the_microphone_is_plugged_in_again(server):
    with live() as session, Listener(NAME) as listener:
        server.remove(server.microphone)
        wait_for(lambda: session.status().state == "waiting", "the loss")
        assert session.status().reason
        before = len(listener.sound)
        wait_for(
            lambda: len(listener.sound) > before + RATE // 2, "silence for the meeting program"
        )
        server.add_microphone()
        seconds = wait_active(session)
        print(f"back after {seconds:.2f} s")
        assert seconds < RECOVERY_SECONDS
        check_speech()
        assert not np.any(listener.sound[before + RATE // 4 : before + RATE // 2])


def test_follows_the_default_microphone(server):
    server.set_default_source("microphone")
    server.add_room("hall")
    server.add_microphone("second", "hall")
    with live() as session:
        for name in ("microphone", "second", "microphone"):
            server.set_default_source(name)
            wait_for(lambda: session.status().input_name == name, name)  # noqa: B023 (called here)


# PipeWire does not suspend a source that is being recorded.
@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_recovers_when_the_microphone_was_suspended(server):
    with live(strength=0.0) as session:

        def measure():
            return measure_recovery(
                lambda: server.suspend("microphone", True),
                lambda: server.suspend("microphone", False),
                seconds=2,
            )

        assert is_good(attempts(measure, is_good))
        assert session.status().state == "active"


def test_recovers_when_the_process_was_stopped(server):
    with command("--strength", "0") as process:

        def measure():
            return measure_recovery(
                lambda: process.send_signal(signal.SIGSTOP),
                lambda: process.send_signal(signal.SIGCONT),
                seconds=4,  # a PipeWire stream that is not read for this long stays silent
            )

        assert is_good(attempts(measure, is_good))
        process.send_signal(signal.SIGTERM)
        *_, last = process.stdout
        assert json.loads(last)["state"] == "active"
        assert process.wait() == 0
