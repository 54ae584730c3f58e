"""What is lost of intelligibility is what ESTOI finds lost."""

import pytest
import torch
from pystoi import stoi

from sordino.train.losses.estoi import RATE, SIZE, EstoiLoss
from support.mixtures import noisy_and_clean


@pytest.fixture(scope="module")
def lack():
    return EstoiLoss()


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.05])
def test_it_is_near_estoi(lack, share):
    noisy, clean = noisy_and_clean()
    degraded = clean + share * (noisy - clean)
    ours = 1 - float(lack(torch.tensor(degraded)[None], torch.tensor(clean)[None]))
    assert ours == pytest.approx(stoi(clean, degraded, RATE, extended=True), abs=0.04)


def test_level_and_pauses_make_no_difference(lack):
    noisy, clean = (torch.tensor(x) for x in noisy_and_clean())
    lead = torch.zeros(78 * (SIZE // 2))  # one second of whole steps between frames
    once = lack(noisy[None], clean[None])
    torch.testing.assert_close(lack(0.1 * noisy[None], clean[None]), once, rtol=0.01, atol=0)
    hiss = 0.1 * torch.randn(len(lead), generator=torch.Generator().manual_seed(0))
    later = lack(torch.cat([hiss, noisy])[None], torch.cat([lead, clean])[None])
    torch.testing.assert_close(later, once, rtol=0.02, atol=0)


def test_what_is_too_short_counts_as_nothing(lack):
    x = torch.randn(1, 5000, generator=torch.Generator().manual_seed(1))
    assert float(lack(torch.zeros_like(x), x)) == 0
    silent = torch.zeros(1, RATE)
    assert torch.isfinite(lack(silent, silent)).all()
