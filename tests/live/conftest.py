"""What the tests of live use share."""

from pathlib import Path

import pytest

from support.sound_servers import Server, wait_for


def pytest_collection_modifyitems(items):
    """Mark what starts a sound server."""
    for item in items:
        uses = {"server", "pulseaudio"} & set(getattr(item, "fixturenames", ()))
        if uses and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.audio)


@pytest.fixture(params=["pulseaudio", "pipewire"])
def server(request):
    """Have a sound server of one's own, with a microphone that hears the sink "room"."""
    with Server(request.param) as server:
        server.room = server.add_room()
        server.microphone = server.add_microphone()
        # PipeWire takes a moment to choose them.
        wait_for(lambda: server.defaults() == ("microphone", "room"), "the default devices")
        yield server
