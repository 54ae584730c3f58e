"""What the tests of live use share."""

import pytest

from live.servers import Server


@pytest.fixture(params=["pulseaudio", "pipewire"])
def server(request):
    """Have a sound server of one's own, with a microphone that hears the sink "room"."""
    with Server(request.param) as server:
        server.add_room()
        server.microphone = server.add_microphone()
        yield server
