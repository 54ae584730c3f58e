import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.stft import (
    BIN_HZ,
    NATIVE_RATES,
    SpectrumConfig,
    StreamingAnalysis,
    StreamingSynthesis,
    analysis_window,
    bins,
    hop,
    native_rate,
    synthesis_window,
    window_length,
)
from support.signals import agreement_db, block_sizes, cut, noise, tone


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_windows_overlap_add_to_one(rate):
    product = analysis_window(rate)[-2 * hop(rate) :] * synthesis_window(rate)
    np.testing.assert_allclose(product[: hop(rate)] + product[hop(rate) :], 1, atol=1e-6)
    assert analysis_window(rate).sum() == pytest.approx(1, abs=1e-6)
    assert window_length(rate) == rate * 0.032
    assert BIN_HZ * (bins(rate) - 1) == rate / 2


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_a_tone_gives_half_its_amplitude_at_every_rate(rate):
    spectra = StreamingAnalysis(SpectrumConfig.at(rate), 1)(tone(1000, rate, amplitude=0.4)[None])
    np.testing.assert_allclose(np.abs(spectra[0, 10:, 32]), 0.2, rtol=1e-3)


def test_bins_mean_the_same_at_every_rate():
    spectra = [
        StreamingAnalysis(SpectrumConfig.at(rate), 1)(tone(700, rate)[None])[0, 20, :129]
        for rate in NATIVE_RATES
    ]
    for other in spectra[:-1]:
        # The windows sample the same curve at other points: equal up to that.
        np.testing.assert_allclose(np.abs(other[:60]), np.abs(spectra[-1][:60]), atol=2e-3)


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_synthesis_undoes_analysis(rate):
    x = noise((2, rate))
    config = SpectrumConfig.at(rate)
    y = StreamingSynthesis(config, 2)(StreamingAnalysis(config, 2)(x))
    lead = hop(rate)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert agreement_db(x[:, :-lead], y[:, lead:]) > 120


@given(rate=st.sampled_from(NATIVE_RATES), sizes=block_sizes(3000))
def test_blocks_do_not_matter(rate, sizes):
    x = noise((9000, 2))
    config = SpectrumConfig.at(rate)
    whole = StreamingAnalysis(config, 2)(x.T)
    analysis, synthesis = StreamingAnalysis(config, 2), StreamingSynthesis(config, 2)
    parts = [analysis(block.T) for block in cut(x, sizes)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    sound = np.concatenate([synthesis(part) for part in parts], axis=1)
    assert agreement_db(StreamingSynthesis(config, 2)(whole), sound) > 130


def test_a_frame_sees_nothing_later():
    x = noise((1, 4800))
    changed = x.copy()
    changed[:, 2400:] += 1
    config = SpectrumConfig.at(48000)
    before, after = StreamingAnalysis(config, 1)(x), StreamingAnalysis(config, 1)(changed)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert np.abs(before[:, 5] - after[:, 5]).max() > 1e-3


@given(st.integers(8000, 192000))
def test_native_rate_is_the_lowest_that_loses_nothing(rate):
    native = native_rate(rate)
    assert native in NATIVE_RATES
    assert native >= min(rate, 48000)
    assert not any(rate <= other < native for other in NATIVE_RATES)
