"""The tray's own widgets, drawn for real, without a session."""

import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from support.desktop import application, require_qt
from support.signals import noise, tone

require_qt()

from PySide6.QtCore import QPoint, Qt  # noqa: E402
from PySide6.QtGui import QImage, QPainter, QPalette  # noqa: E402
from PySide6.QtSvg import QSvgRenderer  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402

import sordino  # noqa: E402
from sordino.live.tray.widgets import (  # noqa: E402
    COLUMNS,
    FLOOR_DB,
    HIGHEST_HZ,
    ROWS,
    Columns,
    Meter,
    SpectrogramView,
    Switch,
    row_of,
    state_icon,
)
from sordino.spectrogram import PALETTE, hertz, mel  # noqa: E402

ROOT = Path(__file__).parents[3]
PAGE = Path(sordino.__file__).parent / "serve" / "page"


@pytest.fixture(autouse=True, scope="module")
def app():
    return application()


def brightness(widget):
    """Return what a widget draws as grey values; shape = (height, width)."""
    image = widget.grab().toImage()
    grey = image.convertToFormat(image.Format.Format_Grayscale8)
    rows = np.frombuffer(grey.constBits(), np.uint8).reshape(grey.height(), grey.bytesPerLine())
    return rows[:, : grey.width()].astype(int)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("frequency", [100, 440, 1000, 3000])
def test_tone_lies_in_its_row(rate, frequency):
    levels = Columns(rate).of(tone(frequency, rate, 0.3, amplitude=1.0))
    loudest = levels[:, 5].argmax()
    below, above = (row_of(frequency + side * rate / Columns(rate).window) for side in (-1, 1))
    assert above - 1 <= loudest <= below + 1  # a bin is wider than a row at low frequencies
    assert -8 < levels[loudest, 5] <= 0.1
    assert levels[row_of(frequency * 2), 5] < levels[loudest, 5] - 48


def test_rows_span_the_mel_scale_evenly():
    assert row_of(0) == ROWS - 1
    assert row_of(HIGHEST_HZ * 0.999) == 0
    quarters = [row_of(float(hertz(float(mel(HIGHEST_HZ)) * i / 4))) for i in range(1, 4)]
    assert np.diff(quarters) == pytest.approx([-ROWS / 4] * 2, abs=1)


def test_colours_are_those_of_the_page():
    """One palette in the page, the tray and the pictures of reports."""
    page = (ROOT / "web" / "page" / "src" / "colours.ts").read_text(encoding="utf-8")
    dark = page[page.index("dark: [") : page.index("light: [")]
    stops = np.array(re.findall(r"\[(\d+), (\d+), (\d+)\]", dark), int)
    places = np.linspace(0, 255, len(stops)).round().astype(int)
    assert np.abs(PALETTE[places].astype(int) - stops).max() <= 12
    assert PALETTE[[0, -1]].tolist() == stops[[0, -1]].tolist()


def test_columns_do_not_depend_on_the_blocks():
    columns = Columns(48000)
    sound = noise(48000)
    whole = columns.of(sound)
    assert whole.shape == (ROWS, columns.count(48000))
    last = columns.of(sound[-columns.window - 2 * columns.hop :])
    np.testing.assert_allclose(last, whole[:, -3:], atol=1e-3)
    assert columns.of(sound[: columns.window - 1]).shape == (ROWS, 0)


def test_nothing_lies_above_half_the_sampling_rate():
    levels = Columns(8000).of(noise(8000))
    np.testing.assert_allclose(levels[: row_of(4200)], FLOOR_DB, atol=0.01)
    assert (levels[row_of(3800) :] > -80).all()


def test_spectrogram_draws_a_tone_in_its_row_and_new_sound_at_the_right():
    picture = SpectrogramView("Microphone")
    picture.resize(COLUMNS, 2 * ROWS)
    columns = Columns(48000)
    for _ in range(3):  # more than once around the ring
        picture.append(columns.of(np.zeros(48000 * 8, np.float32)))
    before = brightness(picture)
    picture.append(columns.of(tone(1000, 48000, 2.0, amplitude=0.1)))
    change = brightness(picture) - before
    change[: ROWS // 6] = 0  # the title
    lit = change[:, : COLUMNS - 60].max(axis=0) > 60
    assert lit[-30:].all()
    assert not lit[: COLUMNS - 110].any()
    assert change[:, COLUMNS - 80].argmax() == pytest.approx(2 * row_of(1000), abs=3)


def test_spectrogram_takes_more_columns_than_it_shows():
    picture = SpectrogramView("Microphone")
    picture.resize(COLUMNS, ROWS)
    picture.append(np.full((ROWS, 3 * COLUMNS + 7), -50, np.float32))
    assert brightness(picture)[20:-2, 10 : COLUMNS - 50].min() > 100


def test_meter_rises_at_once_and_falls_slowly():
    meter = Meter("Level")
    meter.show_level(-20, 0.05)
    assert (meter.value(), meter.text()) == (-20, "-20 dB")
    meter.show_level(-50, 0.1)
    assert meter.dbfs == pytest.approx(-23)
    for _ in range(20):
        meter.show_level(float("-inf"), 0.1)
    assert meter.text() == "silent"
    meter.show_level(3, 0.1)
    assert meter.value() == 0


def test_meter_draws_the_level():
    meter = Meter("Level")
    meter.resize(320, 20)
    silent = brightness(meter)
    meter.show_level(-30, 0)
    changed = np.flatnonzero(np.abs(brightness(meter) - silent)[10, :250] > 10)
    bar = 320 - meter.fontMetrics().horizontalAdvance("-60 dB ") - 8
    assert changed.min() <= 2
    assert changed.max() == pytest.approx(bar / 2, abs=3)


@pytest.mark.parametrize("dark", [False, True])
def test_switch_works_by_mouse_and_keyboard_and_shows_it(dark):
    switch = Switch("Take the &noise out")
    if dark:
        switch.setPalette(QPalette(Qt.GlobalColor.darkGray, Qt.GlobalColor.black))
    switch.resize(switch.sizeHint())
    off = brightness(switch)
    QTest.mouseClick(
        switch, Qt.MouseButton.LeftButton, pos=QPoint(switch.width() - 10, switch.height() // 2)
    )
    assert switch.isChecked()
    assert np.abs(brightness(switch) - off)[:, :38].max() > 60
    QTest.keyClick(switch, Qt.Key.Key_Space)
    assert not switch.isChecked()


def test_icons_differ_in_shape_not_only_in_colour():
    shapes = []
    for state in ("active", "bypassed", "muted", "waiting"):
        image = state_icon(state).pixmap(22, 22).toImage()
        assert not image.isNull()
        bright = [
            [image.pixelColor(x, y).value() > 150 for x in range(2, image.width() - 2)]
            for y in range(2, image.height() - 2)
        ]
        shapes.append(np.array(bright))
    for i, one in enumerate(shapes):
        assert one.any()
        for other in shapes[:i]:
            assert np.count_nonzero(one != other) > 15


def test_the_icon_is_the_logo_of_the_page():
    """One logo everywhere: the page's file and what the tray draws are the same picture."""
    size = 128
    drawn = state_icon("active").pixmap(size, size).toImage()
    logo = QImage(size, size, QImage.Format.Format_ARGB32)
    logo.fill(Qt.GlobalColor.transparent)
    with painting(logo) as painter:
        QSvgRenderer(str(PAGE / "mark.svg")).render(painter)
    difference = np.abs(pixels(drawn).astype(int) - pixels(logo).astype(int))
    assert difference.mean() < 2
    assert (difference > 64).mean() < 0.01


@contextmanager
def painting(image):
    painter = QPainter(image)
    yield painter
    painter.end()


def pixels(image):
    image = image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
    return np.array(image.constBits()).reshape(image.height(), image.width(), 4)
