"""Choosing, recording and remembering a voice in the tray; only the screen is in memory."""

from contextlib import ExitStack
from threading import Event

import pytest
import soundfile

from support import models
from support.desktop import application, require_qt, spin_until

require_qt()

from sordino.live.config import LiveSettings  # noqa: E402
from sordino.live.monitor import Status  # noqa: E402
from sordino.live.tray.app import Tray  # noqa: E402
from sordino.live.tray.controller import Controller  # noqa: E402
from sordino.live.tray.enrolment import EnrolmentDialog  # noqa: E402
from sordino.live.tray.preferences import Preferences  # noqa: E402
from sordino.live.tray.window import EVERYBODY, state_words  # noqa: E402
from sordino.voice import Voice  # noqa: E402
from sordino.voice.encoder import VoiceEncoder  # noqa: E402
from support.file_backend import FileBackend  # noqa: E402
from support.voices import TiltEncoder, packaged_voice_model, recording  # noqa: E402


@pytest.fixture
def tray(tmp_path, monkeypatch, voices_folder):
    """A tray whose microphone hears somebody speak, over and over."""
    application()
    monkeypatch.setattr(VoiceEncoder, "load", TiltEncoder)
    microphone = tmp_path / "speech.wav"
    soundfile.write(microphone, *recording("allison", 12))
    (tmp_path / "weights").mkdir()
    with ExitStack() as stack:
        stack.enter_context(packaged_voice_model(tmp_path / "weights"))
        backend = FileBackend(microphone, tmp_path / "clean.wav", speed=None, loops=None)
        preferences = Preferences(tmp_path / "tray.ini")
        controller = Controller(LiveSettings(sample_rate=16000), backend, preferences)
        stack.callback(controller.stop)
        tray = Tray(controller, Event())
        stack.callback(tray.close)
        controller.start()
        tray.start()
        yield tray


def listed(tray):
    return [tray.window.voice.itemText(i) for i in range(tray.window.voice.count())]


def choose(tray, text):
    index = tray.window.voice.findText(text)
    tray.window.voice.setCurrentIndex(index)
    tray.window.voice.activated.emit(index)


@pytest.mark.slow
def test_a_voice_is_recorded_chosen_and_remembered(tray, tmp_path):
    session = tray.controller.session
    spin_until(lambda: session.status().seconds > 12, "speech")
    assert listed(tray) == [EVERYBODY, "Record my voice …"]
    choose(tray, "Record my voice …")
    dialog = tray.window.findChild(EnrolmentDialog)
    assert dialog.name.text() == "me"
    dialog._clock.start()
    dialog._timer.start()
    spin_until(lambda: dialog._clock.elapsed() > 300, "a moment")
    dialog.start.click()
    spin_until(lambda: "s of speech" in dialog.note.text(), "too little speech")
    assert session.voices == ()
    tray.controller.enrol("me", 12.0)
    spin_until(lambda: session.voices, "the voice")
    assert [each.name for each in session.voices] == ["me"]
    assert tray.window.voice.currentText() == "me only"
    assert Voice.load("me").seconds > 6
    remembered = Preferences(tmp_path / "tray.ini").settings({})
    assert remembered.voice == "me"
    choose(tray, EVERYBODY)
    assert session.voices == ()
    assert listed(tray) == [EVERYBODY, "me only", "Record my voice …"]


def test_a_profile_that_is_gone_is_told_and_everybody_is_kept(tray, voices_folder):
    models.voice(0, "me").save()
    tray.window._list_voices()
    (voices_folder / "me.voice").unlink()
    choose(tray, "me only")
    assert tray.controller.session.voices == ()
    assert tray.window.voice.currentText() == EVERYBODY


def test_the_tray_tells_that_the_voice_is_missing():
    status = Status(state="active", notice="people speak, but me is not heard")
    assert state_words(status) == "the noise is taken out; people speak, but me is not heard"
