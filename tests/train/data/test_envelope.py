"""Envelopes: nothing changes at the neutral setting, and what is asked for moves."""

import numpy as np
import pytest
from scipy.signal import lfilter

from sordino.train.data.augment import imprint, move_formants
from sordino.train.data.signal import frame_power

RATE = 16000
PITCH = 125.0  # Hz; 128 samples at RATE


def vowel(formant, seconds=1.0):
    """A pulse train through one resonance, at the level of speech."""
    pulses = np.zeros(round(seconds * RATE))
    pulses[:: round(RATE / PITCH)] = 1
    radius = np.exp(-np.pi * 150 / RATE)
    angle = 2 * np.pi * formant / RATE
    x = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], pulses)
    return (0.1 * x / np.std(x)).astype(np.float32)


def centre(x):
    """Centre of the spectrum's power in Hz."""
    power = np.abs(np.fft.rfft(x)) ** 2
    return np.average(np.fft.rfftfreq(len(x), 1 / RATE), weights=power)


def db(part, whole):
    return 10 * np.log10(np.mean(part**2) / np.mean(whole**2))


@pytest.mark.parametrize("samples", [1, 100, 4001, 16000])
def test_neutral_settings_change_nothing(samples):
    rng = np.random.default_rng(samples)
    x, other = rng.normal(0, 0.1, (2, samples)).astype(np.float32)
    for same in (move_formants(x, RATE, 1.0), imprint(x, other, RATE, 0.0)):
        assert same.shape == x.shape
        assert same.dtype == np.float32
        assert db(same - x, x) < -100


@pytest.mark.parametrize("ratio", [0.86, 1.16])
def test_formants_move_and_pitch_stays(ratio):
    x = vowel(1200.0)
    y = move_formants(x, RATE, ratio)
    assert centre(y) / centre(x) == pytest.approx(ratio, abs=0.05)
    period = round(RATE / PITCH)
    middle = slice(RATE // 4, 3 * RATE // 4)
    shifted = np.roll(y, period)[middle]
    assert np.corrcoef(y[middle], shifted)[0, 1] > 0.98


def test_nothing_above_a_puff_is_no_trouble():
    """The running sum of the smoothing falls below zero beside a loud low sound."""
    t = np.arange(48000)
    puff = (0.9 * np.exp(-0.5 * ((t - 20000) / 120) ** 2)).astype(np.float32)
    assert np.isfinite(move_formants(puff, 48000, 0.9)).all()


def test_silence_stays_silence():
    silence = np.zeros(4000, np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    assert not np.any(move_formants(silence, RATE, 1.1))
    assert not np.any(imprint(silence, noise, RATE, 1.0))
    assert np.abs(imprint(noise, silence, RATE, 1.0)).max() < 1e-4


def test_imprint_takes_over_what_the_other_does():
    rng = np.random.default_rng(1)
    time = np.arange(2 * RATE) / RATE
    hiss, other = rng.normal(0, 0.1, (2, len(time)))
    other = other * (0.05 + (np.sin(2 * np.pi * 2 * time) > 0))  # on and off, twice a second
    y = imprint(hiss.astype(np.float32), other.astype(np.float32), RATE, 1.0)
    level, model, own = (
        np.log(frame_power(x.astype(np.float32), RATE) + 1e-12) for x in (y, other, hiss)
    )
    assert np.corrcoef(level, model)[0, 1] > 0.9
    assert abs(np.corrcoef(own, model)[0, 1]) < 0.2
    assert abs(np.corrcoef(y, other)[0, 1]) < 0.1  # the fine structure is not taken over
