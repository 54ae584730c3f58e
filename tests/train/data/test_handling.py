"""A touched microphone and typing beside it: transients over low thumps, at every rate alike."""

import numpy as np
import pytest

from sordino.train.data.signal import frame_power
from sordino.train.data.synth import handling, keyboard, thump

RATES = (8000, 16000, 24000, 48000)


def rng(seed=0):
    return np.random.default_rng(seed)


def share_below(x, rate, hz):
    power = np.abs(np.fft.rfft(x)) ** 2
    return power[: int(hz * len(x) / rate)].sum() / power.sum()


def crest_db(x):
    return 20 * np.log10(np.abs(x).max() / np.sqrt(np.mean(x**2)))


@pytest.mark.parametrize("rate", RATES)
def test_a_thump_is_low_short_and_starts_at_once(rate):
    for i in range(20):
        x = thump(rng(i), rate)
        assert x.dtype == np.float32
        assert 0.3 < np.abs(x).max() <= 1
        assert share_below(np.pad(x, (0, rate)), rate, 300) > 0.9
        assert len(x) <= 0.37 * rate
        assert np.abs(x[-rate // 500 :]).max() < 0.01
        assert x[0] == 0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("make", [handling, keyboard])
def test_they_are_finite_repeatable_and_of_any_length(make, rate):
    for samples in (rate // 10, 2 * rate + 17):
        x = make(rng(5), samples, rate)
        assert x.shape == (samples,)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(x, make(rng(5), samples, rate))


@pytest.mark.parametrize("make", [handling, keyboard])
def test_they_come_in_bursts(make):
    drawn = [make(rng(i), 48000, 16000) for i in range(30)]
    assert np.median([crest_db(x) for x in drawn]) > 15  # steady noise has about 12
    quiet = [(frame_power(x, 16000) < 1e-3 * frame_power(x, 16000).max()).mean() for x in drawn]
    assert np.median(quiet) > 0.2


def test_handling_is_low_and_keys_click_above_their_thump():
    touched = [share_below(handling(rng(i), 48000, 16000), 16000, 1000) for i in range(30)]
    assert np.median(touched) > 0.7
    typed = [1 - share_below(keyboard(rng(i), 48000, 16000), 16000, 500) for i in range(30)]
    assert np.median(typed) > 0.2  # clicks
    assert min(typed) < 0.5  # some tables shake
