"""The backend of Linux, against real PulseAudio and PipeWire servers."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle

import numpy as np
import pulsectl
import pytest

from sordino.errors import SordinoError
from sordino.live.backends import MICROPHONE, choose_backend
from sordino.live.backends.base import DeviceLost
from sordino.live.backends.pulse import PulseBackend
from support.signals import level_db, tone
from support.sound_servers import RATE, Player, Recorder, wait_for

OWN = "sordino_microphone"


@pytest.fixture
def backend(server):
    with closing(choose_backend()) as backend:
        assert isinstance(backend, PulseBackend)
        yield backend


def collect(source, seconds):
    """Return the next samples of a source."""
    count = round(seconds * source.sample_rate)
    block = np.empty(count, np.float32)
    wait_for(lambda: source.buffer.readable >= count, "sound from the source")
    source.buffer.read(block)
    return block


def wait_for_tone(read, frequency, amplitude, rate=RATE):
    """Read until 0.1 s without a gap have a tone of this amplitude, to 0.1 dB."""

    def is_there():
        block = read(0.1)
        turn = np.exp(-2j * np.pi * frequency * np.arange(len(block)) / rate)
        found = 2 * abs(np.mean(block * turn))
        return abs(20 * np.log10(found / amplitude + 1e-9)) < 0.1

    wait_for(is_there, f"{frequency} Hz at {amplitude}")


@contextmanager
def playing(sink, sound):
    """Write a sound into a sink's buffer, as the engine does, as fast as there is room."""
    ended = threading.Event()

    def write():
        done = 0
        while done < len(sound) and not ended.wait(0.002):
            done += sink.buffer.write(sound[done:])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_lists_devices(server, backend):
    inputs = {each.name: each for each in backend.devices() if each.kind == "input"}
    outputs = {each.name: each for each in backend.devices() if each.kind == "output"}
    assert inputs.keys() == {"room.monitor", "microphone"}
    assert inputs["room.monitor"].monitor
    assert not inputs["microphone"].monitor
    assert inputs["microphone"].default
    assert (inputs["microphone"].rate, inputs["microphone"].channels) == (48000, 1)
    assert outputs.keys() == {"room"}
    assert outputs["room"].default


def test_a_muted_microphone_and_the_rate_of_a_headset_are_known(server, backend):
    mono = "rate=16000 channels=1 channel_map=mono"
    server.load("module-null-sink", f"sink_name=car {mono}", "car")
    server.load("module-remap-source", f"source_name=headset master=car.monitor {mono}", "headset")
    assert backend.find_input("car.monitor").rate == 16000

    def switch(mute, volume):
        def change(pulse):
            pulse.mute(server.sources()["headset"], mute)
            pulse.volume_set_all_chans(server.sources()["headset"], volume)

        muted = mute or not volume
        server.ask(change, lambda: backend.find_input("headset").muted == muted, f"muted: {muted}")

    for mute, volume in [(True, 1.0), (False, 0.0)]:
        assert not backend.find_input("headset").muted
        switch(mute, volume)
        switch(False, 1.0)


def test_takes_no_monitor_and_none_of_its_own_by_default(server, backend):
    with backend.virtual_microphone():
        server.set_default_source(OWN)
        assert backend.find_input(None).name == "microphone"
        server.set_default_source("room.monitor")
        assert backend.find_input(None).name == "microphone"
        server.remove(server.microphone)
        with pytest.raises(DeviceLost, match="no microphone"):
            backend.find_input(None)
        assert backend.find_input("room.monitor").monitor


def test_finds_devices_by_name_and_by_label(server, backend):
    device = backend.find_input("microphone")
    assert backend.find_input(device.label.upper()) == device
    with pytest.raises(DeviceLost, match="'webcam'"):
        backend.find_input("webcam")


@pytest.mark.parametrize("rate", [48000, 16000])
def test_source_hears_the_room(server, backend, rate):
    sound = tone(440, RATE, seconds=20, amplitude=0.5)
    with Player("room", sound), closing(backend.open_input(None, rate)) as source:
        assert source.sample_rate == rate
        wait_for_tone(lambda seconds: collect(source, seconds), 440, 0.5, rate)
        assert source.alive


def test_sink_plays_what_is_in_its_ring_and_silence_when_it_is_empty(server, backend):
    with closing(backend.open_output(None, RATE)) as sink, Recorder("room.monitor") as recorder:
        recorder.read(0.1)  # it listens
        with playing(sink, tone(1000, RATE, seconds=30, amplitude=0.5)):
            wait_for_tone(recorder.read, 1000, 0.5)
        wait_for(lambda: np.all(recorder.read(0.1) == 0), "silence")
        assert not sink.buffer.readable
        assert sink.xruns > 0


def test_sound_moves_in_steps_that_cost_little(server, backend):
    """A frame of 10 ms is recorded in one step on PulseAudio, in two on PipeWire."""
    server.add_room("hall")  # what is played there does not set the microphone's pace
    steps = {"source": [], "sink": []}

    def noted(name, move):
        def move_and_note(block):
            steps[name].append(len(block))
            return move(block)

        return move_and_note

    with closing(backend.open_input(None, RATE)) as source:
        source.buffer.write = noted("source", source.buffer.write)
        with closing(backend.open_output("hall", RATE)) as sink:
            sink.buffer.read = noted("sink", sink.buffer.read)
            collect(source, 1.0)
            wait_for(lambda: sum(steps["sink"]) > RATE, "a second in the sink")
    for name, sizes in steps.items():
        rate = len(sizes) * RATE / sum(sizes)
        print(f"{name}: {rate:.0f} steps a second")
        assert rate < (120 if (server.kind, name) == ("pulseaudio", "source") else 240)


def test_mixers_show_sordino(server, backend):
    with ExitStack() as stack:
        stack.enter_context(closing(backend.open_input(None, RATE)))
        stack.enter_context(closing(backend.open_output(None, RATE)))
        pulse = stack.enter_context(pulsectl.Pulse("test"))
        recording = [each.proplist.get("application.name") for each in pulse.source_output_list()]
        playing = [each.proplist.get("application.name") for each in pulse.sink_input_list()]
    assert recording.count("Sordino") == 1
    assert playing.count("Sordino") == 1


def test_a_lost_device_is_noticed_and_its_stream_is_not_moved(server, backend):
    server.add_microphone("second")
    with closing(backend.open_input("microphone", RATE)) as source:
        collect(source, 0.05)
        server.remove(server.microphone)
        wait_for(lambda: not source.alive, "the loss")
    with pytest.raises(DeviceLost, match="'microphone'"):
        backend.open_input("microphone", RATE)
    server.add_microphone()
    with closing(backend.open_input("microphone", RATE)) as source:
        collect(source, 0.05)


def test_a_lost_server_is_noticed(server, backend):
    with ExitStack() as stack:
        ports = [backend.open_input(None, RATE), backend.open_output(None, RATE)]
        for port in ports:
            stack.callback(port.close)
        server.kill()
        wait_for(lambda: not any(port.alive for port in ports), "the loss")
        with pytest.raises(DeviceLost, match="does not answer"):
            backend.devices()
        assert backend.name == "no sound server"
        server.start()
        server.add_room()
        server.add_microphone()
        with closing(backend.open_input(None, RATE)) as source:
            collect(source, 0.05)


def test_virtual_microphone_carries_sound_under_its_name(server, backend):
    with backend.virtual_microphone() as feed, closing(backend.open_output(feed, RATE)) as sink:
        assert server.sources()[OWN].description == MICROPHONE == "Sordino Microphone"
        assert "monitor_of_sink" not in server.sources()[OWN].proplist
        with Recorder(OWN) as recorder:
            recorder.read(0.1)
            with playing(sink, tone(1000, RATE, seconds=30, amplitude=0.25)):
                wait_for_tone(recorder.read, 1000, 0.25)


def test_virtual_loudspeaker_is_heard(server, backend):
    with backend.virtual_loudspeaker() as name, closing(backend.open_input(name, RATE)) as source:
        assert server.sinks()["sordino_loudspeaker"].description == "Sordino Loudspeaker"
        with Player("sordino_loudspeaker", tone(500, RATE, seconds=20, amplitude=0.25)):
            wait_for_tone(lambda seconds: collect(source, seconds), 500, 0.25)
    assert server.sinks().keys() == {"room"}


def test_all_is_as_before_afterwards(server, backend):
    server.add_microphone("second")
    server.set_default_source("microphone")
    modules, defaults = server.modules(), server.defaults()
    with backend.virtual_microphone(), backend.virtual_loudspeaker():
        assert server.defaults() == defaults
        server.set_default_source(OWN)
    wait_for(lambda: server.defaults() == defaults, f"{defaults} as defaults")
    assert server.modules() == modules


def test_a_default_chosen_meanwhile_stays(server, backend):
    server.add_microphone("second")
    server.set_default_source("microphone")
    with backend.virtual_microphone():
        server.set_default_source("second")
    assert server.defaults()[0] == "second"


def test_a_second_one_is_refused_unless_it_has_another_label(server, backend):
    with backend.virtual_microphone():
        with pytest.raises(SordinoError, match=f"process {os.getpid()} "):
            backend.virtual_microphone().__enter__()
        server.set_default_source(OWN)
        with backend.virtual_microphone("Sordino Test"):
            assert server.sources()["sordino_test"].description == "Sordino Test"
        assert server.defaults()[0] == OWN  # it was not this one's to restore
        assert OWN in server.sources()


def test_virtual_microphone_survives_the_server(server, backend):
    with backend.virtual_microphone() as before:
        server.kill()
    server.start()
    with backend.virtual_microphone() as feed:
        assert feed == before
        assert server.sources()[OWN].description == MICROPHONE
    assert OWN not in server.sources()


_HOLDER = """
import signal
from sordino.live.backends import choose_backend
with choose_backend().virtual_microphone():
    print("there", flush=True)
    signal.pause()
"""


def test_what_a_killed_process_left_is_removed(server, backend):
    server.add_microphone("second")
    server.set_default_source("second")
    modules = server.modules()
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"there\n"
        server.set_default_source(OWN)
        assert backend.clean_up() == []  # it lives
        with pytest.raises(SordinoError, match=f"process {holder.pid} "):
            backend.virtual_microphone().__enter__()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert OWN in server.sources()
    assert backend.clean_up() == [f"{OWN}_silence", f"{OWN}_feed", OWN]
    wait_for(lambda: server.defaults()[0] == "second", "the default from before")
    assert server.modules() == modules
    assert backend.clean_up() == []


def test_changes_are_noticed(server, backend):
    seen = backend.changes()

    def next_change(what):
        nonlocal seen
        wait_for(lambda: backend.changes() > seen, what)
        seen = settled(backend)

    seen = settled(backend)
    number = server.add_microphone("second")
    next_change("a new device")
    names = cycle(("second", "microphone"))

    def noticed():  # PipeWire does not tell of each
        server.set_default_source(next(names))
        return settled(backend) > seen

    wait_for(noticed, "another default")
    seen = settled(backend)
    server.remove(number)
    next_change("a device less")
    server.kill()
    next_change("the server's end")
    server.start()
    next_change("the server's return")


def settled(backend):
    """Return the number of changes when there have been none for a while."""
    recorded = []

    def quiet():
        recorded.append(backend.changes())
        return len(recorded) > 20 and recorded[-20] == recorded[-1]

    wait_for(quiet, "an end of changes")
    return recorded[-1]


def test_level_of_silence_is_none(server, backend):
    with closing(backend.open_input(None, RATE)) as source:
        assert level_db(collect(source, 0.1)) < -200
