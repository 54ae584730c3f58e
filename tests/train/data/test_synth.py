"""Made noises of many parts: drawn by the seed, of the right kind, at every rate."""

import numpy as np
import pytest

from sordino.train.data import synth
from sordino.train.data.signal import frame_power
from sordino.train.data.synth import animals

KINDS = (synth.engine, synth.bursts, synth.impacts, animals)
SEEDS = range(20)


def draw(kind, seed, rate=16000, seconds=3.0):
    return kind(np.random.default_rng(seed), round(seconds * rate), rate)


@pytest.mark.slow
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
        x = draw(synth.engine, seed, seconds=0.5)
        power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
        likeness = np.fft.irfft(power)[: len(x)]
        repeats.append(likeness[16000 // 450 : 16000 // 15].max() / likeness[0])
    assert np.median(repeats) > 0.4


@pytest.mark.parametrize("kind", [synth.bursts, synth.impacts, animals])
def test_some_come_and_go(kind):
    ranges = []
    for seed in SEEDS:
        level = 10 * np.log10(frame_power(draw(kind, seed), 16000) + 1e-9)
        ranges.append(np.percentile(level, 95) - np.percentile(level, 5))
    assert np.median(ranges) > 10  # dB; steady noise has 2


def test_what_is_struck_rings_and_dies_away():
    """A strike is a sudden rise of level, and no fall is as steep."""
    rises = 0
    for seed in SEEDS:
        power = frame_power(draw(synth.impacts, seed, seconds=4), 16000) + 1e-9
        change = 10 * np.log10(power[1:] / power[:-1])
        rises += change.max() > -change.min()
    assert rises >= 0.8 * len(SEEDS)


def test_periodic_waves_have_the_harmonics_of_their_turns_and_no_others():
    rate, pitch = 16000, 230.0
    turn = np.arange(rate) * pitch / rate
    for seed in SEEDS:
        wave = synth.periodic(np.random.default_rng(seed), turn, (0, 9))
        assert np.sqrt(np.mean(wave**2)) == pytest.approx(1, abs=0.05)
        power = np.abs(np.fft.rfft(wave)) ** 2  # bins of 1 Hz
        harmonics = power[:: int(pitch)][: int(0.45 * rate / pitch) + 1]
        assert harmonics.sum() > 0.99 * power.sum()


def test_calls_of_animals_have_a_pitch_that_moves():
    """Frames repeat themselves at a pitch, and not all at the same one."""
    pitches, likeness = [], []
    for seed in SEEDS:
        frames = draw(animals, seed)[: 48000 // 640 * 640].reshape(-1, 640)
        loud = frames[(frames**2).mean(1) > 0.05 * (frames**2).mean(1).max()]
        power = np.abs(np.fft.rfft(loud, 1280)) ** 2
        same = np.fft.irfft(power)[:, 4:320] / power.mean(1, keepdims=True)
        likeness.append(np.median(same.max(1)))
        pitches.append(np.std(np.log2(4 + same.argmax(1))))
    assert np.median(likeness) > 0.75  # noise has 0.5
    assert np.median(pitches) > 0.25  # octaves
