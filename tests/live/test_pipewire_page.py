"""The configuration in docs/how-to/pipewire.md works on a real PipeWire."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from sordino.live.backends import choose_backend
from sordino.live.config import LiveSettings
from sordino.live.session import Session
from support.signals import tone
from support.sound_servers import RATE, Recorder, Server, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pipewire.md"


@pytest.fixture
def server():
    """Have a PipeWire server with the page's configuration."""
    configuration = re.search(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    with Server("pipewire") as server:
        server.kill()
        folder = server.folder / "config" / "pipewire" / "pipewire.conf.d"
        folder.mkdir(parents=True)
        (folder / "sordino.conf").write_text(configuration)
        server.start()
        server.add_room()
        server.add_microphone()
        yield server


def test_the_filter_chain_is_a_microphone_that_sordino_feeds(server):
    source = wait_for(lambda: server.sources().get("sordino_source"), "the filter chain")
    assert source.description == "Sordino Microphone"
    settings = LiveSettings(virtual_mic=False, output="sordino_feed")
    with closing(choose_backend()) as backend:
        with Session(settings, backend) as session:
            wait_for(lambda: session.status().state == "active", "an active session")
            assert session.status().input_name == "microphone"
        with (
            closing(backend.open_output("sordino_feed", RATE)) as sink,
            Recorder("sordino_source") as recorder,
        ):
            recorder.read(0.1)
            sink.buffer.write(tone(1000, RATE, seconds=0.9))
            wait_for(lambda: abs(recorder.read(0.05)).max() > 0.4, "the tone")
