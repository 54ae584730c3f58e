"""A teacher: what it says is what its checkpoint's network makes, and it only teaches."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sordino.errors import SordinoError
from sordino.model import SLICE_MAGNITUDE
from sordino.train.checkpoint import (
    choose_recipe,
    load_checkpoint,
    restore_weights,
    save_checkpoint,
)
from sordino.train.loop import train
from sordino.train.objective import MaskObjective, TensorBatch
from sordino.train.optim import AveragedWeights
from sordino.train.recipe import Recipe
from sordino.train.unet import UNetConfig, stft

RATE = 16000
LARGER = UNetConfig(channels=(6, 10), blocks=1, hidden=9)


@pytest.fixture(scope="module")
def checkpoint(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A larger network than that of `recipe`, two updates old."""
    loop = replace(recipe.train, steps=2, seed=5)
    return train(replace(recipe, network=LARGER, train=loop), tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def batch() -> TensorBatch:
    generator = torch.Generator().manual_seed(3)
    clean, noise = 0.1 * torch.randn(2, 2, RATE, generator=generator)
    speech = torch.ones(2, 100)
    return TensorBatch(clean + noise, clean, RATE, torch.full((2,), 8000.0), speech)


def taught(recipe: Recipe, teacher: Path, share: float = 0.5) -> Recipe:
    """The recipe with a teacher, all of whose terms compare waveforms."""
    loss = replace(recipe.loss, teacher=share, speech=0.0, noise=0.0, attenuation=0.0)
    return replace(recipe, loss=loss, train=replace(recipe.train, teacher=str(teacher)))


def gradient(objective: MaskObjective, batch: TensorBatch) -> float:
    """Norm of the gradient of the network's weights."""
    objective(batch).loss.backward()
    gradients = [p.grad for p in objective.network.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def objective_at(checkpoint: Path, recipe: Recipe) -> MaskObjective:
    """The objective of a recipe, its network with the averaged weights of a checkpoint."""
    objective = MaskObjective(recipe)
    weights = load_checkpoint(checkpoint).part("average")
    restore_weights(objective.network, weights, str(checkpoint))
    return objective


def test_it_says_what_its_own_network_makes(recipe, checkpoint, batch):
    alone = objective_at(checkpoint, load_checkpoint(checkpoint).recipe)
    teacher = MaskObjective(taught(recipe, checkpoint)).teacher
    assert teacher is not None
    torch.testing.assert_close(teacher(stft(batch.noisy, RATE), RATE), alone(batch).estimate)


def test_who_equals_the_teacher_has_nothing_to_learn_from_it(checkpoint, batch):
    own = load_checkpoint(checkpoint).recipe
    norms = [
        gradient(objective_at(checkpoint, taught(own, checkpoint, share)), batch)
        for share in (1.0, 0.0)
    ]
    assert norms[0] < 1e-3 * norms[1]


def test_the_share_goes_from_clean_speech_to_the_teacher(recipe, checkpoint, batch):
    losses = []
    for share in (0.0, 0.25, 1.0):
        torch.manual_seed(0)
        step = MaskObjective(taught(recipe, checkpoint, share))(batch)
        losses.append(step.loss.item())
    assert losses[1] == pytest.approx(0.75 * losses[0] + 0.25 * losses[2])
    assert losses[2] == pytest.approx(step.terms["teacher"].item())


@pytest.mark.slow
def test_it_does_not_learn_and_is_not_in_the_checkpoint(recipe, checkpoint, batch, tmp_path):
    objective = MaskObjective(taught(recipe, checkpoint))
    objective(batch).loss.backward()
    assert objective.teacher is not None
    assert all(weight.grad is None for weight in objective.teacher.parameters())
    last = load_checkpoint(train(taught(recipe, checkpoint), tmp_path / "student"))
    assert last.part("network").keys() == objective.network.state_dict().keys()


@pytest.mark.slow
def test_fine_tuning_a_student_does_not_ask_for_its_teacher(recipe, checkpoint, tmp_path):
    teacher = shutil.copy(checkpoint, tmp_path / checkpoint.name)
    last = train(taught(recipe, teacher), tmp_path / "student")
    teacher.unlink()
    assert choose_recipe(None, last, None, {}).train.teacher == ""


def test_what_cannot_teach_is_refused_in_one_line(recipe, checkpoint, tmp_path):
    saved = load_checkpoint(checkpoint)
    network = MaskObjective(saved.recipe).network
    average, optimizer = AveragedWeights(network, 0.9), torch.optim.AdamW(network.parameters())
    pictures = replace(saved.recipe, kind=SLICE_MAGNITUDE)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, pictures, saved.progress, network, average, optimizer)
    for path, said in ((other, "noise-mask"), (tmp_path / "none.safetensors", "cannot read")):
        with pytest.raises(SordinoError, match=said) as error:
            MaskObjective(taught(recipe, path))
        assert "\n" not in str(error.value)
