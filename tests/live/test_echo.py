"""`--echo-cancel` with the real cancellers of PulseAudio and PipeWire."""

import signal
from contextlib import closing

import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.live.backends import choose_backend
from sordino.live.config import LiveSettings
from support.meeting import NAME, command, live, own_modules
from support.sound_servers import (
    RATE,
    TIMEOUT,
    Listener,
    Player,
    Server,
    undisturbed,
    wait_for,
)
from support.speech import example

ECHO = "sordino_echo_canceller"


@pytest.fixture(params=["pulseaudio", "pipewire"])
def room(request):
    """Run a server whose microphone hears its loudspeaker."""
    with Server(request.param) as server:
        server.add_room("loudspeaker")
        server.add_room("room")
        server.add_microphone("microphone", "room")
        way = "source=loudspeaker.monitor sink=room latency_msec=40 rate=48000 channels=1"
        server.load("module-loopback", way, "room")
        server.set_default_source("microphone")
        server.set_default_sink("loudspeaker")
        yield server


def level_db(sound):
    return 10 * np.log10(np.mean(sound**2) + 1e-12)


@pytest.mark.slow
def test_what_others_say_does_not_come_back(room):
    voice = np.tile(0.5 * example("clean"), 4)  # of the other end, which has no noise to take
    learnt = slice(len(voice) // 2, len(voice))  # it adapts to the room

    def cancelled_db():
        with Listener("microphone") as before, Listener(NAME) as after, Player("", voice):
            wait_for(lambda: len(after.sound) > len(voice), "the sound's end", TIMEOUT)
            echo, rest = (level_db(each.sound[learnt]) for each in (before, after))
        print(f"echo {echo:.1f} dB, what is left of it {rest:.1f} dB")
        assert echo > -45
        return echo - rest

    with live(echo_cancel=True, strength=0.0):
        wait_for(lambda: room.defaults()[1] == ECHO, "the canceller as the default loudspeaker")
        assert room.defaults()[0] == "microphone"
        # A busy server moves the echo about, to which it then has to adapt again.
        assert undisturbed(cancelled_db, lambda db: db > 6) > 6
    assert room.defaults() == ("microphone", "loudspeaker")
    assert not own_modules(room)


@pytest.mark.slow
def test_the_own_voice_is_kept(room):
    voice = 0.5 * example("clean")

    def lost_db():
        with Listener("microphone") as before, Listener(NAME) as after, Player("room", voice):
            enough = len(voice) + RATE
            heard = (before, after)
            wait_for(
                lambda: min(len(each.sound) for each in heard) > enough,
                "the sound's end",
                TIMEOUT,
            )
            return level_db(before.sound[:enough]) - level_db(after.sound[:enough])

    with live(echo_cancel=True, strength=0.0):  # a busy server drops sound in some attempts
        assert abs(undisturbed(lost_db, lambda lost: abs(lost) < 3)) < 3


@pytest.mark.slow
def test_another_loudspeaker_is_followed(room):
    room.add_room("headphones")
    with live(echo_cancel=True):
        wait_for(lambda: room.defaults()[1] == ECHO, "the canceller as the default loudspeaker")
        room.set_default_sink(
            "headphones",
            until=lambda: any('sink_master="headphones"' in each for _, each in room.modules()),
        )
        wait_for(lambda: room.defaults()[1] == ECHO, "the canceller as the default loudspeaker")
    assert room.defaults()[1] == "headphones"


@pytest.mark.slow
def test_a_killed_program_leaves_no_canceller(room):
    with command("--echo-cancel") as process:
        assert room.defaults()[1] == ECHO
        process.send_signal(signal.SIGKILL)
        process.wait()
    with closing(choose_backend()) as backend:
        assert ECHO in backend.clean_up()
    wait_for(lambda: room.defaults() == ("microphone", "loudspeaker"), "the defaults from before")


@pytest.mark.slow
def test_the_loudspeaker_itself_is_no_microphone(room):
    with (
        pytest.raises(SordinoError, match="leave out --echo-cancel"),
        live(input="loudspeaker.monitor", echo_cancel=True),
    ):
        pass
    assert not own_modules(room)


def test_what_does_not_go_with_it_is_refused():
    for options in ({"speaker": True}, {"channel": 2}):
        with pytest.raises(SordinoError, match="leave out --speaker and --channel"):
            LiveSettings(echo_cancel=True, **options)
