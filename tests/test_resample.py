import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.resample import Resampler
from support.signals import ALL_RATES, agreement_db, block_sizes, cut, noise, tone

PAIRS = [(44100, 48000), (48000, 44100), (11025, 16000), (192000, 48000), (48000, 96000)]


def convert(x, in_rate, out_rate):
    resampler = Resampler(in_rate, out_rate, len(x))
    return np.concatenate([resampler.process(x), resampler.flush()], axis=1)


@given(rates=st.sampled_from(PAIRS), samples=st.integers(0, 20000))
def test_length_is_exact(rates, samples):
    in_rate, out_rate = rates
    expected = samples * out_rate / in_rate
    assert abs(convert(noise((1, samples)), in_rate, out_rate).shape[1] - expected) < 1


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
@pytest.mark.parametrize("frequency", [100, 1234, 3000])
def test_no_delay_is_left(in_rate, out_rate, frequency):
    converted = convert(tone(frequency, in_rate)[None], in_rate, out_rate)[0]
    middle = slice(out_rate // 4, 3 * out_rate // 4)
    assert agreement_db(tone(frequency, out_rate)[middle], converted[middle]) > 110


@pytest.mark.slow
@given(rates=st.sampled_from(PAIRS), sizes=block_sizes(30000))
def test_blocks_do_not_matter(rates, sizes):
    x = noise((30000, 2))
    resampler = Resampler(*rates, channels=2)
    parts = [resampler.process(block.T) for block in cut(x, sizes)]
    parts.append(resampler.flush())
    assert agreement_db(convert(x.T, *rates), np.concatenate(parts, axis=1)) > 120


@given(rates=st.sampled_from(PAIRS), step=st.integers(1, 3000))
def test_nothing_waits_longer_than_the_latency(rates, step):
    in_rate, out_rate = rates
    resampler = Resampler(in_rate, out_rate, 1)
    taken = given = 0
    while taken < in_rate // 2:
        given += resampler.process(np.zeros((1, step), np.float32)).shape[1]
        taken += step
        assert taken / in_rate - given / out_rate <= resampler.latency


@pytest.mark.parametrize("rate", [rate for rate in ALL_RATES if rate > 48000])
def test_what_a_lower_rate_cannot_hold_is_removed(rate):
    high = convert(tone(30000, rate)[None], rate, 48000)[0]
    assert np.abs(high[1000:-1000]).max() < 1e-5
