import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.denoiser import denoise
from sordino.evaluate.noise_removed import noise_removed, shadow
from sordino.slices import NOISE_OFFSET_DB, NOISE_SCALE_DB
from sordino.stft import NATIVE_RATES
from support import models
from support.signals import agreement_db, noise, tone

NOISE = noise(8000, seed=1)
NOISY = NOISE + tone(300, 16000, 0.5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("m", [0.0, 0.3, 0.9, 1.0])
def test_a_constant_mask_takes_the_share_it_must(m, rate):
    share = noise_removed(models.constant_mask(m), NOISY, NOISE, rate)
    assert share == pytest.approx(1 - (1 - m) ** 2, abs=1e-5)


@given(strength=st.floats(0, 1))
def test_strength_scales_the_mask(strength):
    share = noise_removed(models.constant_mask(1), NOISY, NOISE, 16000, strength)
    assert share == pytest.approx(1 - (1 - strength) ** 2, abs=1e-5)


@pytest.mark.parametrize("decibels", [0.0, 6.0, 20.0])
def test_pictures_take_the_share_they_must(decibels):
    model = models.slices_model(offset=(decibels - NOISE_OFFSET_DB) / NOISE_SCALE_DB)
    share = noise_removed(model, NOISY, NOISE, 8000)
    assert share == pytest.approx(1 - 10 ** (-decibels / 10), abs=1e-5)


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_the_shadow_of_the_input_is_the_output(rate):
    model = models.recurrent()
    assert agreement_db(denoise(NOISY, rate, model), shadow(model, NOISY, NOISY, rate)) > 100


def test_the_output_is_the_sum_of_the_shadows_of_its_parts():
    model = models.recurrent()
    parts = shadow(model, NOISY, NOISE, 16000) + shadow(model, NOISY, NOISY - NOISE, 16000)
    assert agreement_db(denoise(NOISY, 16000, model), parts) > 80


def test_no_noise_has_no_share():
    assert np.isnan(noise_removed(models.constant_mask(1), NOISY, 0 * NOISE, 16000))
