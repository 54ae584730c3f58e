"""Sessions on files and simulated devices: memory, lost devices, states, recordings."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sordino import examples
from sordino.denoiser import denoise
from sordino.errors import SordinoError
from sordino.io.audiofile import open_source
from sordino.live import devices
from sordino.live.backends.base import Device, DeviceLost
from sordino.live.config import LiveSettings
from sordino.live.session import Session
from support import models
from support.file_backend import FileBackend
from support.meeting import attempts
from support.memory_ports import MemorySink, MemorySource
from support.models import constant_mask_bytes
from support.signals import agreement_db, level_db, noise, tone

RATE = 48000
TIMEOUT = 120  # seconds; the machine may be busy
TESTS = Path(__file__).parents[1]


@pytest.fixture
def identity(tmp_path):
    path = tmp_path / "identity.onnx"
    path.write_bytes(constant_mask_bytes(0))
    return path


def wait_until(condition, timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.slow
def test_an_hour_in_constant_memory(tmp_path, identity, record_property):
    rate, hop = 16000, 160
    microphone, recording = tmp_path / "minute.wav", tmp_path / "hour.wav"
    sound = noise(60 * rate)
    soundfile.write(microphone, sound, rate, subtype="FLOAT")
    started, resident = time.process_time(), []
    backend = FileBackend(microphone, recording, speed=None, loops=60)
    with Session(LiveSettings(model=identity, sample_rate=rate), backend) as session:
        while not session.wait(0.1):
            if session.status().seconds > 60:
                resident.append(resident_mib())
        status = session.status()
    seconds = time.process_time() - started
    print(f"RSS {resident[0]:.1f} -> {resident[-1]:.1f} MiB, {seconds:.1f} s of CPU")
    record_property("resident_mib", (resident[0], resident[-1]))
    assert resident[-1] - resident[0] < 10
    assert status.seconds == pytest.approx(3600, abs=0.05)
    assert status.underruns == 0
    assert soundfile.info(recording).frames == 3600 * rate + hop
    last = soundfile.read(recording, start=3540 * rate + hop, dtype="float32")[0]
    recording.unlink()  # 230 MB
    assert agreement_db(sound, last) > 100, "a sample was lost or repeated"


@pytest.mark.slow
def test_the_same_sound_as_offline(tmp_path):
    noisy, recording = examples.path("office_48k"), tmp_path / "clean.wav"
    with Session(LiveSettings(), FileBackend(noisy, recording, speed=None)) as session:
        assert session.wait(TIMEOUT)
        assert session.status().model == "default"
        assert session.status().taken_db > 5
    with open_source(noisy) as source:
        sound = np.concatenate(list(source.blocks()))[:, 0]
    out = soundfile.read(recording, dtype="float32")[0][RATE // 100 :]
    assert agreement_db(denoise(sound, RATE, "default"), out) > 100


def test_a_model_that_looks_ahead_is_refused():
    with pytest.raises(SordinoError, match=r"'studio' looks ahead .*'default'"):
        LiveSettings(model="studio").load_models()


def test_it_ends_after_its_seconds(tmp_path, identity):
    soundfile.write(tmp_path / "noise.wav", noise(RATE), RATE)
    backend = FileBackend(tmp_path / "noise.wav", tmp_path / "out.wav", speed=None, loops=None)
    with Session(LiveSettings(model=identity, seconds=2.5), backend) as session:
        assert session.wait(TIMEOUT)
        assert session.status().seconds == 2.5


class SimulatedBackend:
    """A backend whose devices the test plugs and unplugs."""

    name = "simulated"
    notice = ""

    def __init__(self, sound):
        self.inputs = ["usb"]
        self.has_output = self.has_server = True
        self.properties = {}  # of the microphone: fields of `Device` that differ from the usual
        self.sources, self.sinks, self.virtual = [], [], []
        self._sound, self._changes = sound, 0

    def change(self):
        self._changes += 1

    def changes(self):
        return self._changes

    def clean_up(self):
        return []

    def find_input(self, name):
        self._answer()
        if name == "own":
            return Device(name, "Sordino Microphone", "input", RATE, 1, virtual=True)
        wanted = [each for each in self.inputs if name in (None, each)]
        if not wanted:
            raise DeviceLost("there is no microphone: plug one in")
        properties = {"rate": RATE, "channels": 1, **self.properties}
        return Device(wanted[0], wanted[0], "input", **properties)

    def find_output(self, name):
        self._answer()
        if not self.has_output or (name == "virtual" and not self.virtual):
            raise DeviceLost("there is no loudspeaker")
        return Device(name or "speaker", "speaker", "output", RATE, 1)

    def open_input(self, name, rate, channel=None):
        self.find_input(name)
        source = MemorySource(self._sound, rate, realtime=True)
        source.name = name
        source.open()
        self.sources.append(source)
        return source

    def open_output(self, name, rate):
        self.find_output(name)
        sink = MemorySink(rate, realtime=True)
        sink.name = name
        sink.open()
        self.sinks.append(sink)
        return sink

    @contextmanager
    def virtual_microphone(self, label=""):
        self._answer()
        self.virtual.append("virtual")
        yield "virtual"
        self.virtual.clear()

    def unplug(self, device):
        self.inputs.remove(device)
        self.sources[-1].alive = False
        self.change()

    def stop_server(self):
        self.has_server = False
        self.virtual.clear()
        self.sources[-1].alive = self.sinks[-1].alive = False

    def _answer(self):
        if not self.has_server:
            raise DeviceLost("the sound server does not answer")


@pytest.fixture
def backend():
    return SimulatedBackend(noise(60 * RATE))


@pytest.fixture
def settings(identity):
    return LiveSettings(model=identity)


def check_sound_flows(session):
    before = session.status().seconds
    wait_until(lambda: session.status().seconds > before + 0.1)
    assert session.status().state == "active"


@pytest.mark.slow
def test_a_microphone_that_comes_back_is_heard_within_two_seconds(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.unplug("usb")
        wait_until(lambda: session.status().state == "waiting")
        wait_until(lambda: "plug one in" in session.status().reason)
        assert session.status().input_dbfs == -100
        assert backend.virtual, "meeting programs stay connected"

        def come_back():
            backend.inputs.append("usb")
            back = time.monotonic()
            check_sound_flows(session)
            return time.monotonic() - back

        def measure():
            if backend.inputs:
                backend.unplug("usb")
                wait_until(lambda: session.status().state == "waiting")
            return come_back()

        assert attempts(measure, lambda seconds: seconds < 2) < 2
    assert not backend.virtual
    assert all(not each._thread.is_alive() for each in backend.sources + backend.sinks)


@pytest.mark.slow
def test_a_server_that_comes_back_gets_its_virtual_device_again(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.stop_server()
        wait_until(lambda: session.status().state == "waiting")
        wait_until(lambda: "server" in session.status().reason)

        def measure():
            backend.stop_server()
            wait_until(lambda: session.status().state == "waiting")
            backend.has_server = True
            back = time.monotonic()
            check_sound_flows(session)
            return time.monotonic() - back

        assert attempts(measure, lambda seconds: seconds < 2) < 2
        assert backend.virtual == ["virtual"]
        assert session.status().output_name == "virtual"


@pytest.mark.slow
def test_it_may_start_before_its_devices(backend, settings):
    backend.inputs.clear()
    with Session(settings, backend) as session:
        assert session.status().state == "waiting"
        backend.inputs.append("usb")
        check_sound_flows(session)


@pytest.mark.slow
@pytest.mark.parametrize("notified", [True, False])
def test_a_new_default_is_followed(backend, settings, notified):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.inputs.insert(0, "headset")
        if notified:
            backend.change()
        wait_until(lambda: session.status().input_name == "headset")
        check_sound_flows(session)


def test_an_own_device_is_refused_and_the_microphone_stays(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        with pytest.raises(SordinoError, match="choose a real microphone"):
            session.set_input("own")
        assert session.input is None
        check_sound_flows(session)
        assert len(backend.sources) == 1


@pytest.mark.slow
def test_a_device_that_must_not_be_used_any_more_is_waited_for(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.properties["virtual"] = True
        backend.change()
        wait_until(lambda: "choose a real microphone" in session.status().reason)
        assert session.status().state == "waiting"
        backend.properties.clear()
        check_sound_flows(session)


@pytest.mark.slow
def test_a_muted_microphone_is_said(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.properties["muted"] = True
        wait_until(lambda: session.status().state == "muted")
        assert session.status().reason == "usb is muted in the sound settings: switch it on there"
        assert not session.muted
        backend.properties.clear()
        wait_until(lambda: session.status().state == "active")


def test_the_rate_shown_is_the_devices_own(backend, settings):
    backend.properties["rate"] = 16000
    with Session(settings, backend) as session:
        check_sound_flows(session)
        assert (session.status().input_rate, session.status().output_rate) == (16000, RATE)


@pytest.mark.slow
def test_a_device_that_was_named_is_kept(backend, identity):
    settings = LiveSettings(model=identity, input="usb")
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.inputs.insert(0, "headset")
        backend.change()
        time.sleep(0.5)
        assert len(backend.sources) == 1
        backend.unplug("usb")
        wait_until(lambda: session.status().state == "waiting")


@pytest.mark.slow
def test_a_device_that_falls_silent_is_reopened(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        backend.sources[-1].stalled = True
        wait_until(lambda: len(backend.sources) > 1)
        check_sound_flows(session)


def test_after_a_sleep_devices_are_reopened(backend, settings, monkeypatch):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        asleep = time.time() + 8 * 3600
        monkeypatch.setattr(devices.time, "time", lambda: asleep)  # and then the clock stands still
        wait_until(lambda: len(backend.sources) > 1)
        check_sound_flows(session)
        assert backend.virtual == ["virtual"], "meeting programs stay connected"
        assert len(backend.sources) == len(backend.sinks) == 2


@pytest.mark.slow
def test_what_went_by_survives_a_change_of_devices(backend, settings):
    with Session(settings, backend) as session:
        wait_until(lambda: session.status().seconds > 1)
        backend.unplug("usb")
        wait_until(lambda: session.status().state == "waiting")
        seconds = session.status().seconds
        assert len(session.recent(10).noisy) == round(seconds * RATE)
        backend.inputs.append("usb")
        wait_until(lambda: session.status().seconds > seconds)


def test_states_and_their_reasons(backend, settings):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        wait_until(lambda: session.status().input_dbfs > -50)
        status = session.status()
        assert (status.reason, status.model) == ("", "test")
        assert status.input_dbfs == pytest.approx(level_db(noise(RATE)), abs=1)
        session.set_bypass(True)
        assert session.status().state == "bypassed"
        session.set_muted(True)
        assert session.status().state == "muted"
        wait_until(lambda: session.status().output_dbfs < -90)
        session.set_strength(0.3)
        assert session.status().strength == 0.3
        with pytest.raises(SordinoError, match="strength"):
            session.set_strength(1.5)


def test_a_failure_inside_ends_the_session(backend, settings, monkeypatch):
    with Session(settings, backend) as session:
        check_sound_flows(session)

        def broken(*_):
            raise RuntimeError("broken")

        monkeypatch.setattr(session._engine, "_denoised", broken)
        with pytest.raises(SordinoError, match="broken"):
            session.wait(TIMEOUT)
        assert session.status().state == "waiting"


def test_a_voice_needs_a_model_that_was_trained_with_voices(backend, tmp_path):
    path = models.voice(0, "me").save(tmp_path / "me.voice")
    with pytest.raises(SordinoError, match="not trained to keep one voice"):
        Session(LiveSettings(model="small", voice=path), backend)
    with pytest.raises(SordinoError, match="cannot read the voice"):
        Session(LiveSettings(voice=tmp_path / "nobody.voice"), backend)


@pytest.fixture
def voices(tmp_path):
    path = tmp_path / "voices.onnx"
    path.write_bytes(models.voices_bytes())
    return path


@pytest.mark.slow
def test_voices_are_chosen_while_it_runs(tmp_path, voices):
    low, high = tone(300, RATE, 1, 0.1), tone(3000, RATE, 1, 0.3)
    backend = SimulatedBackend(np.tile(low + high, 60))
    me = models.voice(0, "me")

    def is_at(level):
        return lambda: session.status().output_dbfs == pytest.approx(level, abs=0.5)

    with Session(LiveSettings(model=voices, voice_fallback=None), backend) as session:
        wait_until(is_at(level_db(low + high)))
        assert session.status().voice == ""
        session.set_voice(me)
        wait_until(is_at(level_db(low)))
        assert session.voices == (me,)
        session.set_voice([me, models.voice(1, "anna")])
        wait_until(is_at(level_db(low + high)))
        assert session.status().voice == "me and anna"
        assert session.status().voice_probability > 0.9
        session.set_voice(None)
        wait_until(lambda: session.status().voice_probability is None and session.status().model)
        with pytest.raises(SordinoError, match="no voice is called 'nobody'"):
            session.set_voice("nobody")
        assert session.voices == ()


@pytest.mark.slow
def test_a_session_tells_that_the_voice_is_missing_and_keeps_everybody(voices):
    high = tone(3000, RATE, 1, 0.3)
    backend = SimulatedBackend(np.tile(high, 60))
    settings = LiveSettings(model=voices, voice=models.voice(0, "me"), voice_fallback=1.0)
    with Session(settings, backend) as session:
        wait_until(lambda: session.status().notice)
        assert session.status().notice == (
            "people speak, but me is not heard: everybody is kept until it is heard"
        )
        wait_until(lambda: session.status().output_dbfs == pytest.approx(level_db(high), abs=0.5))


@pytest.mark.parametrize(
    "wrong", [{"strength": 2}, {"seconds": 0}, {"sample_rate": 100}, {"attenuation_limit_db": -1}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(SordinoError):
        LiveSettings(**wrong)


@pytest.mark.slow
def test_a_recording_on_demand_begins_now_and_ends_by_itself(backend, settings, tmp_path):
    with Session(settings, backend) as session:
        check_sound_flows(session)
        noisy, clean = session.record(0.5, tmp_path / "new" / "folder")
        assert not noisy.exists()
        wait_until(lambda: clean.exists())
        check_sound_flows(session)
        assert session._monitor.recorders == ()
    assert soundfile.info(noisy).frames == soundfile.info(clean).frames == RATE // 2
    assert (
        list(noisy.parent.iterdir()) == sorted([noisy, clean])
        or len(list(noisy.parent.iterdir())) == 2
    )


def test_a_session_is_recorded_to_its_end(tmp_path, identity):
    sound = noise(3 * RATE + 77)
    soundfile.write(tmp_path / "noise.wav", sound, RATE, subtype="FLOAT")
    backend = FileBackend(tmp_path / "noise.wav", tmp_path / "out.wav", speed=None)
    with Session(LiveSettings(model=identity, record=tmp_path / "kept"), backend) as session:
        assert session.wait(TIMEOUT)
    clean, noisy = sorted((tmp_path / "kept").iterdir())
    for path in (clean, noisy):
        kept = soundfile.read(path, dtype="float32")[0][RATE // 100 :]
        assert np.abs(kept[: len(sound)] - sound).max() <= 0.5 / 32768 + 1e-7


def test_a_folder_that_cannot_be_written_to_is_said_at_once(backend, identity, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SordinoError, match="cannot record"):
        Session(LiveSettings(model=identity, record=tmp_path / "file"), backend).start()
    assert not backend.sources


PROGRAM = """
import signal, sys, threading
sys.path.insert(0, sys.argv.pop(1))
from pathlib import Path
from support import models
from support.file_backend import FileBackend
from sordino.live.session import Session
from sordino.live.config import LiveSettings

model, microphone, folder, handles = sys.argv[1:]
asked = threading.Event()
if handles == "handles":
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
backend = FileBackend(Path(microphone), Path(folder) / "out.wav", loops=None)
with Session(LiveSettings(model=Path(model), record=Path(folder) / "kept"), backend) as session:
    while session.status().seconds < 2.5:
        session.wait(0.05)
    print("ready", flush=True)
    asked.wait()
"""


@pytest.mark.parametrize("ending", ["SIGTERM handled", "SIGTERM", "SIGKILL"])
@pytest.mark.slow
def test_a_recording_survives(ending, tmp_path, identity):
    soundfile.write(tmp_path / "noise.wav", noise(RATE), RATE)
    handles = "handles" if "handled" in ending else "default"
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        TESTS,
        identity,
        tmp_path / "noise.wav",
        tmp_path,
        handles,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(getattr(signal, ending.split()[0]))
        program.wait(TIMEOUT)
    kept = tmp_path / "kept"
    if handles == "handles":
        assert program.returncode == 0
    else:
        assert sorted(path.suffix for path in kept.iterdir()) == [".part", ".part"]
        # The next run gives what was left its name.
        microphone = tmp_path / "noise.wav"
        backend = FileBackend(microphone, tmp_path / "out.wav", speed=None)
        with Session(LiveSettings(model=identity, record=kept), backend) as session:
            session.wait(TIMEOUT)
    paths = sorted(kept.iterdir())
    assert {path.suffix for path in paths} == {".wav"}
    assert len(paths) == (2 if handles == "handles" else 4)
    for path in paths[:2]:
        sound, rate = soundfile.read(path)
        assert rate == RATE
        assert len(sound) >= 1.9 * RATE
        assert level_db(sound) == pytest.approx(level_db(noise(RATE)), abs=1)


def test_threads_end_with_the_session(backend, settings):
    before = set(threading.enumerate())
    with Session(settings, backend) as session:
        check_sound_flows(session)
        session.stop()
        session.stop()
    assert set(threading.enumerate()) <= before
