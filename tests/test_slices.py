import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.denoiser import Denoiser, denoise
from sordino.slices import (
    HOP,
    NOISE_OFFSET_DB,
    NOISE_SCALE_DB,
    RATE,
    from_image,
    noise_to_image,
    spectrum_config,
    to_image,
)
from sordino.stft import StreamingAnalysis
from support import models
from support.signals import agreement_db, block_sizes, level_db, noise, run, tone


def image_of(noise_db):
    """The pixel of a network that finds this many dB of noise."""
    return (noise_db - NOISE_OFFSET_DB) / NOISE_SCALE_DB


NO_NOISE = models.slices_model(offset=image_of(0))
TWENTY_DB = models.slices_model(offset=image_of(20))
ALL_NOISE = models.slices_model(offset=image_of(200))
VARYING = models.slices_model(gain=0.3, offset=image_of(10))


def magnitudes(x):
    return np.abs(StreamingAnalysis(spectrum_config(), 1)(x[None])).transpose(0, 2, 1)


def test_pictures_do_not_depend_on_the_level():
    picture = to_image(magnitudes(noise(8064)))
    np.testing.assert_allclose(to_image(magnitudes(noise(8064, level=0.001))), picture, atol=1e-5)
    assert picture.shape == (1, 128, 128)
    assert picture.max() == pytest.approx(46 / 50)
    assert picture.min() >= (-80 + 46) / 50
    assert np.all(to_image(np.zeros((128, 128), np.float32)) == np.float32((-80 + 46) / 50))


def test_the_noise_picture_tells_the_share_of_noise():
    noisy = magnitudes(noise(8064))
    share = np.random.default_rng(0).uniform(0, 0.98, noisy.shape).astype(np.float32)
    picture = noise_to_image(noisy, noisy * (1 - share))
    np.testing.assert_allclose(from_image(picture), share, atol=1e-4)
    assert np.all(from_image(noise_to_image(noisy, 2 * noisy)) == 0)


@pytest.mark.parametrize("samples", [0, 1, 62, 63, 8063, 8064, 20000])
def test_no_noise_is_identity(samples):
    x = noise(samples)
    assert agreement_db(x, denoise(x, RATE, NO_NOISE)) > 100


def test_noise_is_taken_by_strength_and_within_the_limit():
    x = noise(20000)
    for strength, expected in [(1, 0.1), (0.5, 0.55), (0, 1)]:
        assert agreement_db(expected * x, denoise(x, RATE, TWENTY_DB, strength)) > 60
    limited = denoise(x, RATE, ALL_NOISE, attenuation_limit_db=12)
    assert level_db(limited) - level_db(x) == pytest.approx(-12, abs=0.1)


@pytest.mark.slow
@given(sizes=block_sizes(9000))
def test_streaming_equals_offline(sizes):
    x = noise((20000, 2)) * np.linspace(0, 1, 20000, dtype=np.float32)[:, None]
    streamed = run(Denoiser(VARYING, RATE, channels=2), x, sizes)
    assert agreement_db(denoise(x, RATE, VARYING), streamed) > 100


@given(changed=st.integers(1, 30000))
def test_causality(changed):
    x = noise(30000)
    other = x.copy()
    other[changed:] = 0.3
    denoiser = Denoiser(VARYING, RATE)
    same = max(0, changed - denoiser.latency_samples)
    before, after = run(denoiser, x, [500]), run(denoiser, other, [500])
    np.testing.assert_array_equal(before[:same], after[:same])


def test_nothing_jumps_where_pictures_meet():
    # The sound falls by 26 dB; later pictures, without its loud part, find other noise.
    fall = 20000
    x = tone(440, RATE, 5) * np.where(np.arange(5 * RATE) < fall, 1, 0.05).astype(np.float32)
    y = denoise(x, RATE, VARYING)
    levels = [level_db(y[i : i + 2 * HOP]) for i in range(fall + 300, len(y) - 300, 2 * HOP)]
    assert max(levels) - min(levels) > 3
    assert np.abs(np.diff(levels)).max() < 1.5


def test_latency_is_told_and_kept():
    denoiser = Denoiser(NO_NOISE, RATE)
    assert 1 < denoiser.latency < 1.1
    assert denoiser.speech_probability is None
    returned = 0
    for taken in range(100, 30000, 100):
        returned += len(denoiser.feed(noise(100)))
        assert taken - returned <= denoiser.latency_samples


def test_at_other_rates_the_noise_below_4_khz_is_taken_and_nothing_above():
    low, high = tone(1000, 48000, 3), tone(9000, 48000, 3)
    middle = slice(48000, 96000)
    np.testing.assert_array_equal(denoise(low + high, 48000, NO_NOISE), low + high)
    assert agreement_db(high[middle], denoise(low + high, 48000, ALL_NOISE)[middle]) > 60
