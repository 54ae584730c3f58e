"""Made noises of many parts: drawn by the seed, of the right kind, at every rate."""

import numpy as np
import pytest

from sordino.train import textures
from sordino.train.levels import frame_power

KINDS = (textures.engine, textures.bursts, textures.impacts)
SEEDS = range(20)


def draw(kind, seed, rate=16000, seconds=3.0):
    return kind(np.random.default_rng(seed), round(seconds * rate), rate)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [8000, 48000])
def test_each_draw_is_its_own_and_repeatable(kind, rate):
    sounds = [draw(kind, seed, rate, 1.5) for seed in SEEDS]
    for sound in sounds:
        assert sound.shape == (round(1.5 * rate),)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 1e-4
    assert np.array_equal(sounds[3], draw(kind, 3, rate, 1.5))
    assert not np.allclose(sounds[3], sounds[4])


def test_engines_repeat_themselves():
    repeats = []
    for seed in SEEDS:
        x = draw(textures.engine, seed, seconds=0.5)
        power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
        likeness = np.fft.irfft(power)[: len(x)]
        repeats.append(likeness[16000 // 450 : 16000 // 15].max() / likeness[0])
    assert np.median(repeats) > 0.4


@pytest.mark.parametrize("kind", [textures.bursts, textures.impacts])
def test_bursts_and_impacts_come_and_go(kind):
    ranges = []
    for seed in SEEDS:
        level = 10 * np.log10(frame_power(draw(kind, seed), 16000) + 1e-9)
        ranges.append(np.percentile(level, 95) - np.percentile(level, 5))
    assert np.median(ranges) > 10  # dB; steady noise has 2


def test_what_is_struck_rings_and_dies_away():
    """A strike is a sudden rise of level, and no fall is as steep."""
    rises = 0
    for seed in SEEDS:
        power = frame_power(draw(textures.impacts, seed, seconds=4), 16000) + 1e-9
        change = 10 * np.log10(power[1:] / power[:-1])
        rises += change.max() > -change.min()
    assert rises >= 0.8 * len(SEEDS)
