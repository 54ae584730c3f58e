"""The differentiable DNSMOS is DNSMOS, and a network can follow its gradient."""

import numpy as np
import pytest
import soundfile as sf
import torch

from sordino.evaluate import dnsmos
from sordino.examples import FOLDER
from sordino.train.losses.dnsmos import RATE, Dnsmos, lowered

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opinion():
    return Dnsmos()


@pytest.mark.parametrize("folder", ["noisy", "clean"])
def test_it_equals_the_network_of_speechmos(opinion, folder):
    x, rate = sf.read(FOLDER / folder / "cafe_16k.flac", dtype="float32")
    assert rate == RATE
    x = np.resize(x, dnsmos.SEGMENT)
    session = dnsmos._session("sig_bak_ovr.onnx")
    expected = np.asarray(session.run(None, {"input_1": x[None]})[0])
    np.testing.assert_allclose(opinion(torch.from_numpy(x)[None]), expected, atol=1e-3)


def test_its_gradient_leads_to_a_better_opinion(opinion):
    x, _ = sf.read(FOLDER / "noisy" / "cafe_16k.flac", dtype="float32")
    x = torch.from_numpy(x[None, : 2 * RATE]).requires_grad_()
    before = opinion(x).sum()
    (gradient,) = torch.autograd.grad(before, x)
    after = opinion(x + 1e-4 * gradient / gradient.square().mean().sqrt()).sum()
    assert after > before + 1e-3
    assert not any(p.requires_grad for p in opinion.parameters())


@pytest.mark.parametrize("rate", [24000, 48000])
def test_lowering_the_rate_keeps_a_tone(rate):
    time = torch.arange(rate, dtype=torch.float64) / rate
    tone = torch.sin(2 * torch.pi * 440 * time) + torch.sin(2 * torch.pi * 9000 * time)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(RATE, dtype=torch.float64) / RATE)
    torch.testing.assert_close(lowered(tone[None], rate)[0], expected, atol=1e-6, rtol=0)
