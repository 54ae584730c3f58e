"""Mixtures: repeatable, at the ratio and level asked for, with the right target."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from sordino.errors import SordinoError
from sordino.examples import FOLDER
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from sordino.train.data.mixing import MixConfig, Mixer, mix
from sordino.train.data.noise import excerpt, scatter
from sordino.train.data.signal import active_level, frame_power
from sordino.train.monitor import draw_batch
from support.mixtures import PLAIN, batch, centroids
from support.signals import level_db, noise

RATES = (8000, 16000, 24000, 48000)
LINE = {"agc": 0.5, "packet_loss": 0.5}


def test_batch_is_a_pure_function_of_seed_and_index(corpus):
    config = MixConfig(seconds=1.0, codec=0.1, agc=0.5, packet_loss=0.5, echo=0.2)
    one, other = Mixer(config, corpus), Mixer(config, corpus)
    other.batch(9, 9, 2)  # what was drawn before does not matter
    for index in range(4):
        for x, y in zip(one.batch(1, index, 3), other.batch(1, index, 3), strict=True):
            np.testing.assert_array_equal(x, y)
    first = batch(corpus)
    assert not np.array_equal(first.noisy, batch(corpus, seed=1).noisy)
    assert not np.array_equal(first.noisy, batch(corpus, index=1).noisy)
    assert not np.array_equal(first.noisy[0], first.noisy[1])
    np.testing.assert_array_equal(first.noisy[:2], batch(corpus, size=2).noisy)


@pytest.mark.parametrize("rate", RATES)
def test_shapes_and_limits_with_everything_on(corpus, rate):
    config = MixConfig(seconds=1.5, rates={rate: 1.0}, codec=0.1, silence=0.1, **LINE)
    drawn = Mixer(config, corpus).batch(2, 0, 12)
    samples = round(1.5 * rate)
    assert drawn.sample_rate == rate
    assert drawn.noisy.shape == drawn.clean.shape == (12, samples)
    assert drawn.speech.shape == (12, 150)
    assert drawn.bandwidth.shape == (12,)
    for array in (drawn.noisy, drawn.clean, drawn.bandwidth, drawn.speech):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert np.abs(drawn.noisy).max() <= 1
    assert np.abs(drawn.clean).max() <= 1
    assert (drawn.bandwidth <= rate / 2).all()
    assert (drawn.bandwidth >= 2000).all()
    assert set(np.unique(drawn.speech)) <= {0.0, 1.0}


@pytest.mark.slow
def test_rates_are_drawn_by_weight(corpus):
    mixer = Mixer(replace(PLAIN, seconds=0.2, rates={16000: 3.0, 8000: 1.0}), corpus)
    rates = [mixer.batch(0, index, 1).sample_rate for index in range(200)]
    assert rates.count(16000) / 200 == pytest.approx(0.75, abs=0.1)


@given(st.floats(-10, 30), st.integers(0, 100))
def test_mix_sets_the_ratio_of_active_levels(snr, seed):
    speech, background = noise(32000, seed, 0.3), noise(32000, seed + 1, 0.01)
    speech[8000:20000] = 0
    scaled = mix(speech, background, snr, 16000)
    measured = active_level(speech, 16000) - active_level(scaled, 16000)
    assert measured == pytest.approx(snr, abs=0.1)


def test_mixing_silence_stays_silent():
    assert not mix(noise(16000), np.zeros(16000, np.float32), 0.0, 16000).any()


@pytest.mark.parametrize("snr", [-5.0, 5.0, 20.0])
def test_mixture_is_target_plus_noise_at_the_ratio(corpus, snr):
    drawn = batch(corpus, snr_db=(snr, snr), eq=0.5, coloured=1.0)
    other = batch(corpus, snr_db=(snr + 3, snr + 3), eq=0.5, coloured=1.0)
    for i in range(len(drawn.noisy)):
        added = drawn.noisy[i] - drawn.clean[i]
        # What a voice has under 65 Hz counts as noise, so a little may be added at high ratios.
        ratio = active_level(drawn.clean[i], 16000) - active_level(added, 16000)
        assert ratio == pytest.approx(snr, abs=0.1 if snr < 10 else 0.5)
        # At another ratio the same speech meets the same noise.
        assert np.corrcoef(drawn.clean[i], other.clean[i])[0, 1] > 0.99999
        assert np.corrcoef(added, other.noisy[i] - other.clean[i])[0, 1] > 0.99


def test_levels_are_in_range_and_shared(corpus):
    drawn = batch(corpus, size=30, level_dbfs=(-45.0, -6.0))
    levels = [level_db(x) for x in drawn.noisy]
    assert min(levels) > -45.1
    assert max(levels) < -6
    assert max(levels) - min(levels) > 20
    assert np.abs(drawn.noisy).max() <= 0.9901
    (quiet,) = batch(corpus, size=1, level_dbfs=(-40.0, -40.0)).noisy
    assert level_db(quiet) == pytest.approx(-40, abs=0.1)


def test_noise_only_has_an_exactly_silent_target(corpus):
    drawn = batch(corpus, noise_only=1.0, band_limit=1.0)
    assert not drawn.clean.any()
    assert not drawn.speech.any()
    assert (np.abs(drawn.noisy).max(axis=1) > 0).all()
    assert (drawn.bandwidth == 8000).all()  # nothing is to be heard in any band


def test_speech_only_is_its_own_target(corpus):
    drawn = batch(corpus, speech_only=1.0)
    for noisy, clean in zip(drawn.noisy, drawn.clean, strict=True):
        assert level_db(noisy - clean) < level_db(clean) - 60
    assert drawn.speech.mean() > 0.3


def test_silence_is_silent(corpus):
    drawn = batch(corpus, silence=1.0)
    assert not drawn.noisy.any()
    assert not drawn.clean.any()
    assert not drawn.speech.any()


@pytest.mark.parametrize("rate", RATES)
def test_room_target_is_aligned_and_drier(corpus, rate):
    drawn = batch(corpus, speech_only=1.0, room=1.0, rates={rate: 1.0}, late_start=0, pause=0)
    for noisy, clean in zip(drawn.noisy, drawn.clean, strict=True):
        correlation = correlate(np.diff(noisy, 2), np.diff(clean, 2), "full", "fft")
        assert np.argmax(correlation) == len(clean) - 3
        assert 3 < level_db(clean) - level_db(noisy - clean) < 40  # late reverberation is left


@pytest.mark.parametrize(("rate", "limit"), [(16000, 4000.0), (48000, 8000.0), (48000, 12000.0)])
def test_band_limit_holds_for_mixture_and_target(corpus, rate, limit):
    drawn = batch(corpus, rates={rate: 1.0}, band_limit=1.0, band_limits=(limit,), hum=0.3)
    assert (drawn.bandwidth <= limit).all()
    for x in (*drawn.noisy, *drawn.clean):
        power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
        edge = int((limit + 100) * len(x) / rate)
        assert power[edge:].max() < 1e-4 * power[:edge].max()
        assert 10 * np.log10(power[edge:].mean() / power[:edge].mean()) < -40


def test_bandwidth_of_the_speech_limits_the_example(corpus):
    drawn = batch(corpus, rates={48000: 1.0}, size=8)
    # The bundled speech is telephone prompts, here played up to 14 % faster.
    assert (drawn.bandwidth <= 8000 * 1.14).all()


def test_noise_played_faster_is_higher_and_backwards_is_reversed(corpus):
    def centroid(speed):
        steady = {"noise_speed": (speed, speed), "backwards": 0, "scatter": 0, "switch": 0}
        drawn = batch(corpus, size=12, noise_only=1.0, **steady)
        return np.median(centroids(drawn.noisy))

    assert centroid(1.5) > 1.05 * centroid(1.0) > 1.1 * centroid(0.7)
    same = {"noise_speed": (1.0, 1.0), "noise_only": 1.0, "scatter": 0, "modulate": 0, "switch": 0}
    forwards = batch(corpus, backwards=0, **same).noisy
    assert not np.allclose(forwards, batch(corpus, backwards=1, **same).noisy, atol=1e-3)


def test_target_has_less_of_the_background_of_its_recording(corpus, tmp_path):
    path = sorted((FOLDER / "train" / "speech").iterdir())[0]
    speech, rate = sf.read(path, dtype="float32")
    hiss = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    hiss *= np.abs(speech).max() * 10 ** (-55 / 20)
    (tmp_path / "speech").mkdir()
    sf.write(tmp_path / "speech" / "a-1.flac", speech + hiss, rate)
    config = CorpusConfig(
        speech=(CorpusSource(str(tmp_path / "speech")),), cache=str(tmp_path / "cache")
    )
    hissing = replace(corpus, speech=Corpus.open(config, progress=False).speech)
    alone = {"seconds": 5.0, "speech_only": 1.0, "expand_db": 12.0}
    left, taken, less = (
        batch(hissing, **alone, target_expand_db=depth, clean_db=-100.0).clean
        for depth in (0.0, 30.0, 12.0)
    )
    # What is quiet enough is left as it is in the mixture.
    np.testing.assert_array_equal(batch(hissing, **alone, target_expand_db=30.0).clean, less)
    for x, y in zip(left, taken, strict=True):
        before, after = frame_power(x, 16000), frame_power(y, 16000)
        ratio = after[before > 1e-9] / before[before > 1e-9]
        loud = before[before > 1e-9] > 1e-2 * before.max()
        ratio /= np.median(ratio[loud])  # the level of the mixture
        assert ratio.min() < 0.25
        assert (np.abs(ratio[loud] - 1) < 0.05).mean() > 0.95


def test_clipping_and_codec_change_the_mixture_only(corpus):
    plain = batch(corpus, level_dbfs=(-20.0, -20.0))
    for effect in ({"clipping": 1.0}, {"codec": 1.0}):
        drawn = batch(corpus, level_dbfs=(-20.0, -20.0), snr_db=(20.0, 20.0), **effect)
        for noisy, clean, untouched in zip(drawn.noisy, drawn.clean, plain.noisy, strict=True):
            assert not np.array_equal(noisy, untouched)
            correlation = correlate(np.diff(noisy, 2), np.diff(clean, 2), "full", "fft")
            assert np.argmax(correlation) == len(clean) - 3


def test_pauses_leave_noise_going_on(corpus):
    config = {"late_start": 1.0, "coloured": 1.0, "snr_db": (0.0, 0.0)}
    drawn = batch(corpus, size=12, **config)
    late = [level_db(clean[:1600]) < level_db(clean) - 60 for clean in drawn.clean]
    assert sum(late) >= 6
    assert all(level_db(noisy[:1600]) > level_db(noisy) - 12 for noisy in drawn.noisy)


def test_short_clips_fill_an_excerpt(tmp_path):
    (tmp_path / "keys").mkdir()
    for i in range(3):
        sf.write(tmp_path / "keys" / f"stroke-{i}.wav", noise(1600, i, 0.5), 16000)
    source = (CorpusSource(str(tmp_path / "keys")),)
    pool = Corpus.open(CorpusConfig(noise=source, cache=str(tmp_path / "cache")), False).noise
    assert pool.kin(0) == [0, 1, 2]
    rng = np.random.default_rng(0)
    for fill in (excerpt, scatter):
        x = fill(rng, pool, 0, 48000, 16000)
        assert x.shape == (48000,)
        frames = np.abs(x).reshape(-1, 160).max(axis=1) > 0
        strokes = (np.diff(frames.astype(int)) == 1).sum()
        assert strokes >= 2
        assert not frames.all()


def test_mixer_says_what_is_missing(corpus):
    with pytest.raises(SordinoError, match="folder of speech"):
        Mixer(PLAIN, Corpus(speech=corpus.speech))
    with pytest.raises(SordinoError, match="44100"):
        Mixer(replace(PLAIN, rates={44100: 1.0}), corpus)


@pytest.mark.slow
def test_picture_of_a_batch(corpus, tmp_path):
    pytest.importorskip("matplotlib")
    draw_batch(batch(corpus, size=2), tmp_path / "batch.png")
    assert (tmp_path / "batch.png").stat().st_size > 10_000
