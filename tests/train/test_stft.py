import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sordino.stft import NATIVE_RATES, SpectrumConfig, StreamingAnalysis, hop
from sordino.train.unet import istft, stft, subtract


@given(rate=st.sampled_from(NATIVE_RATES), hops=st.integers(3, 40), seed=st.integers(0, 99))
def test_overlap_add_gives_the_waveform_back(rate: int, hops: int, seed: int) -> None:
    x = torch.randn(2, hops * hop(rate), generator=torch.Generator().manual_seed(seed))
    y = istft(stft(x, rate), rate)
    assert y.shape == (2, (hops - 1) * hop(rate))
    assert (x[:, : y.shape[1]] - y).square().mean().sqrt() < 1e-5  # 100 dB


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_frames_are_those_of_the_engine(rate: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 30 * hop(rate))).astype(np.float32)
    engine = StreamingAnalysis(SpectrumConfig.at(rate), channels=2)(x)
    ours = torch.view_as_complex(stft(torch.from_numpy(x), rate)).numpy()
    np.testing.assert_allclose(ours, engine, atol=1e-6)


def test_subtract_takes_the_complex_product_out() -> None:
    x, mask = torch.randn(2, 3, 4, 5, 2).unbind(0)
    left = torch.view_as_complex(subtract(x, mask))
    expected = torch.view_as_complex(x.contiguous()) * (
        1 - torch.view_as_complex(mask.contiguous())
    )
    torch.testing.assert_close(left, expected)
