import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.evaluate import metrics as m
from sordino.evaluate.metrics import resample
from support.signals import noise, tone

RATE = m.RATE


def talk(seconds=3.0, rate=RATE, seed=1):
    """Bursts of noise of 0.5 s with pauses of 0.5 s between them."""
    x = noise(round(seconds * rate), seed)
    time = np.arange(len(x)) / rate
    return np.where(time % 1.0 < 0.5, x, 0).astype(np.float32)


CLEAN = talk()
NOISE = noise(len(CLEAN), seed=2, level=0.02)
NOISY = CLEAN + NOISE


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies():
    voice, hum = tone(200, RATE, amplitude=0.5), tone(300, RATE, amplitude=0.05)
    assert m.si_sdr(voice, voice + hum) == pytest.approx(20.0, abs=1e-3)


@pytest.mark.slow
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-0.5, 0.5))
def test_si_sdr_knows_neither_scale_nor_offset(gain, offset):
    expected = m.si_sdr(CLEAN, NOISY)
    assert m.si_sdr(CLEAN, gain * NOISY.astype(float) + offset) == pytest.approx(expected, abs=1e-4)


def test_si_sdr_of_silence_is_defined_where_it_can_be():
    silence = np.zeros_like(CLEAN)
    assert m.si_sdr(CLEAN, silence) == -60
    assert np.isnan(m.si_sdr(silence, CLEAN))


def test_activity_finds_the_bursts_and_the_pauses():
    speech, silence = m.activity(CLEAN)
    burst = np.arange(len(speech)) % 50 < 25
    np.testing.assert_array_equal(speech, burst)
    assert not np.any(silence & burst)
    assert silence.sum() == 3 * 25 - 5  # frames beside a burst do not count, the last has one side


@given(gain_db=st.floats(-40, 10))
def test_noise_reduction_of_a_gain_is_the_gain(gain_db):
    estimate = NOISY * 10 ** (gain_db / 20)
    assert m.noise_reduction(CLEAN, NOISY, estimate) == pytest.approx(-gain_db, abs=0.02)


@given(gain_db=st.floats(-50, 10))
def test_speech_attenuation_of_a_gain_is_the_gain(gain_db):
    estimate = CLEAN * 10 ** (gain_db / 20)
    assert m.speech_attenuation(CLEAN, estimate) == pytest.approx(-gain_db, abs=1e-4)


def test_noise_that_stays_is_no_speech_attenuation():
    assert m.speech_attenuation(CLEAN, NOISY) == pytest.approx(0, abs=0.05)


def test_noise_reduction_needs_a_pause_and_speech_attenuation_needs_speech():
    steady = noise(RATE)
    assert np.isnan(m.noise_reduction(steady, steady, steady))
    assert np.isnan(m.speech_attenuation(np.zeros_like(steady), steady))


def test_noise_reduction_of_silence_is_bounded():
    assert m.noise_reduction(CLEAN, 100 * NOISY, np.zeros_like(NOISY)) == 60


@given(lag=st.integers(-1600, 1600))
def test_alignment_finds_a_known_lag(lag):
    late = np.pad(NOISY, (lag, 0)) if lag >= 0 else NOISY[-lag:]
    aligned, found = m.align(CLEAN, late)
    assert found == lag
    assert len(aligned) == len(CLEAN)
    inside = slice(max(0, -lag), len(CLEAN) - max(0, lag))
    np.testing.assert_array_equal(aligned[inside], NOISY[inside])


def test_alignment_of_a_slight_gain_stays_where_it_is():
    low = tone(50, RATE)  # one sample of shift changes hardly anything
    _, lag = m.align(low, np.pad(low, (2, 0)))
    assert lag == 0


def test_high_band_measures_do_not_see_the_low_band():
    rate = 48000
    clean = resample(CLEAN, RATE, rate)
    hiss = noise(len(clean), seed=3, level=0.01)
    hiss -= resample(resample(hiss, rate, RATE), RATE, rate)  # only what lies above 8 kHz
    rumble = tone(100, rate, len(clean) / rate, 0.1)
    noisy = clean + hiss + rumble
    halved = clean + hiss / 2 + rumble
    assert m.band_noise_reduction(clean, noisy, halved, rate, low=9000) == pytest.approx(6.02, 0.01)
    assert m.band_noise_reduction(clean, noisy, noisy, rate, low=9000) == 0
    assert np.isnan(m.band_noise_reduction(clean, clean, clean, rate, low=9000))


def test_log_spectral_distance_of_a_gain_is_the_gain():
    steady = noise(RATE)
    assert m.log_spectral_distance(steady, steady) == 0
    # a few bins of noise lie near the floor and move by less
    assert m.log_spectral_distance(steady, steady / 2) == pytest.approx(6.02, abs=0.01)
    assert m.log_spectral_distance(steady, 0 * steady) < 60


def test_level_reduction_of_the_quietest_frames_hears_the_pauses():
    estimate = CLEAN + NOISE / 10
    assert m.level_reduction(NOISY, estimate, quietest=0.2) == pytest.approx(20, abs=0.1)
    assert m.level_reduction(NOISY, NOISY / 2) == pytest.approx(6.02, abs=0.01)


@given(gain_db=st.floats(-50, 10))
def test_level_loss_of_a_gain_is_the_gain(gain_db):
    estimate = NOISY * 10 ** (gain_db / 20)
    assert m.level_loss(CLEAN, NOISY, estimate) == pytest.approx(-gain_db, abs=1e-3)


def test_level_loss_counts_loud_frames_only():
    loud, quiet = tone(400, RATE, 1.0, 0.5), tone(400, RATE, 1.0, 0.05)  # 20 dB lower
    voice = np.concatenate([loud, quiet])
    assert m.level_loss(voice, voice, np.concatenate([loud, 0 * quiet])) == pytest.approx(0)
    halved = np.concatenate([loud / 2, quiet])
    assert m.level_loss(voice, voice, halved) == pytest.approx(6.02, abs=0.01)


def test_level_loss_is_bounded_and_needs_a_voice():
    assert m.level_loss(CLEAN, NOISY, 0 * NOISY) == 60
    assert np.isnan(m.level_loss(0 * CLEAN, NOISY, NOISY))
