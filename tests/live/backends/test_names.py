"""Devices with any name: they are found, and restored as the default afterwards."""

import subprocess
from contextlib import closing

import pulsectl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sordino.errors import SordinoError
from sordino.live.backends import choose_backend
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
    server.set_default_sink(name)
    modules = server.modules()
    with closing(choose_backend()) as backend:
        assert backend.find_output(name).name == name
        with backend.virtual_microphone() as feed:
            listed = subprocess.run(["pactl", "list", "modules"], capture_output=True)
            assert (listed.returncode, listed.stderr) == (0, b"")
            server.set_default_sink(f"{feed.removesuffix('_feed')}_silence")
            with closing(backend.open_output(name, 48000)) as sink:
                assert sink.alive
        assert server.modules() == modules
    wait_for(lambda: server.defaults()[1] == name, "the default from before")


def test_names_that_were_seen(server):
    for name in SEEN[server.kind]:
        with pulsectl.Pulse("test") as pulse:
            number = pulse.module_load("module-null-sink", f'sink_name="{name}" channels=1')
        check(server, name)
        server.remove(number)


def test_the_canceller_takes_devices_of_any_name(server):
    others = {"pulseaudio": ("x_1.y-z",), "pipewire": ('a "b" c', "back\\slash x", "a=b", "#1")}
    names = SEEN[server.kind] + others[server.kind]
    numbers = [add_sink(server, name) for name in names]
    # Where a stream goes whose device is not understood: to the default, or what is best or last.
    numbers.append(add_sink(server, "decoy", "sink_properties=priority.session=9000"))
    server.set_default_sink("decoy")
    for heard, played in zip(names, (*names[1:], names[0]), strict=True):
        check_canceller_links(server, f"{heard}.monitor", played)
    for number in numbers:
        server.remove(number)


def add_sink(server, name, properties=""):
    sign = "'" if '"' in name else '"'
    return server.load(
        "module-null-sink", f"sink_name={sign}{name}{sign} channels=1 {properties}", name
    )


def check_canceller_links(server, microphone, loudspeaker):
    with closing(choose_backend()) as backend, backend.echo_canceller(microphone, loudspeaker):
        listed = subprocess.run(["pactl", "list", "modules"], capture_output=True)
        assert (listed.returncode, listed.stderr) == (0, b"")
        ends = server.sources()[microphone].index, server.sinks()[loudspeaker].index

        def is_linked():
            with pulsectl.Pulse("test") as pulse:
                heard = [stream.source for stream in pulse.source_output_list()]
                played = [stream.sink for stream in pulse.sink_input_list()]
                return (*heard, *played) == ends

        wait_for(is_linked, f"streams from {microphone!r} and into {loudspeaker!r}")


@pytest.mark.parametrize("name", ["both \" and '", "end\\"])
def test_a_name_that_no_quotes_can_hold_is_refused(server, name):
    with (
        closing(choose_backend()) as backend,
        pytest.raises(SordinoError, match="cannot be told of a device with the name"),
        backend.echo_canceller("room.monitor", name),
    ):
        pass
