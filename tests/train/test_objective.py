"""What a listener makes of an estimate enters the loss where the recipe asks for it."""

from dataclasses import replace

import pytest
import soundfile as sf
import torch

from sordino.examples import FOLDER
from sordino.train.objective import PERCEIVED, TensorBatch, make_objective

RATE = 16000


@pytest.mark.parametrize("name", PERCEIVED)
def test_a_perceived_term_counts_and_has_a_gradient(recipe, name):
    with_term = replace(recipe.loss, **dict.fromkeys(PERCEIVED, 0.0) | {name: 0.5})
    objective = make_objective(replace(recipe, loss=with_term))
    x, _ = sf.read(FOLDER / "noisy" / "cafe_16k.flac", dtype="float32")
    noisy = torch.from_numpy(x[: 2 * RATE].reshape(2, RATE))
    batch = TensorBatch(noisy, 0.5 * noisy, RATE, torch.full((2,), 8000.0), torch.ones(2, 100))
    step = objective(batch)
    assert set(PERCEIVED) & set(step.terms) == {name}
    assert step.terms[name] > 0
    step.terms[name].backward(retain_graph=True)
    gradients = [p.grad for p in objective.network.parameters() if p.grad is not None]
    assert any(g.abs().max() > 0 for g in gradients)
    step.loss.backward()
    assert all(torch.isfinite(g).all() for g in gradients)
    silent = batch._replace(clean=torch.zeros_like(noisy))
    assert objective(silent).terms[name] == 0
