"""The distance of envelopes follows the log-likelihood ratio and hears colour, not level."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sordino.evaluate.composite import llr
from sordino.train.losses.llr import ORDER, RATE, LlrLoss
from support.mixtures import noisy_and_clean

Distance = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(scope="module")
def distance() -> Distance:
    """Of sounds that are known up to half of the sampling rate."""
    measure = LlrLoss()
    return lambda estimate, clean: measure(estimate, clean, torch.tensor([RATE / 2]))


@pytest.fixture(scope="module")
def sounds() -> tuple[Tensor, Tensor]:
    noisy, clean = noisy_and_clean()
    return torch.tensor(noisy)[None], torch.tensor(clean)[None]


def test_it_follows_the_log_likelihood_ratio(distance, sounds):
    noisy, clean = sounds
    mixed = [clean + share * (noisy - clean) for share in (0.02, 0.1, 0.3, 1.0)]
    ours = [float(distance(x, clean)) for x in mixed]
    theirs = [llr(clean[0].numpy(), x[0].numpy()) for x in mixed]
    assert ours == sorted(ours)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


def test_the_same_envelope_is_no_distance_at_any_level(distance, sounds):
    _, clean = sounds
    assert float(distance(clean, clean)) == pytest.approx(0, abs=1e-5)
    assert float(distance(0.3 * clean, clean)) == pytest.approx(0, abs=1e-3)


def test_a_lost_colour_counts_though_next_to_no_energy_is_lost(distance, sounds):
    _, clean = sounds
    # The mean of two neighbours takes what is near 8 kHz.
    dull = functional.avg_pool1d(functional.pad(clean, (1, 0)), 2, 1)
    lost = 1 - float(dull.square().mean() / clean.square().mean())
    assert lost < 0.1
    assert float(distance(dull, clean)) > 0.1


def test_what_lies_in_unknown_bands_does_not_count(sounds):
    _, clean = sounds
    measure, hz = LlrLoss(), torch.tensor([4000.0])
    spectrum = torch.fft.rfft(torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)))
    known = torch.linspace(0, RATE / 2, spectrum.shape[-1]) < hz + 100
    hiss = 0.1 * torch.fft.irfft(spectrum.masked_fill(known, 0), clean.shape[-1])
    assert float(measure(clean + hiss, clean, 2 * hz)) > 1
    assert float(measure(clean + hiss, clean, hz)) < 0.01


def test_it_pulls_an_estimate_towards_the_clean_envelope(distance, sounds):
    noisy, clean = sounds
    taps = torch.zeros(1, 1, ORDER).index_fill(2, torch.tensor([ORDER - 1]), 1.0).requires_grad_()
    padded = functional.pad(noisy, (ORDER - 1, 0))[:, None]
    before = distance(functional.conv1d(padded, taps)[:, 0], clean).sum()
    (gradient,) = torch.autograd.grad(before, taps)
    moved = taps - 0.02 * gradient / gradient.norm()
    assert distance(functional.conv1d(padded, moved)[:, 0], clean).sum() < before


@pytest.mark.parametrize("estimate", ["zeros", "band", "tone"])
def test_odd_sounds_have_a_finite_distance_and_gradient(distance, sounds, estimate):
    _, clean = sounds
    time = torch.arange(clean.shape[-1])[None]
    spectrum = torch.fft.rfft(clean)
    spectrum[:, spectrum.shape[-1] // 2 :] = 0
    odd = {
        "zeros": torch.zeros_like(clean),
        "band": torch.fft.irfft(spectrum, clean.shape[-1]),
        "tone": torch.sin(0.3 * time),
    }[estimate].requires_grad_()
    value = distance(odd, clean).sum()
    value.backward()
    assert torch.isfinite(value)
    assert odd.grad is not None
    assert torch.isfinite(odd.grad).all()
