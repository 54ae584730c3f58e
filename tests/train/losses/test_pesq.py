"""The audible disturbance is near PESQ, and a network can follow its gradient."""

from dataclasses import replace

import numpy as np
import pesq
import pytest
import torch

from sordino.train.losses.pesq import RATE, PesqLoss
from sordino.train.objective import TensorBatch, make_objective
from support.mixtures import noisy_and_clean

WIDE = torch.tensor([8000.0])


@pytest.fixture(scope="module")
def disturbance():
    return PesqLoss()


def score(disturbance, degraded, clean):
    """As P.862.2 maps a raw score to an opinion."""
    raw = 4.5 - float(disturbance(torch.tensor(degraded)[None], torch.tensor(clean)[None], WIDE))
    return 0.999 + 4 / (1 + np.exp(-1.3669 * raw + 3.8224))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.05])
def test_it_is_near_pesq(disturbance, share):
    noisy, clean = noisy_and_clean()
    degraded = clean + share * (noisy - clean)
    expected = pesq.pesq(RATE, clean, degraded, "wb")
    assert score(disturbance, degraded, clean) == pytest.approx(expected, abs=0.25)


def test_equal_sounds_differ_by_nothing_and_level_makes_no_difference(disturbance):
    noisy, clean = (torch.tensor(x)[None] for x in noisy_and_clean())
    assert disturbance(clean, clean, WIDE) < 0.01
    loud, quiet = (disturbance(gain * noisy, clean, WIDE) for gain in (1.0, 0.01))
    torch.testing.assert_close(loud, quiet, rtol=1e-3, atol=0)


def test_what_lies_in_unknown_bands_does_not_count(disturbance):
    clean = torch.tensor(noisy_and_clean()[1])[None]
    time = torch.arange(clean.shape[1], dtype=torch.float64) / RATE
    whistle = clean + (0.05 * torch.sin(2 * torch.pi * 6000 * time)).float()
    assert disturbance(whistle, clean, WIDE) > 0.5
    assert disturbance(whistle, clean, torch.tensor([4000.0])) < 0.05


def test_its_gradient_leads_to_less(disturbance):
    noisy, clean = (torch.tensor(x)[None] for x in noisy_and_clean())
    noisy.requires_grad_()
    before = disturbance(noisy, clean, WIDE).sum()
    (gradient,) = torch.autograd.grad(before, noisy)
    after = disturbance(noisy - 1e-4 * gradient / gradient.square().mean().sqrt(), clean, WIDE)
    assert after < before - 1e-3


@pytest.mark.parametrize("term", ["pesq", "estoi"])
def test_a_loss_with_it_has_its_term_and_a_finite_gradient(recipe, term):
    objective = make_objective(replace(recipe, loss=replace(recipe.loss, **{term: 0.1})))
    noisy, clean = (torch.tensor(x[: 2 * RATE].reshape(2, RATE)) for x in noisy_and_clean())
    clean[1] = 0  # an example without speech counts as undisturbed
    batch = TensorBatch(noisy, clean, RATE, torch.full((2,), 8000.0), torch.ones(2, 100))
    step = objective(batch)
    assert 0 < step.terms[term] < 3
    step.loss.backward()
    gradients = [p.grad for p in objective.network.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    silent = batch._replace(clean=torch.zeros_like(noisy))
    assert objective(silent).terms[term] == 0
    narrow = batch._replace(sample_rate=8000, speech=torch.ones(2, 200))
    assert term not in objective(narrow).terms
