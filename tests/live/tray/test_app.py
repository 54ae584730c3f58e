"""The tray with a real session on a real PulseAudio server; only the screen is in memory."""

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import soundfile as sf

from support.desktop import application, require_qt, spin_until
from support.signals import tone
from support.sound_servers import (
    RATE,
    TIMEOUT,
    Player,
    Recorder,
    Server,
    undisturbed,
    wait_for,
)

require_qt()
pytestmark = [pytest.mark.slow, pytest.mark.audio]

from PySide6.QtCore import Qt, QTimer  # noqa: E402
from PySide6.QtGui import QAccessible, QImage  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402
from PySide6.QtWidgets import QApplication, QLabel, QSystemTrayIcon  # noqa: E402

from sordino import examples  # noqa: E402
from sordino.errors import SordinoError, install_command  # noqa: E402
from sordino.live.backends import MICROPHONE, choose_backend  # noqa: E402
from sordino.live.config import LiveSettings  # noqa: E402
from sordino.live.monitor import Status  # noqa: E402
from sordino.live.tray import run  # noqa: E402
from sordino.live.tray.app import Tray  # noqa: E402
from sordino.live.tray.controller import Controller  # noqa: E402
from sordino.live.tray.player import COMPARE_SECONDS  # noqa: E402
from sordino.live.tray.preferences import Preferences  # noqa: E402
from sordino.live.tray.widgets import COLUMNS, ROWS, row_of  # noqa: E402
from sordino.live.tray.window import facts  # noqa: E402
from support.file_backend import FileBackend  # noqa: E402

LEVEL = 0.1  # of the tones: -23 dBFS


@pytest.fixture(scope="module")
def server():
    """Two microphones that hear tones of 1 and 3 kHz, and headphones."""
    with Server("pulseaudio") as server, ExitStack() as stack:
        server.add_room("phones")
        for name, hertz in (("first", 1000), ("second", 3000)):
            server.add_room(f"{name}_room")
            server.add_microphone(name, f"{name}_room")
            sound = tone(hertz, RATE, 1.0, LEVEL)  # whole periods: it repeats without a seam
            stack.enter_context(Player(f"{name}_room", sound, repeat=True))
        server.set_default_source("first")
        server.set_default_sink("phones")
        yield server


@pytest.fixture(scope="module")
def running(server):
    application()
    controller = Controller(LiveSettings(), choose_backend(), Preferences())
    tray = Tray(controller, Event())
    try:
        controller.start()
        tray.start()
        yield tray
    finally:
        tray.close()
        controller.stop()


@pytest.fixture
def tray(running):
    """Have it as after the start: cleaning, at full strength, with the default microphone."""
    running.controller.set_cleaning(True)
    running.controller.set_muted(False)
    running.window.strength.setValue(100)
    running.open()
    spin_until(lambda: running.controller.status().state == "active", "cleaning", TIMEOUT)
    return running


def press(widget, key, modifier=Qt.KeyboardModifier.NoModifier):
    QTest.keyClick(widget, key, modifier)


def loudest_row(spectrogram):
    """Return the row of the picture that is brightest in the newest half second."""
    width, height = COLUMNS, 288
    spectrogram.resize(width, height)
    image = spectrogram.grab().toImage()
    grey = image.convertToFormat(image.Format.Format_Grayscale8)
    rows = np.frombuffer(grey.constBits(), np.uint8).reshape(height, grey.bytesPerLine())
    recent = rows[40:, width - 80 : width - 55].mean(axis=1)  # beside the labels of the scale
    return 40 + int(recent.argmax()), float(recent.max())


def test_opens_the_window_where_there_is_no_tray(tray):
    assert not QSystemTrayIcon.isSystemTrayAvailable()  # in memory there is none
    assert tray.window.isVisible()
    assert QApplication.quitOnLastWindowClosed()


def test_says_what_it_does(tray):
    spin_until(lambda: "speech" in tray.window.facts.text(), "figures")
    spoken = QAccessible.queryAccessibleInterface(tray.window.state)
    assert spoken.text(QAccessible.Text.Name) == "The noise is taken out"
    assert MICROPHONE in [label.text() for label in tray.window.findChildren(QLabel)]
    assert tray.icon.toolTip() == "Sordino: the noise is taken out"
    assert re.search(r"latency \d+ ms .*CPU \d+ % .*underruns \d+ .*model default",
                     tray.window.facts.text())  # fmt: skip


@pytest.mark.parametrize(("taken", "words"), [(18.24, "18.2 dB"), (-0.3, "none")])
def test_the_noise_taken_is_in_the_words_of_the_command(taken, words):
    assert facts(Status(taken_db=taken)).startswith(f"noise taken {words} ")


def test_all_figures_are_in_the_window(tray):
    shown = Status(
        taken_db=31.3,
        speech_probability=0.97,
        latency_seconds=0.12,
        cpu_share=0.24,
        underruns=12,
        model="default-voice",
    )
    label = tray.window.facts
    assert label.fontMetrics().horizontalAdvance(facts(shown)) <= label.width()


def test_strength_follows_the_slider(tray):
    slider = tray.window.strength
    slider.setValue(100)
    press(slider, Qt.Key.Key_Left)
    press(slider, Qt.Key.Key_PageDown)
    assert tray.controller.status().strength == pytest.approx(0.89)
    assert tray.window.strength_text.text() == "89 %"
    press(slider, Qt.Key.Key_Home)
    assert tray.controller.status().strength == 0


def test_spectrogram_shows_the_tone_in_its_row(tray):
    def shown():
        row, brightness = loudest_row(tray.window.noisy)
        return brightness > 100 and row

    row = spin_until(shown, "a bright row")
    assert row == pytest.approx(2 * row_of(1000), abs=3)


def test_meters_show_the_levels(tray):
    rms = 20 * np.log10(LEVEL / np.sqrt(2))
    spin_until(lambda: tray.window.input_meter.dbfs == pytest.approx(rms, abs=1), "the level")
    tray.controller.set_cleaning(False)  # a tone is no speech: cleaned, little of it is left
    spin_until(lambda: tray.window.output_meter.dbfs == pytest.approx(rms, abs=1), "the level")


def test_switch_and_menu_say_the_same(tray):
    press(tray.window.switch, Qt.Key.Key_Space)
    assert not tray.clean_action.isChecked()
    spin_until(lambda: tray.controller.status().state == "bypassed", "bypass")
    spin_until(lambda: "as it is" in tray.window.state.text(), "saying so")
    bypassed = tray.icon.icon().cacheKey()
    tray.clean_action.trigger()
    assert tray.window.switch.isChecked()
    spin_until(lambda: tray.controller.status().state == "active", "cleaning")
    spin_until(lambda: tray.icon.icon().cacheKey() != bypassed, "another icon")


def test_muting_reaches_the_virtual_microphone(tray):
    tray.controller.set_cleaning(False)
    with Recorder("sordino_microphone") as recorder:
        wait_for(lambda: np.abs(recorder.read(0.1)).max() > LEVEL / 2, "the tone")
        tray.mute_action.trigger()
        assert tray.window.mute.isChecked()
        wait_for(lambda: np.abs(recorder.read(0.1)).max() == 0, "silence")
    spin_until(lambda: tray.window.state.text().startswith("Nothing passes"), "saying so")
    spin_until(lambda: tray.window.output_meter.text() == "silent", "an empty meter")


def test_another_microphone_is_heard_and_the_virtual_one_stays(tray, server):
    choice = tray.window.input
    spin_until(lambda: choice.count() == 3, "all microphones in the list")
    assert not any(MICROPHONE in choice.itemText(i) for i in range(choice.count()))
    before = server.sources()["sordino_microphone"].index
    press(choice, Qt.Key.Key_End)
    while choice.currentData() != "second":
        press(choice, Qt.Key.Key_Up)
    row = 2 * row_of(3000)
    spin_until(lambda: loudest_row(tray.window.noisy)[0] == pytest.approx(row, abs=3), "3 kHz")
    assert server.sources()["sordino_microphone"].index == before
    press(choice, Qt.Key.Key_Home)  # the default again
    row = 2 * row_of(1000)
    spin_until(lambda: loudest_row(tray.window.noisy)[0] == pytest.approx(row, abs=3), "1 kHz")


def test_listens_to_the_last_ten_seconds(tray):
    """Noisy, then clean, into the null sink "phones"; heard at its monitor."""
    session = tray.controller.session
    spin_until(
        lambda: len(session.recent(COMPARE_SECONDS).noisy) == COMPARE_SECONDS * RATE,
        "ten seconds of sound",
    )
    expected, heard = undisturbed(lambda: listened(tray), lambda sounds: not faults(*sounds), 6)
    assert not faults(expected, heard)


def listened(tray):
    """Listen by the buttons; return what was to be heard, and what was."""
    session, comparison, player = (
        tray.controller.session,
        tray.window.comparison,
        tray.window.player,
    )
    with Recorder("phones.monitor") as recorder:
        recorder.read(0.1)
        expected = session.recent(COMPARE_SECONDS).noisy
        QTest.mouseClick(comparison.play_button, Qt.MouseButton.LeftButton)
        assert comparison.versions["noisy"].isChecked()
        spin_until(
            lambda: player.version == "clean" and player.share > 0.05,
            "the clean sound",
            TIMEOUT,
        )
        spin_until(comparison.versions["clean"].isChecked, "the button of the clean sound")
        QTest.mouseClick(comparison.play_button, Qt.MouseButton.LeftButton)
        assert not player.playing
        return expected, recorder.read(COMPARE_SECONDS)


def faults(expected, heard):
    """Compare second by second, by power and pitch; it began within the 0.1 s around the click."""
    found = []
    start = int(np.flatnonzero(np.abs(heard) > 0.01)[0])
    for second in range(1, COMPARE_SECONDS - 1):
        one = expected[second * RATE :][:RATE]
        other = heard[start + second * RATE :][:RATE]
        if np.std(other) != pytest.approx(np.std(one), rel=0.2, abs=0.005):
            found.append((second, np.std(one), np.std(other)))
        if np.std(one) > LEVEL / 2 and abs(pitch(other) - pitch(one)) > 1:
            found.append((second, pitch(one), pitch(other)))
    return found


def pitch(sound):
    return int(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax())


def test_says_what_it_waits_for(tray, server):
    """A silent microphone is chosen, unplugged and plugged in again."""
    room = server.add_room("third_room")
    third = server.add_microphone("third", "third_room")
    choice = tray.window.input
    place = spin_until(lambda: choice.findData("third") + 1, "the third microphone") - 1
    choice.setCurrentIndex(place)
    choice.activated.emit(place)
    spin_until(lambda: tray.controller.status().input_dbfs < -60, "its silence")
    server.remove(third)
    spin_until(lambda: tray.controller.status().state == "waiting", "noticing")
    spin_until(lambda: tray.window.state.text().startswith("Waiting: "), "saying so")
    spin_until(lambda: "'third'" in tray.window.state.text(), "what for")
    spin_until(lambda: tray.icon.toolTip() == f"Sordino: w{tray.window.state.text()[1:]}", "tip")
    spin_until(lambda: choice.currentText() == "third (not there now)", "the list")
    third = server.add_microphone("third", "third_room")
    spin_until(lambda: tray.controller.status().state == "active", "going on")
    choice.setCurrentIndex(0)
    choice.activated.emit(0)
    spin_until(lambda: tray.controller.status().input_dbfs > -30, "the default microphone's sound")
    server.remove(third)
    server.remove(room)


def test_everything_can_be_reached_with_the_keyboard_and_has_a_name(tray):
    window = tray.window
    window.switch.setFocus()
    reached = []
    while (widget := QApplication.focusWidget()) not in reached:
        reached.append(widget)
        press(widget, Qt.Key.Key_Tab)
    buttons = window.comparison
    expected = {window.switch, window.mute, window.input, window.model, window.strength}
    expected |= {window.limit, buttons.play_button, window.record, window.autostart}
    assert expected <= set(reached)
    for widget in [*reached, window.noisy, window.clean, window.input_meter, window.output_meter]:
        interface = QAccessible.queryAccessibleInterface(widget)
        assert interface.text(QAccessible.Text.Name), widget
    assert QAccessible.queryAccessibleInterface(window.switch).role() == QAccessible.Role.CheckBox
    meter = QAccessible.queryAccessibleInterface(window.input_meter)
    assert meter.role() == QAccessible.Role.ProgressBar
    press(window, Qt.Key.Key_Escape)
    assert not window.isVisible()


def test_another_model_takes_over_and_the_virtual_microphone_stays(tray, server):
    choice = tray.window.model
    before = server.sources()["sordino_microphone"].index
    for name in ("small", "default"):
        choose(choice, name)
        spin_until(lambda name=name: tray.controller.status().model == name, name)
        assert name == "default" or Preferences().settings({}).model == name
    assert server.sources()["sordino_microphone"].index == before


def test_the_limit_keeps_the_noise_within_it(tray):
    """A tone is no speech: without a limit nearly all of it is taken out."""
    rms = 20 * np.log10(LEVEL / np.sqrt(2))
    meter = tray.window.output_meter
    spin_until(lambda: meter.dbfs < rms - 15, "a quiet tone")
    choose(tray.window.limit, 6.0)
    spin_until(lambda: meter.dbfs == pytest.approx(rms - 6, abs=1.5), "6 dB less")
    assert Preferences().settings({}).attenuation_limit_db == 6
    choose(tray.window.limit, None)
    spin_until(lambda: meter.dbfs < rms - 15, "a quiet tone again")
    assert Preferences().settings({}).attenuation_limit_db is None


def test_records_a_minute_and_counts_down(tray, monkeypatch):
    monkeypatch.setattr("sordino.live.tray.controller.RECORD_SECONDS", 1)
    monkeypatch.setattr("sordino.live.tray.window.RECORD_SECONDS", 1)
    window = tray.window
    QTest.mouseClick(window.record, Qt.MouseButton.LeftButton)
    assert not window.record.isEnabled()
    assert window.record.text().startswith("Recording: ")
    spin_until(lambda: window.open_folder.isVisible(), "the end of the recording")
    assert window.record.isEnabled()
    folder = Path(window.open_folder.toolTip())
    recordings = spin_until(lambda: sorted(folder.glob("*.wav")), "the files")
    assert [sf.info(path).duration for path in recordings] == [pytest.approx(1, abs=0.05)] * 2


def test_a_later_start_switches_the_tray_that_runs(tray):
    """As keyboard shortcuts of the desktop do."""
    for command, state in (("mute", "muted"), ("mute", "active"), ("noise", "bypassed")):
        assert run_command("--toggle", command) == (0, "")
        spin_until(lambda state=state: tray.controller.status().state == state, state)
    tray.window.close()
    assert run_command() == (0, "")
    assert tray.window.isVisible()


def run_command(*options):
    """Run `sordino tray` beside this one; return exit code and what it says on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sordino", "tray", *options], stderr=subprocess.PIPE, text=True
    )
    spin_until(lambda: process.poll() is not None, "its end", TIMEOUT)
    return process.returncode, process.stderr.read()


def choose(box, data):
    place = box.findData(data)
    box.setCurrentIndex(place)
    box.activated.emit(place)


def test_a_hidden_window_catches_up_when_it_is_opened(tray):
    tray.window.close()
    tray.window.noisy.append(np.full((ROWS, COLUMNS), -140, np.float32))
    before = tray.controller.status().seconds
    wait_for(lambda: tray.controller.status().seconds > before + 2, "some sound")
    tray.open()
    picture = tray.window.noisy
    picture.resize(COLUMNS, 288)
    image = picture.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(288, image.bytesPerLine())
    tone_row = rows[2 * row_of(1000) - 3 : 2 * row_of(1000) + 4, :COLUMNS].max(axis=0)
    assert (tone_row[-100:-60] > 100).mean() > 0.5


def test_ends_with_its_session(tmp_path):
    app = application()
    backend = FileBackend(examples.path("phone_8k"), tmp_path / "clean.wav", speed=None)
    controller = Controller(LiveSettings(), backend)
    tray = Tray(controller, Event())
    controller.start()
    tray.start()
    QTimer.singleShot(1000 * TIMEOUT, app.quit)
    app.exec()
    assert controller.session.wait(0)
    assert tray.failure is None
    tray.close()
    controller.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a desktop")
def test_says_that_there_is_no_desktop(monkeypatch):
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SordinoError, match="no desktop here"):
        run({})


def test_says_what_to_install():
    code = (
        "import sys; sys.modules['PySide6'] = None\n"
        "from sordino.cli import main; sys.argv = ['sordino', 'tray']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2, f"sordino: the tray needs Qt: {install_command('gui')}\n"
    )  # fmt: skip
