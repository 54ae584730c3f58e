"""Sessions whose server, microphone or own process goes and comes back, on real servers."""

import json
import signal
from typing import NamedTuple

import numpy as np
import pytest
from scipy.signal import butter, correlate, sosfilt

from sordino.live.backends import MICROPHONE
from support.meeting import (
    LONGEST_LATENCY,
    NAME,
    attempts,
    check_speech,
    command,
    live,
    ours,
    wait_active,
)
from support.sound_servers import RATE, Listener, Player, wait_for

pytestmark = pytest.mark.slow

BACK_WITHIN = 2.0  # seconds after a device's return, or after waking up
STALE = 0.5  # seconds; sound that is older is of no use to a conversation
PIECE = RATE // 20  # samples of which it is looked up when they were played


class Awakening(NamedTuple):
    """What a meeting program hears of a sound that never stops, once a sleep is over."""

    silence: float
    """Seconds until the first of it."""

    oldest: float
    """The longest that any of it took, in seconds."""

    settled: float
    """How long it takes from BACK_WITHIN on, in seconds."""


def hiss(seconds):
    """Return a noise up to 1.5 kHz; no piece of it is like another."""
    white = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    sound = sosfilt(butter(2, 1500, fs=RATE, output="sos"), white)
    return 0.1 * sound / np.std(sound)


def awakening(sleep, wake, seconds):
    """Let something sleep for some seconds and measure how it comes back."""
    with Listener("room.monitor") as room, Listener(NAME) as program, Player("room", hiss(30)):
        wait_for(lambda: np.any(program.sound[-RATE // 10 :]), "sound before the sleep")
        sleep()
        listen(room, seconds)
        wake()
        start = len(program.sound)
        listen(program, BACK_WITHIN + 1)
        beginning, ways = program.beginning - room.beginning, []
        before, after = room.sound, program.sound
    for at in range(start, len(after) - PIECE, PIECE):
        piece = after[at : at + PIECE]
        now = round(beginning * RATE) + at  # on the room's time scale
        since = max(0, now - round((seconds + 2) * RATE))
        past = before[since : now + PIECE]
        alike = correlate(past, piece, "valid")
        best = int(np.argmax(alike))
        match = np.linalg.norm(past[best : best + PIECE]) * np.linalg.norm(piece)
        if alike[best] > 0.5 * match > 0:  # neither silence nor a fade between two pieces
            ways.append(((at - start) / RATE, (now - since - best) / RATE))
    times, lags = np.array(ways).reshape(-1, 2).T
    if not np.any(times > BACK_WITHIN):
        return Awakening(np.inf, np.inf, np.inf)
    result = Awakening(times[0], lags.max(), np.median(lags[times > BACK_WITHIN]))
    print(f"back after {result.silence:.2f} s, at most {1e3 * result.oldest:.0f} ms late, "
          f"then {1e3 * result.settled:.0f} ms")  # fmt: skip
    return result


def listen(listener, seconds):
    """Let so many seconds of sound go by."""
    enough = len(listener.sound) + round(seconds * RATE)
    wait_for(lambda: len(listener.sound) > enough, "the time's end")


def good(back):
    """Judge whether a user would be content."""
    return back.silence < BACK_WITHIN and back.oldest < STALE and back.settled < LONGEST_LATENCY


def test_comes_back_with_the_server(server):
    with live() as session:
        server.kill()
        wait_for(lambda: session.status().state == "waiting", "the loss")
        assert session.status().reason
        server.start()
        server.add_room()
        server.add_microphone()
        seconds = wait_active(session)
        print(f"back after {seconds:.2f} s")
        assert seconds < BACK_WITHIN
        assert server.sources()[NAME].description == MICROPHONE
        check_speech()
    assert ours(server) == []


def test_comes_back_with_the_microphone(server):
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
        assert seconds < BACK_WITHIN
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


# PipeWire does not suspend what somebody listens to.
@pytest.mark.parametrize("server", ["pulseaudio"], indirect=True)
def test_comes_back_with_a_suspended_microphone(server):
    with live(strength=0.0) as session:

        def measure():
            return awakening(
                lambda: server.suspend("microphone", True),
                lambda: server.suspend("microphone", False),
                seconds=2,
            )

        assert good(attempts(measure, good))
        assert session.status().state == "active"


def test_comes_back_from_sleep(server):
    with command("--strength", "0") as process:

        def measure():
            return awakening(
                lambda: process.send_signal(signal.SIGSTOP),
                lambda: process.send_signal(signal.SIGCONT),
                seconds=4,  # a stream of PipeWire that nobody reads for so long stays silent
            )

        assert good(attempts(measure, good))
        process.send_signal(signal.SIGTERM)
        *_, last = process.stdout
        assert json.loads(last)["state"] == "active"
        assert process.wait() == 0
