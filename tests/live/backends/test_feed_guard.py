"""Only Sordino's sound reaches the virtual microphone, wherever other programs play."""

import signal
import time
from contextlib import closing
from threading import Event, current_thread

import numpy as np
import pulsectl
import pytest

from sordino.live.backends import choose_backend, pulse_server
from support.signals import tone
from support.sound_servers import RATE, Listener, Player, wait_for

pytestmark = pytest.mark.audio
OWN = "sordino_microphone"
FEED = f"{OWN}_feed"
DEFAULT = "@DEFAULT_SINK@"


@pytest.fixture
def backend(server):
    with closing(choose_backend()) as backend:
        yield backend


@pytest.fixture
def stranger():
    return tone(1000, RATE, seconds=60, amplitude=0.5)


def sink_of_player(server):
    """Return the name of the sink that the other program plays into, once there is one."""
    names = {sink.index: name for name, sink in server.sinks().items()}
    with pulsectl.Pulse("test") as pulse:
        streams = [each for each in pulse.sink_input_list() if "pacat" in str(each.proplist)]
        return names.get(streams[0].sink) if streams else None


def play_on(server, listener, seconds=0.5):
    """Record some more seconds and return them."""
    before = len(listener.sound)
    wait_for(lambda: len(listener.sound) > before + seconds * RATE, "more sound")
    return listener.sound[before:]


def test_the_last_loudspeaker_disappears(server, backend, stranger):
    room = server.add_room("speaker")
    server.set_default_sink("speaker")
    with backend.virtual_microphone(), Listener(OWN) as meeting, Player(DEFAULT, stranger):
        wait_for(lambda: sink_of_player(server) == "speaker", "the other program's sound")
        for number in (room, server.room):
            server.remove(number)
        wait_for(lambda: sink_of_player(server) == f"{OWN}_silence", "the silent sink")
        play_on(server, meeting)
        assert server.defaults()[1] == f"{OWN}_silence"
        wait_for(lambda: "no loudspeaker" in backend.notice, "a notice")
        assert not np.any(meeting.sound), "another program was heard"
        server.add_room("speaker")
        wait_for(lambda: server.defaults()[1] == "speaker", "the loudspeaker's return")
        wait_for(lambda: not backend.notice, "the end of the notice")


def test_a_program_that_chooses_the_feed_is_moved(server, backend, stranger):
    with backend.virtual_microphone(), Listener(OWN) as meeting, Player(FEED, stranger):
        wait_for(lambda: sink_of_player(server) not in (None, FEED), "another sink")
        assert sink_of_player(server) == "room"
        wait_for(lambda: not np.any(play_on(server, meeting)), "silence in the meeting")
        wait_for(lambda: "kept out" in backend.notice, "a notice")


def test_the_feed_does_not_stay_the_default(server, backend):
    with backend.virtual_microphone():
        with pulsectl.Pulse("test") as pulse:
            pulse.sink_default_set(server.sinks()[FEED])
        wait_for(lambda: server.defaults()[1] == "room", "the loudspeaker as the default")


def streams_of_player():
    with pulsectl.Pulse("test") as pulse:
        return [each for each in pulse.sink_input_list() if "pacat" in str(each.proplist)]


def test_a_program_is_silent_before_it_is_known_where_to_move_it(
    server, backend, stranger, monkeypatch
):
    def slow(pulse, defaults=pulse_server.defaults):
        if any(stream.mute for stream in streams_of_player()):  # not in a look before it came
            time.sleep(1)
        return defaults(pulse)

    with backend.virtual_microphone(), Listener(OWN) as meeting:
        play_on(server, meeting)
        monkeypatch.setattr(pulse_server, "defaults", slow)
        with Player(FEED, stranger):
            wait_for(lambda: sink_of_player(server) == "room", "another sink")
            wait_for(lambda: not streams_of_player()[0].mute, "the sound's return")
            play_on(server, meeting)
        assert np.count_nonzero(meeting.sound) < 0.5 * RATE


def test_a_program_that_was_muted_stays_so(server, backend, stranger):
    with backend.virtual_microphone(), Player("room", stranger):
        (stream,) = wait_for(streams_of_player, "the other program's sound")
        server.ask(
            lambda pulse: pulse.sink_input_mute(stream.index, True),
            lambda: streams_of_player()[0].mute,
            "a muted program",
        )
        server.move(stream.index, FEED, until=lambda: "kept out" in backend.notice)
        wait_for(lambda: sink_of_player(server) == "room", "another sink")
        assert streams_of_player()[0].mute


@pytest.mark.parametrize("server", ["pipewire"], indirect=True)
def test_a_program_is_silent_until_the_server_has_moved_it(server, backend, stranger, monkeypatch):
    """PipeWire takes note of a move; its session manager, here a slow one, carries it out."""
    stopped = Event()

    def stop_manager(pulse, defaults=pulse_server.defaults):
        if not stopped.is_set() and any(stream.mute for stream in streams_of_player()):
            server.signal("wireplumber", signal.SIGSTOP)
            stopped.set()
        return defaults(pulse)

    with backend.virtual_microphone(), Listener(OWN) as meeting:
        play_on(server, meeting)
        monkeypatch.setattr(pulse_server, "defaults", stop_manager)
        with Player(FEED, stranger):
            wait_for(stopped.is_set, "the guard's look")
            play_on(server, meeting, seconds=2)
            server.signal("wireplumber", signal.SIGCONT)
            wait_for(lambda: sink_of_player(server) == "room", "another sink")
            wait_for(lambda: not streams_of_player()[0].mute, "the sound's return")
            play_on(server, meeting)
        assert np.count_nonzero(meeting.sound) < 0.5 * RATE


@pytest.fixture
def forgetful(monkeypatch):
    """Have the server forget what the guard asks it to move, until the event is cleared."""
    forgets = Event()
    forgets.set()

    def forgotten(pulse, *arguments, move=pulsectl.Pulse.sink_input_move):
        if not (forgets.is_set() and current_thread().name == "feed guard"):
            move(pulse, *arguments)

    monkeypatch.setattr(pulsectl.Pulse, "sink_input_move", forgotten)
    return forgets


def test_a_program_is_silent_when_a_move_is_forgotten(server, backend, stranger, forgetful):
    with backend.virtual_microphone(), Listener(OWN) as meeting, Player("room", stranger):
        (stream,) = wait_for(streams_of_player, "the other program's sound")
        server.move(stream.index, FEED, until=lambda: streams_of_player()[0].mute)
        play_on(server, meeting, seconds=3)  # the guard looks several times
        assert sink_of_player(server) == FEED
        forgetful.clear()
        wait_for(lambda: sink_of_player(server) == "room", "another sink")
        wait_for(lambda: not streams_of_player()[0].mute, "the sound's return")
        assert np.count_nonzero(meeting.sound) < 0.5 * RATE


@pytest.mark.usefixtures("forgetful")
def test_no_program_stays_muted_when_the_microphone_goes(server, backend, stranger):
    with Player("room", stranger):
        (stream,) = wait_for(streams_of_player, "the other program's sound")
        with backend.virtual_microphone():
            server.move(stream.index, FEED, until=lambda: streams_of_player()[0].mute)
        wait_for(lambda: not streams_of_player()[0].mute, "the sound's return")
