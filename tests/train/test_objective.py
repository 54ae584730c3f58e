"""What a batch costs: what a listener makes of it counts where asked, and chains remember."""

from dataclasses import replace

import pytest
import soundfile as sf
import torch

from sordino import denoise
from sordino.errors import SordinoError
from sordino.examples import FOLDER
from sordino.train.checkpoint import Checkpoint, Progress
from sordino.train.export import export_checkpoint
from sordino.train.layers import Match
from sordino.train.objective import (
    PERCEIVED,
    TensorBatch,
    VoiceBatch,
    make_objective,
    match_loss,
)
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


def test_silence_is_left_out_as_in_the_engine(recipe, tmp_path):
    objective = make_objective(recipe)
    for weight in objective.network.parameters():
        if weight.requires_grad and not weight.any():
            torch.nn.init.normal_(weight, std=0.3)
    sound = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    pause = torch.zeros(1, RATE // 4)
    noisy = torch.cat([pause, sound, pause, sound], 1)
    batch = TensorBatch(noisy, noisy / 2, RATE, torch.full((1,), 8000.0), torch.ones(1, 250))
    estimate = objective(batch).estimate[0].detach()
    weights = {f"average.{k}": v for k, v in objective.network.state_dict().items()}
    path = tmp_path / "test.onnx"
    export_checkpoint(Checkpoint(recipe, Progress(), weights), path, "1")
    engine = torch.from_numpy(denoise(noisy[0].numpy(), RATE, model=path))
    close = dict(atol=2e-4, rtol=0)
    torch.testing.assert_close(estimate, engine[: len(estimate)], **close)


@pytest.mark.parametrize("chain", [0, 3])
def test_a_batch_is_made_of_whole_chains(recipe, chain):
    with pytest.raises(SordinoError, match=r"train\.chain must divide train.batch"):
        make_objective(replace(recipe, train=replace(recipe.train, batch=4, chain=chain)))


def voice_batch(mixtures: list[int], silent: int | None = None) -> VoiceBatch:
    """Rows of 1 s; rows of equal numbers are one mixture, row `silent` has no voice."""
    rows, generator = len(mixtures), torch.Generator().manual_seed(0)
    sounds = 0.1 * torch.randn(rows, RATE, generator=generator)
    noisy = torch.stack([sounds[mixtures.index(number)] for number in mixtures])
    voice = torch.nn.functional.normalize(torch.randn(rows, 192, generator=generator), dim=1)
    if silent is not None:
        voice[silent] = 0
    target = torch.zeros(rows, 100)
    target[::2, :50] = target[1::2, 50:] = 1  # by turns
    width = torch.full((rows,), 8000.0)
    mixture = torch.tensor(mixtures)
    return VoiceBatch(noisy, noisy / 2, RATE, width, torch.ones(rows, 100), voice, target, mixture)


def test_who_speaks_is_told_by_what_is_heard_alone() -> None:
    torch.manual_seed(0)
    batch = voice_batch([0, 0, 2, 2])
    match = Match(128, 8, 192, 192, 4)
    with torch.no_grad():
        match.enrolled.weight.copy_(torch.eye(192))
        match.bias.zero_()
        present = torch.einsum("vt,vs->tvs", batch.target, batch.voice)
        # Both rows of a mixture hear whoever of the two speaks.
        right = (present + present[:, [1, 0, 3, 2]]) * 400 - 200 * batch.voice.sum(0)
        wrong = right.flip(0)
        good, bad = match_loss(match, right, batch), match_loss(match, wrong, batch)
    assert good["target"] < 0.01 < 1 < bad["target"]
    assert good["who"] < 0.01 < 1 < bad["who"]


def test_rows_without_a_voice_are_not_compared() -> None:
    torch.manual_seed(0)
    match, batch = Match(128, 8, 16, 192, 4), voice_batch([0, 1, 2], silent=1)
    heard = torch.randn(100, 3, 16)
    before = match_loss(match, heard, batch)
    heard[:, 1] += 5
    assert match_loss(match, heard, batch) == before


def test_at_first_only_who_speaks_is_learnt(recipe) -> None:
    network = replace(recipe.network, voice_units=4, match=8, match_size=6)
    loop = replace(recipe.train, match_steps=3, chain=1, teacher="")
    objective = make_objective(replace(recipe, network=network, train=loop))
    batch = voice_batch([0, 1, 1], silent=0)

    def learning() -> set[str]:
        objective.zero_grad()
        objective(batch).loss.backward()
        named = objective.network.named_parameters()
        return {name.split(".")[0] for name, p in named if p.grad is not None and p.grad.any()}

    assert learning() == {"match"}
    objective.step = 3
    assert {"match", "blocks", "up"} < learning()
