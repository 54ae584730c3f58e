"""Raised voices: a higher pitch, formants that stay, and the length that was asked for."""

import numpy as np
import pytest
from scipy.signal import lfilter

from sordino.train.data.augment import raise_voice, stretch
from support.mixtures import batch, centroids

RATE = 16000


def pulses(pitch: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """A train of pulses through one broad formant at 700 Hz."""
    turns = np.floor(np.arange(int(seconds * rate)) * pitch / rate)
    x = np.diff(turns, prepend=0).astype(np.float32)
    pole = 0.95 * np.exp(2j * np.pi * 700 / rate)
    return lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], x).astype(np.float32)


def spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and power of a long window in the middle."""
    middle = x[len(x) // 4 : len(x) // 4 + RATE] * np.hanning(RATE)
    return np.fft.rfftfreq(RATE, 1 / RATE), np.abs(np.fft.rfft(middle)) ** 2


@pytest.mark.parametrize("length", [1.0, 1.3, 2.0, 3.5])
def test_stretching_keeps_the_pitch(length):
    x = pulses(200, 2.0)
    y = stretch(x, RATE, round(length * len(x)))
    assert len(y) == round(length * len(x))
    hz, power = spectrum(y)
    near = np.abs((hz + 100) % 200 - 100) < 12  # Hz, around the harmonics of 200 Hz
    assert power[near].sum() > 0.9 * power.sum()
    assert np.std(y) == pytest.approx(np.std(x), rel=0.15)


@pytest.mark.parametrize("pitch", [1.5, 2.5])
def test_a_raised_voice_has_its_pitch_raised_and_its_formant_kept(pitch):
    read_at = round(RATE / pitch)
    x = pulses(180, 5.0, read_at)
    y = raise_voice(x, RATE, pitch, 1.0, 0.0, round(1.2 * len(x)))
    hz, power = spectrum(y)
    f0 = 180 * pitch
    harmonics = np.array([power[np.abs(hz - k * f0) < 15].sum() for k in range(1, 8)])
    assert harmonics.sum() > 0.8 * power.sum()
    # Played faster alone, the formant would be at 700 Hz times the pitch.
    centre = (hz * power)[hz < 5000].sum() / power[hz < 5000].sum()
    assert centre < 0.75 * 700 * pitch + 0.25 * f0


def test_a_flatter_spectrum_has_more_of_its_heights():
    x = pulses(150, 3.0, round(RATE / 1.5))
    flat, plain = (raise_voice(x, RATE, 1.5, 1.0, tilt, len(x)) for tilt in (4.0, 0.0))
    assert centroids(flat[None])[0] > 1.1 * centroids(plain[None])[0]


def test_the_mix_raises_voices_in_its_targets(corpus):
    plain = batch(corpus, size=12, speech_only=1.0)
    raised = batch(corpus, size=12, speech_only=1.0, raised=1.0, raised_pitch=(2.5, 2.5))
    assert np.median(centroids(raised.clean)) > 1.2 * np.median(centroids(plain.clean))
    assert (np.abs(raised.clean).max(axis=1) > 1e-3).all()


def test_a_constant_offset_is_in_the_mixture_alone(corpus):
    made = batch(corpus, offset=1.0, offset_level=(0.05, 0.05), speech_only=1.0)
    assert np.abs(made.noisy.mean(axis=1)) == pytest.approx(0.05, abs=0.005)
    assert np.abs(made.clean.mean(axis=1)).max() < 0.005
