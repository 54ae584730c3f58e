"""How much noise was taken, as heard in the pauses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.errors import SordinoError
from sordino.levels import (
    MAX_TAKEN_DB,
    NoiseMeter,
    checked_attenuation_limit,
    checked_strength,
    noise_taken,
)
from support.signals import cut, noise, tone


def taken(noisy, clean, rate=16000, sizes=(5000,)):
    meter = NoiseMeter(rate)
    for blocks in zip(cut(noisy, sizes), cut(clean, sizes), strict=True):
        meter.feed(*(block.reshape(len(block), -1) for block in blocks))
    return meter.taken_db


@pytest.mark.parametrize("db", [0, 3, 20, 60])
def test_noise_in_the_pauses_is_what_counts(db):
    speech = tone(200, 16000, 10)
    speech[: 3 * 16000] = 0  # a pause
    hiss = noise(len(speech), level=0.01)
    clean = speech + hiss * np.float32(10 ** (-db / 20))
    assert abs(taken(speech + hiss, clean) - db) < 0.2


@pytest.mark.slow
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=5))
def test_blocks_do_not_matter(sizes):
    x = noise((48000, 2))
    assert abs(taken(x, x / 2, sizes=sizes) - 6.02) < 0.01


def test_digital_silence_is_not_counted():
    x = noise(160000)
    x[:80000] = 0
    assert abs(taken(x, x / 10) - 20) < 0.01


@pytest.mark.parametrize(
    ("db", "text"),
    [
        (20.44, "20.4 dB"),
        (0.05, "0.1 dB"),
        (0.04, "none"),
        (-0.3, "none"),
        (None, "nothing heard yet"),
        (MAX_TAKEN_DB, "all of it"),
    ],
)
def test_what_was_taken_in_words(db, text):
    assert noise_taken(db) == text
    assert "0.0 dB" not in text


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, None, True, "0.5", b"1", [1], 10**400])
def test_a_strength_is_a_number_from_0_to_1(value):
    with pytest.raises(SordinoError, match=r"strength is .*: expected 0"):
        checked_strength(value)
    assert checked_strength(np.float32(0.5)) == 0.5


@pytest.mark.parametrize("value", [-0.1, np.nan, "6", [1]])
def test_a_limit_is_none_or_a_number_of_at_least_0(value):
    with pytest.raises(SordinoError, match=r"attenuation limit is .*: expected 0 or more"):
        checked_attenuation_limit(value)
    assert checked_attenuation_limit(None) is None
    assert checked_attenuation_limit(6) == 6.0


def test_nothing_heard_and_nothing_left():
    silence = np.zeros(16000, np.float32)
    assert taken(silence, silence) is None
    assert taken(noise(100), noise(100)) is None  # shorter than a segment
    assert taken(noise(16000), silence) == MAX_TAKEN_DB
