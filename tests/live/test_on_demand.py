"""The microphone is taken only while a program records Sordino Microphone, on real servers."""

import pulsectl
import pytest

from sordino.errors import SordinoError
from sordino.live.backends import choose_backend
from sordino.live.config import LiveSettings
from sordino.live.session import Session
from support.meeting import NAME
from support.signals import level_db, tone
from support.sound_servers import RATE, Player, Recorder, wait_for


def is_recorded(server, source):
    """Return whether anybody records a source, as a desktop's indicator would show it."""
    index = server.sources()[source].index
    with pulsectl.Pulse("test") as pulse:
        return any(
            each.source == index and each.proplist.get("application.name") == "Sordino"
            for each in pulse.source_output_list()
        )


def test_the_microphone_is_taken_while_somebody_listens(server):
    backend = choose_backend()
    with (
        Player("room", tone(440, RATE, seconds=1, amplitude=0.1), repeat=True),
        Session(LiveSettings(strength=0.0, on_demand=True), backend) as session,
    ):
        for _ in range(2):
            wait_for(lambda: session.status().state == "idle", "an idle session")
            assert "no program records" in session.status().reason
            assert not is_recorded(server, "microphone")
            assert NAME in server.sources()
            with Recorder(NAME) as meeting:
                wait_for(lambda: level_db(meeting.read(0.1)) > -25, "sound in the meeting")
                assert session.status().state == "active"
                assert is_recorded(server, "microphone")
        wait_for(lambda: session.status().state == "idle", "an idle session")
        session.set_on_demand(False)
        wait_for(lambda: session.status().state == "active", "an active session")
        session.set_on_demand(True)
        wait_for(lambda: session.status().state == "idle", "an idle session")
    backend.close()


@pytest.mark.parametrize("other", [{"speaker": True}, {"output": "x"}, {"virtual_mic": False}])
def test_it_needs_the_virtual_microphone(other):
    with pytest.raises(SordinoError, match="on_demand is for the virtual microphone"):
        LiveSettings(on_demand=True, **other)
