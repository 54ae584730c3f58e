"""What the tests of live use share."""

import pytest

from support.sound_servers import Server, wait_for


@pytest.fixture(params=["pulseaudio", "pipewire"])
def server(request):
    """Have a sound server of one's own, with a microphone that hears the sink "room"."""
    with Server(request.param) as server:
        server.room = server.add_room()
        server.microphone = server.add_microphone()
        # PipeWire takes a moment to choose them.
        wait_for(lambda: server.defaults() == ("microphone", "room"), "the default devices")
        yield server
