"""Keeping enrolled voices: the right ones stay, the watchdog acts, and blocks of any size agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sordino
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.model import load_model
from sordino.voice.stream import VoiceWatchdog
from support import models
from support.signals import agreement_db, block_sizes, level_db, run, tone

RATE = 16000
LOW, HIGH = tone(300, RATE, 3, 0.3), tone(3000, RATE, 3, 0.3)
INNER = slice(RATE // 10, -RATE // 10)  # windows have settled


@pytest.fixture(scope="module")
def model():
    return models.voices_model()


def clean(model, sound, **options):
    return sordino.denoise(sound, RATE, model, **options)


def test_without_a_profile_everybody_stays(model):
    assert agreement_db(LOW + HIGH, clean(model, LOW + HIGH)) > 100


@pytest.mark.parametrize(("number", "kept", "gone"), [(0, LOW, HIGH), (1, HIGH, LOW)])
def test_the_enrolled_voice_stays_and_the_other_goes(model, number, kept, gone):
    voice = models.voice(number)
    assert agreement_db(kept[INNER], clean(model, kept + gone, voice=voice)[INNER]) > 40
    alone = clean(model, gone, voice=voice, voice_fallback=None)
    assert level_db(alone[INNER]) < level_db(gone) - 55


def test_several_profiles_keep_several_people(model):
    both = [models.voice(0), models.voice(1)]
    assert agreement_db((LOW + HIGH)[INNER], clean(model, LOW + HIGH, voice=both)[INNER]) > 40


@pytest.mark.parametrize("decibels", [6, 20])
def test_others_are_attenuated_by_no_more_than_is_wanted(model, decibels):
    voice = models.voice(0)
    left = clean(model, HIGH, voice=voice, others_db=decibels, voice_fallback=None)
    assert level_db(left[INNER]) - level_db(HIGH[INNER]) == pytest.approx(-decibels, abs=0.2)
    assert agreement_db(LOW[INNER], clean(model, LOW, voice=voice, others_db=decibels)[INNER]) > 40


def test_a_wrong_profile_silences_nobody(model):
    sound = np.tile(HIGH, 3)
    denoiser = Denoiser(model, RATE, voice=models.voice(0), voice_fallback=2.0)
    left = denoiser.feed(sound)
    assert level_db(left[RATE : 2 * RATE]) < level_db(HIGH) - 55
    assert agreement_db(sound[4 * RATE : 8 * RATE], left[4 * RATE : 8 * RATE]) > 100
    assert denoiser.voice_missing
    assert denoiser.keeps_everybody


def test_the_voice_is_kept_alone_again_when_it_is_heard(model):
    denoiser = Denoiser(model, RATE, voice=models.voice(0), voice_fallback=2.0)
    parts = [denoiser.feed(np.tile(HIGH, 2)), denoiser.feed(LOW)]
    assert not denoiser.voice_missing
    assert not denoiser.keeps_everybody
    left = np.concatenate([*parts, denoiser.feed(LOW + HIGH), denoiser.flush()])
    assert agreement_db(LOW[INNER], left[-len(LOW) :][INNER]) > 40


def test_never_falling_back_still_tells_that_the_voice_is_missing(model):
    denoiser = Denoiser(model, RATE, voice=models.voice(0), voice_fallback=None)
    left = denoiser.feed(np.tile(HIGH, 4))
    assert denoiser.voice_missing
    assert not denoiser.keeps_everybody
    assert level_db(left[-RATE:]) < level_db(HIGH) - 55


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(sizes=block_sizes(3000), voices=st.sampled_from([[0], [0, 1]]))
def test_blocks_of_any_size_give_the_same(sizes, voices):
    """Also where the watchdog changes its mind in the middle of a block."""
    model = models.voices_model()
    low, high = tone(300, 8000, 1, 0.3), tone(3000, 8000, 1.3, 0.3)
    sound = np.concatenate([high, low, low + high[:8000]])

    def made():
        each = [models.voice(number) for number in voices]
        return Denoiser(model, 8000, voice=each, voice_fallback=1.0, others_db=30)

    whole, parts = run(made(), sound, [len(sound)]), run(made(), sound, sizes)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_many_streams_in_one_batch_get_what_each_would_get_alone(model):
    sounds = [np.tile(HIGH, 2), np.concatenate([LOW, HIGH]), np.concatenate([HIGH, LOW])]

    def made(number):
        return Denoiser(model, RATE, voice=models.voice(number), voice_fallback=1.0)

    alone = [made(i % 2).feed(sound) for i, sound in enumerate(sounds)]
    together, outputs = [made(i % 2) for i in range(3)], [[], [], []]
    sizes = (500, 640, 333)
    for start in range(0, 6 * RATE, 16000):
        for each, sound, size in zip(together, sounds, sizes, strict=True):
            each.analyse(sound[start : start + size])
        Denoiser.run_batch(together)
        for each, output in zip(together, outputs, strict=True):
            output.append(each.synthesise())
        for each, sound, size, output in zip(together, sounds, sizes, outputs, strict=True):
            output.append(each.feed(sound[start + size : start + 16000]))
    for expected, output in zip(alone, outputs, strict=True):
        np.testing.assert_allclose(np.concatenate(output), expected, atol=1e-5)


def test_each_channel_is_filtered_and_any_channel_is_heard(model):
    denoiser = Denoiser(model, RATE, 2, voice=models.voice(0), voice_fallback=1.0)
    left = denoiser.feed(np.stack([LOW, HIGH], 1))
    assert level_db(left[INNER, 0]) == pytest.approx(level_db(LOW[INNER]), abs=0.1)
    assert level_db(left[INNER, 1]) < level_db(HIGH) - 55
    assert not denoiser.voice_missing
    assert denoiser.target_probability > 0.9


def test_a_farther_person_is_no_reason_to_fall_back():
    watchdog = VoiceWatchdog(1.0)
    for _ in range(100):
        watchdog.update(0.9, 0.9, 1.0)
    for _ in range(1000):
        watchdog.update(0.9, 0.1, 10**-0.7)
    assert not watchdog.missing
    for _ in range(100):
        watchdog.update(0.9, 0.1, 10**-0.5)
    assert watchdog.missing


def test_noise_and_silence_are_no_speech_of_others():
    watchdog = VoiceWatchdog(1.0)
    for power in (0.0, 1.0):
        for _ in range(1000):
            watchdog.update(0.1, 0.1, power)
    assert not watchdog.missing


def test_warm_up_counts_for_nothing(model):
    denoiser = Denoiser(model, RATE, voice=models.voice(0), voice_fallback=2.0)
    denoiser.warm_up(HIGH)
    assert not denoiser.voice_missing


def test_a_model_of_format_1_cannot_keep_a_voice():
    with pytest.raises(SordinoError, match="'small' was not trained to keep one voice only"):
        Denoiser("small", voice=models.voice(0))


def test_no_profile_leaves_the_default_as_it_is():
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    expected = Denoiser(load_model(), RATE).feed(noise)
    for nobody in (None, (), []):
        np.testing.assert_array_equal(
            Denoiser(sample_rate=RATE, voice=nobody).feed(noise), expected
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"others_db": -1}, "other voices by -1 dB"),
        ({"voice_fallback": 0.1}, "the fallback is after 0.1 s"),
        ({"voice": [models.voice(0)] * 9}, "at most 8"),
    ],
)
def test_options_out_of_range_are_refused(model, options, message):
    with pytest.raises(SordinoError, match=message):
        Denoiser(model, **options)
