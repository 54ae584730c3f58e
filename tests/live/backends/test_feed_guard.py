"""Only Sordino's sound reaches the virtual microphone, wherever other programs play."""

from contextlib import closing

import numpy as np
import pulsectl
import pytest

from sordino.live.backends import choose_backend
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
    with pulsectl.Pulse("test") as pulse:
        pulse.sink_default_set(server.sinks()["speaker"])
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
