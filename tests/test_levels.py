"""How much noise was taken, as heard in the pauses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.levels import MOST_DB, NoiseMeter
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


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=5))
def test_blocks_do_not_matter(sizes):
    x = noise((48000, 2))
    assert abs(taken(x, x / 2, sizes=sizes) - 6.02) < 0.01


def test_digital_silence_is_not_counted():
    x = noise(160000)
    x[:80000] = 0
    assert abs(taken(x, x / 10) - 20) < 0.01


def test_nothing_heard_and_nothing_left():
    silence = np.zeros(16000, np.float32)
    assert taken(silence, silence) is None
    assert taken(noise(100), noise(100)) is None  # shorter than a segment
    assert taken(noise(16000), silence) == MOST_DB
