"""Levels, filters, rooms, codecs and made noises do what their names say."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from sordino.examples import FOLDER
from sordino.train.data import synth
from sordino.train.data.augment import (
    band_limit,
    clip_peaks,
    expand,
    insert_pause,
    modulate,
    random_eq,
    rumble_filter,
    switch,
)
from sordino.train.data.codecs import Codec, draw_codec, through_codec
from sordino.train.data.decode import resample
from sordino.train.data.rooms import direct_sample, split_room
from sordino.train.data.signal import (
    active_level,
    activity,
    background_level,
    irfft,
    per_sample,
    rfft,
)
from support.signals import agreement_db, level_db, noise, tone

SPEECH = sorted((FOLDER / "train" / "speech").iterdir())[0]
RATES = (8000, 16000, 24000, 48000)


def rng(seed=0):
    return np.random.default_rng(seed)


def lag(x, y):
    """Samples that `y` comes after `x`; second differences see the high frequencies too."""
    correlation = correlate(np.diff(y, 2), np.diff(x, 2), "full", "fft")
    return int(np.argmax(correlation)) - (len(x) - 3)


def filtered(x, gain):
    return irfft(rfft(x) * gain, len(x))


def response(seed=0, rate=16000, delay=160, seconds=0.4):
    """An impulse response: direct path, then a decaying tail."""
    h = np.zeros(int(seconds * rate), np.float32)
    tail = noise(len(h) - delay, seed, 0.1) * np.exp(-np.arange(len(h) - delay) / (0.08 * rate))
    h[delay:] = tail
    h[delay] = 1.0
    return h


def test_active_level_leaves_pauses_out():
    x = tone(500, 16000, 1.0, 0.1)
    padded = np.concatenate([x, np.zeros(48000, np.float32)])
    assert active_level(padded, 16000) == pytest.approx(active_level(x, 16000), abs=0.01)
    assert active_level(x, 16000) == pytest.approx(level_db(x), abs=0.01)
    assert active_level(np.zeros(16000, np.float32), 16000) == -200


def test_activity_marks_speech_and_fills_short_gaps():
    x = np.zeros(16000, np.float32)
    x[3200:6400] = tone(300, 16000, 0.2)
    x[6720:9600] = tone(300, 16000, 0.18)  # a stop consonant's 20 ms gap
    x[12800:12960] = 0.5  # a single 10 ms click
    marked = activity(x + noise(16000, level=1e-3), 16000)
    expected = np.zeros(100)
    expected[20:60] = 1
    np.testing.assert_array_equal(marked, expected)
    assert not activity(np.zeros(16000, np.float32), 16000).any()


@pytest.mark.parametrize("samples", [800, 805, 959])
def test_values_of_frames_are_drawn_as_lines_between_their_centres(samples):
    values = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    lines = np.interp(np.arange(samples), 80 + 160 * np.arange(5), values)
    np.testing.assert_allclose(per_sample(values, 160, samples), lines, rtol=1e-6)


def test_background_level_of_a_recording():
    x = tone(300, 16000, 2.0, 0.5)
    x[16000:] = 0
    hiss = x + noise(32000, level=0.5 / np.sqrt(2) / 100)
    assert background_level(hiss, 16000) == pytest.approx(-40, abs=1.5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("cutoff", [2000.0, 4000.0, 8000.0, 12000.0])
def test_band_limit_empties_the_band(rate, cutoff):
    x = noise(2 * rate)
    y = filtered(x, band_limit(len(x), rate, cutoff))
    power = np.abs(np.fft.rfft(y * np.hanning(len(y)))) ** 2
    frequency = np.fft.rfftfreq(len(y), 1 / rate)
    if cutoff >= rate / 2:
        assert agreement_db(x, y) > 100
    else:
        below = power[frequency < 0.9 * cutoff].mean()
        assert power[frequency > cutoff + 50].mean() < below * 1e-6
        kept = filtered(x, (frequency < 0.9 * cutoff).astype(np.float32))
        assert agreement_db(kept, filtered(kept, band_limit(len(x), rate, cutoff))) > 100


def test_rumble_filter_keeps_every_voice():
    gain = rumble_filter(16000, 16000)
    assert not gain[:11].any()
    assert (gain[25:] == 1).all()


def test_shared_gains_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        band_limit(1600, 16000, 4000.0)[0] = 0


def test_eq_is_smooth_and_as_strong_as_asked():
    curves = [20 * np.log10(random_eq(rng(i), 32000, 16000, 4.0)) for i in range(200)]
    assert np.std(curves) == pytest.approx(3.2, abs=0.6)  # less between the points than on them
    assert max(np.abs(np.diff(curve[60:])).max() for curve in curves) < 0.5
    # One curve means the same at every rate.
    wide = random_eq(rng(3), 96000, 48000, 4.0)[: 16001 // 2]
    np.testing.assert_allclose(random_eq(rng(3), 32000, 16000, 4.0)[: 16001 // 2], wide, rtol=1e-4)


def test_clipping_takes_the_peaks_only():
    x = tone(100, 16000, 1.0, 0.8)
    y = clip_peaks(x, 6.0)
    assert np.abs(y).max() == pytest.approx(0.8 * 10 ** (-6 / 20), rel=1e-3)
    np.testing.assert_array_equal(y[np.abs(x) < 0.4], x[np.abs(x) < 0.4])


def test_expander_lowers_hiss_in_pauses_and_leaves_speech():
    x = np.zeros(48000, np.float32)
    x[16000:32000] = tone(300, 16000, 1.0, 0.3)
    y = expand(x + noise(48000, level=0.002), 16000, 12.0)
    speech = slice(15920, 32160)
    hissing = x + noise(48000, level=0.002)
    np.testing.assert_allclose(y[speech], hissing[speech], rtol=1e-5, atol=1e-7)
    assert level_db(y[:14000]) - level_db(hissing[:14000]) == pytest.approx(-12, abs=1.5)


@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0.05, 3))
def test_pause_keeps_length_and_order(seed, at, seconds):
    x = noise(48000, seed)
    y = insert_pause(x, 16000, at, seconds)
    assert y.shape == x.shape
    cut = int(np.argmax(y == 0)) if (y == 0).any() else len(y)
    gap = round(seconds * 16000)
    assert not y[cut : cut + gap].any()
    rest = y[cut + gap + 80 :]
    np.testing.assert_array_equal(rest, x[cut + 80 : cut + 80 + len(rest)])


def test_pause_falls_between_words():
    x = tone(300, 16000, 2.0)
    x[16000:16320] = 0
    y = insert_pause(x, 16000, 0.9, 0.5)
    np.testing.assert_array_equal(y[:15900], x[:15900])


def test_modulation_and_switch_change_the_level_only():
    x = tone(1000, 16000, 3.0)
    quiet = modulate(rng(1), x, 16000, 6.0, 0.3)
    frames = np.sqrt(np.mean(quiet[:48000].reshape(-1, 160) ** 2, axis=1))
    assert 2 < np.std(20 * np.log10(frames)) < 7
    halves = switch(rng(2), x, 16000)
    assert np.isin(np.round(halves[[0, -4]] / x[[0, -4]] if x[0] else [0, 1]), [0, 1]).all()
    assert (halves == 0).sum() > 4000


@pytest.mark.parametrize("rate", RATES)
def test_room_target_is_aligned_with_the_mixture(rate):
    h = response(1, rate, delay=rate // 100)
    assert direct_sample(h) == rate // 100
    x = noise(2 * rate)
    whole, early = split_room(h, rate, len(x))
    wet, target = filtered(x, rfft(whole)), filtered(x, rfft(early))
    assert lag(x, wet) == 0
    assert lag(x, target) == 0
    assert lag(target, wet) == 0


def test_early_part_is_the_first_50_ms():
    h = response(2)
    whole, early = split_room(h, 16000, 16000)
    np.testing.assert_array_equal(early[:800], h[160:960])
    np.testing.assert_array_equal(whole[: len(h) - 160], h[160:])
    assert not early[960:-16].any()
    ratio = early[800:960] / h[960:1120]
    assert (np.diff(ratio) < 0).all()


def test_room_longer_than_the_excerpt_is_cut():
    whole, early = split_room(response(3, seconds=2.0), 16000, 8000)
    assert whole.shape == early.shape == (8000,)
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "codec",
    [
        Codec("pcm_mulaw", 3600.0),
        Codec("pcm_alaw", 3600.0),
        Codec("libopus", 8000.0, 12.0),
        Codec("libopus", 12000.0, 18.0),
        Codec("libopus", 20000.0, 32.0),
    ],
    ids=lambda codec: f"{codec.name}-{codec.kbps:.0f}",
)
def test_codec_comes_back_aligned_and_alike(codec, rate):
    speech, recorded = sf.read(SPEECH, dtype="float32")
    x = resample(speech[: 2 * recorded], recorded, rate)
    x = filtered(x, band_limit(len(x), rate, codec.bandwidth))
    y = through_codec(x, rate, codec)
    assert y.shape == x.shape
    assert lag(x, y) == 0
    assert np.corrcoef(x, y)[0, 1] > 0.8
    assert level_db(y) == pytest.approx(level_db(x), abs=1.5)
    np.testing.assert_array_equal(y, through_codec(x, rate, codec))
    assert agreement_db(x, y) < 60  # it did something


def test_drawn_codecs_cover_both_kinds():
    drawn = [draw_codec(rng(i), (12.0, 32.0)) for i in range(100)]
    assert {codec.name for codec in drawn} == {"libopus", "pcm_mulaw", "pcm_alaw"}
    for codec in drawn:
        if codec.name == "libopus":
            assert 12 <= codec.kbps <= 32
            assert codec.bandwidth in (8000, 12000, 20000)


@pytest.mark.parametrize("slope", [-6.0, -3.0, 0.0, 2.0])
def test_coloured_noise_has_its_slope(slope):
    x = synth.coloured(rng(), 64000, 16000, slope)
    power = np.abs(np.fft.rfft(x)) ** 2
    bands = [power[int(f * 4) : int(f * 8)].mean() for f in (250, 500, 1000, 2000)]
    steps = np.diff(10 * np.log10(bands))
    np.testing.assert_allclose(steps, slope, atol=1.0)


MADE = [synth.hum, synth.fan, synth.clicks, synth.tones, synth.wind]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("make", MADE)
def test_made_noises_are_finite_and_repeatable(make, rate):
    x = make(rng(5), 2 * rate + 17, rate)
    assert x.shape == (2 * rate + 17,)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert np.abs(x).max() > 0.01
    np.testing.assert_array_equal(x, make(rng(5), 2 * rate + 17, rate))


def test_hum_lies_on_the_mains_harmonics():
    x = synth.hum(rng(1), 160000, 16000)
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    peak = np.argmax(spectrum) * 0.1
    base = min((50, 60), key=lambda f: abs(peak / f - round(peak / f)))
    assert peak / base == pytest.approx(round(peak / base), abs=0.05)


@pytest.mark.parametrize("rate", RATES)
def test_wind_is_low_and_comes_in_gusts(rate):
    swings = []
    for i in range(20):
        x = synth.wind(rng(i), 3 * rate, rate)
        power = np.abs(np.fft.rfft(x)) ** 2
        assert power[: 3 * 200].sum() > 0.8 * power.sum()
        assert power[: 3 * 10].sum() < 0.2 * power.sum()  # microphones hear no infrasound
        assert level_db(x) == pytest.approx(-20, abs=0.1)
        swings.append(np.ptp([level_db(part) for part in np.array_split(x, 20)]))
    assert np.median(swings) > 10


def test_fans_speed_up_and_their_tones_slide():
    def tone_and_level(x):
        power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
        return np.argmax(power[100:]) + 100, level_db(x)

    slid = 0
    for i in range(60):
        x = synth.fan(rng(i), 64000, 16000)
        (low, quiet), (high, loud) = sorted(
            (tone_and_level(x[:16000]), tone_and_level(x[-16000:])), key=lambda end: end[1]
        )
        slid += loud - quiet > 4 and 0.55 < low / high < 0.97
    assert 3 <= slid <= 40
