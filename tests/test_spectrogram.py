"""Spectrograms: right in level, time and frequency, small for any length."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from sordino import spectrogram as plot
from sordino.errors import SordinoError, install_command
from sordino.spectrogram import (
    COLUMNS,
    HOP_SECONDS,
    PALETTE,
    Spectrogram,
    draw,
    hertz,
    image,
    mel,
    mel_levels,
)
from support.media import rumble
from support.signals import cut, tone


def spectrogram(x, rate, sizes=(4096,)):
    result = Spectrogram(rate)
    for block in cut(x if x.ndim == 2 else x[:, None], sizes):
        result.feed(block)
    return result


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 192000])
def test_a_full_sine_has_0_db_at_its_frequency(rate):
    result = spectrogram(tone(1000, rate, amplitude=1.0), rate)
    power = result.power()
    bins = power.argmax(axis=0)
    assert set(np.round(bins * rate / 2 / (len(power) - 1), -2)) == {1000}
    assert np.abs(10 * np.log10(power.max(axis=0))).max() < 1.5  # between two bins
    assert result.seconds == 1.0


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6).filter(any))
def test_blocks_do_not_matter(sizes):
    x = rumble(16000)
    whole = spectrogram(x, 16000, (len(x),)).power()
    assert np.allclose(whole, spectrogram(x, 16000, sizes).power(), rtol=1e-4, atol=1e-9)


@pytest.mark.slow
def test_length_does_not_matter_for_its_size():
    second = rumble(8000)
    result = Spectrogram(8000)
    for minute in range(1, 91):
        for _ in range(60):
            result.feed(second)
        columns = result.power().shape[1]
        assert columns <= 2 * COLUMNS
        assert minute * 60 / HOP_SECONDS < COLUMNS or columns >= COLUMNS
    assert result.seconds == 5400
    assert len(result._frames) <= 2 * result._merged


def test_merging_keeps_power_and_place():
    """A click in the middle of three minutes is in the middle of the picture."""
    x = np.zeros((180 * 8000, 1), np.float32)
    x[90 * 8000] = 1.0
    power = spectrogram(x, 8000, (8000,)).power().sum(axis=0)
    assert abs(power.argmax() / len(power) - 0.5) < 0.002
    steady = spectrogram(tone(500, 8000, 180), 8000, (8000,)).power().max(axis=0)
    assert steady.max() / steady.min() < 1.01


@pytest.mark.parametrize("samples", [0, 1, 100, 256, 257])
def test_short_sounds(samples):
    assert spectrogram(np.ones(samples, np.float32), 8000).power().shape == (129, 1)


def test_channels_are_averaged():
    x = rumble(8000)
    silent = np.concatenate([x, np.zeros_like(x)], axis=1)
    mono, stereo = (spectrogram(each, 8000).power() for each in (x, silent))
    assert np.allclose(stereo, mono / 2, rtol=1e-4)


def test_mel_scale_keeps_the_mean_power():
    noise = np.random.default_rng(0).standard_normal((5 * 16000, 1)).astype(np.float32)
    result = spectrogram(noise, 16000)
    rows = 10 ** (mel_levels(result.power(), 16000).mean(axis=1) / 10)
    # The mean of decibels of noise lies 2.5 dB below its power where rows are single bins.
    # The lowest rows are the bin at 0 Hz, which has but one side.
    assert np.abs(10 * np.log10(rows[20:] / result.power().mean())).max() < 4


@pytest.mark.parametrize("rows", [64, 480])
def test_a_tone_lies_in_the_row_of_its_frequency(rows):
    result = spectrogram(tone(1000, 16000, amplitude=1.0), 16000)
    levels = mel_levels(result.power(), 16000, rows)
    assert levels.shape == (rows, result.power().shape[1])
    row = float(mel(1000)) / float(mel(8000)) * rows
    assert abs(levels.mean(axis=1).argmax() + 0.5 - row) < 1.5 + rows * 16 / 8000


def test_mel_and_hertz_are_inverse():
    frequencies = np.geomspace(1, 96000, 50)
    np.testing.assert_allclose(hertz(mel(frequencies)), frequencies)


def test_louder_is_brighter_and_both_ends_are_clipped():
    levels = np.linspace(-120, 20, 57, dtype=np.float32)[None]
    colours = image(levels, -80, -20)
    assert colours.shape == (1, 57, 3)
    assert colours.dtype == np.uint8
    brightness = colours[0].sum(axis=1, dtype=int)
    assert np.all(np.diff(brightness) >= 0)
    np.testing.assert_array_equal(colours[0, 0], PALETTE[0])
    np.testing.assert_array_equal(colours[0, -1], PALETTE[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "seconds"), [(8000, 2), (48000, 0.001), (16000, 300)])
def test_a_picture_is_drawn(tmp_path, rate, seconds):
    x = rumble(round(rate * seconds))
    panels = {
        name: spectrogram(gain * x, rate)
        for name, gain in (("Noisy", 1.0), ("Noise taken", 0.5), ("Speech left", 0.5))
    }
    draw(tmp_path / "x.png", panels, "talk.wav", "16 kHz")
    picture = imread(tmp_path / "x.png")
    assert picture.shape[1] == 1800
    assert picture[..., :3].std() > 0.1
    assert np.allclose(picture[0, 0], 1)  # white paper


@pytest.mark.slow
def test_louder_panels_are_brighter(tmp_path):
    x = rumble(16000)
    for gain in (1.0, 0.001):
        panels = {"Noisy": spectrogram(x, 8000), "Speech left": spectrogram(gain * x, 8000)}
        draw(tmp_path / f"{gain}.png", panels, "")
    full, none = (imread(tmp_path / f"{gain}.png") for gain in (1.0, 0.001))
    half = full.shape[0] // 2
    assert np.array_equal(full[: half - 60], none[: half - 60])
    assert full[half + 60 :, 200:1600].mean() > none[half + 60 :, 200:1600].mean() + 0.05


def test_missing_matplotlib_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(SordinoError, match=re.escape(install_command("plot"))):
        draw(tmp_path / "x.png", {"Noisy": Spectrogram(8000)}, "")
    assert not (tmp_path / "x.png").exists()
