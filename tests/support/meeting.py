"""A live session and a meeting program that records it, on a real sound server."""

import json
import subprocess
import sys
import time
from contextlib import closing, contextmanager

from sordino.live.backends import choose_backend
from sordino.live.config import LiveSettings
from sordino.live.session import Session
from support.sound_servers import RATE, Listener, Player, wait_for
from support.speech import aligned, example, si_sdr

NAME = "sordino_microphone"
MAX_LATENCY = 0.08  # seconds, from the microphone to the meeting program
GOOD_DB = 10.0  # SI-SDR of denoised clean speech; a gap or a repeated block costs far more


@contextmanager
def live(**settings):
    """Run a session and wait until it is active."""
    with (
        closing(choose_backend()) as backend,
        Session(LiveSettings(**settings), backend) as session,
    ):
        wait_active(session)
        yield session


def wait_active(session):
    """Wait until a session is active; return how many seconds that took."""
    begin = time.monotonic()
    wait_for(lambda: session.status().state == "active", "an active session")
    return time.monotonic() - begin


@contextmanager
def command(*arguments):
    """Run `sordino live`; the value is its process, once it is active."""
    program = [sys.executable, "-m", "sordino", "live", "--json"]
    process = subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE)
    try:
        states = (json.loads(line)["state"] for line in process.stdout)
        assert "active" in states
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def own_modules(server):
    """Return the names of the modules that Sordino has loaded into a server."""
    return [name for name, arguments in server.modules() if "sordino" in arguments]


def hear(sound, into="room", out_of=NAME):
    """Play a sound into a sink and return what comes out of a source."""
    with Listener(out_of) as listener, Player(into, sound):
        total = len(listener.sound) + len(sound) + RATE // 2
        wait_for(lambda: len(listener.sound) >= total, "the sound's end")
        return listener.sound


def check_speech(**route):
    """Check that clean speech passes from the room to the program.

    A machine that stalls may cause a gap in one attempt, but not in all.
    """
    clean = example("clean")[: 3 * RATE // 2]
    wait_for(lambda: si_sdr(aligned(hear(clean, **route), clean), clean) > GOOD_DB, "good speech")


def attempts(measure, good, count=3):
    """Return the first good result, or the last one.

    Where the machine stalls, sound is lost and the session then buffers more; such a measurement
    says nothing about the program.
    """
    for _ in range(count):
        result = measure()
        if good(result):
            break
    return result
