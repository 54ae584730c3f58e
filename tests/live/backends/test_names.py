"""Devices with any name: they are found, and restored as the default afterwards."""

import subprocess
from contextlib import closing, suppress

import pulsectl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sordino.live.backends import choose_backend
from sordino.live.backends.base import DeviceLost
from support.sound_servers import Server, wait_for

pytestmark = pytest.mark.audio

# PulseAudio allows letters, digits and a few signs in names; PipeWire allows anything.
PULSEAUDIO_NAMES = st.text("abcXYZ019._-", min_size=1, max_size=30)
PIPEWIRE_NAMES = st.text(
    st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"), blacklist_characters='"\\'),
    min_size=1,
    max_size=30,
).map(lambda name: f"x{name}x")  # servers may cut spaces at both ends
SEEN = {
    "pulseaudio": ("alsa_input.usb-0d8c_C-Media-00.mono",),
    "pipewire": (
        "Mikrofon B\N{LATIN SMALL LETTER U WITH DIAERESIS}ro",
        "my room",
        "50% {a=b} 'c'",
    ),
}


@pytest.fixture(scope="module", params=["pulseaudio", "pipewire"])
def server(request):
    with Server(request.param) as server:
        server.add_room()
        yield server


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_any_name_is_found_and_restored(server, data):
    name = data.draw(PULSEAUDIO_NAMES if server.kind == "pulseaudio" else PIPEWIRE_NAMES)
    if name in server.sinks():
        return
    with pulsectl.Pulse("test") as pulse:
        number = pulse.module_load("module-null-sink", f'sink_name="{name}" channels=1')
    try:
        check(server, name)
    finally:
        server.remove(number)
        wait_for(lambda: name not in server.sinks(), "an end of the device")


def check(server, name):
    wait_for(lambda: name in server.sinks(), f"the device {name!r}")
    make_default(server, name)
    modules = server.modules()
    with closing(choose_backend()) as backend:
        assert backend.find_output(name).name == name
        with backend.virtual_microphone() as feed:
            listed = subprocess.run(["pactl", "list", "modules"], capture_output=True)
            assert (listed.returncode, listed.stderr) == (0, b"")
            make_default(server, f"{feed.removesuffix('_feed')}_silence")
            with closing(backend.open_output(name, 48000)) as sink:
                assert sink.alive
        assert server.modules() == modules
    wait_for(lambda: server.defaults()[1] == name, "the default from before")


def make_default(server, name):
    def accepted():
        with pulsectl.Pulse("test") as pulse, suppress(pulsectl.PulseOperationFailed, DeviceLost):
            pulse.sink_default_set(server.sinks()[name])
        return server.defaults()[1] == name

    wait_for(accepted, f"{name!r} as the default")


def test_names_that_were_seen(server):
    for name in SEEN[server.kind]:
        with pulsectl.Pulse("test") as pulse:
            number = pulse.module_load("module-null-sink", f'sink_name="{name}" channels=1')
        check(server, name)
        check_canceller_plays_to(server, name)
        server.remove(number)


def check_canceller_plays_to(server, name):
    make_default(server, "room")  # where a stream goes whose device is not understood
    with closing(choose_backend()) as backend, backend.echo_canceller("room.monitor", name):
        listed = subprocess.run(["pactl", "list", "modules"], capture_output=True)
        assert (listed.returncode, listed.stderr) == (0, b"")
        device = server.sinks()[name].index

        def is_linked():
            with pulsectl.Pulse("test") as pulse:
                return device in {stream.sink for stream in pulse.sink_input_list()}

        wait_for(is_linked, f"a stream into {name!r}")
