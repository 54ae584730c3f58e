"""Fixtures for tests of live use."""

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
    """Run a private sound server with a microphone that records the sink "room".

    The sink stands for the acoustic room: what a test plays into it, the microphone picks up.
    """
    with Server(request.param) as server:
        server.room = server.add_room()
        server.microphone = server.add_microphone()
        # PipeWire takes a moment to choose them.
        wait_for(lambda: server.defaults() == ("microphone", "room"), "the default devices")
        yield server
