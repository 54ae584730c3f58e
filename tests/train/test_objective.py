"""What a batch costs: what a listener makes of it counts where asked, and chains remember."""

from dataclasses import replace

import pytest
import soundfile as sf
import torch

from sordino.errors import SordinoError
from sordino.examples import FOLDER
from sordino.train.objective import PERCEIVED, TensorBatch, make_objective
from sordino.train.unet import istft, stft, subtract

RATE = 16000


@pytest.mark.slow
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


def test_memory_goes_on_along_a_chain_and_nowhere_else(recipe):
    loop = replace(recipe.train, batch=4, chain=2)
    objective = make_objective(replace(recipe, train=loop))
    network, noisy = objective.network, torch.randn(4, RATE, generator=torch.Generator())
    batch = TensorBatch(noisy, noisy / 2, RATE, torch.full((4,), 8000.0), torch.ones(4, 100))
    estimate = objective(batch).estimate
    spectrum, (voice, state) = stft(noisy, RATE), network.start(2, noisy.device)
    first = network(spectrum[::2], voice, state)
    second = network(spectrum[1::2], voice, first.state)
    for place, output in enumerate((first, second)):
        frames = spectrum[place::2]
        alone = istft(subtract(frames, output.mask), RATE)
        torch.testing.assert_close(estimate[place::2], alone, atol=1e-5, rtol=1e-4)
    forgetful = network(spectrum[1::2], voice, state)
    assert (forgetful.mask - second.mask).abs().max() > 1e-3


@pytest.mark.parametrize("chain", [0, 3])
def test_a_batch_is_made_of_whole_chains(recipe, chain):
    with pytest.raises(SordinoError, match=r"train\.chain must divide train.batch"):
        make_objective(replace(recipe, train=replace(recipe.train, batch=4, chain=chain)))
