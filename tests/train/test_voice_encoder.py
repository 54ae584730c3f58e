"""Training of the voice encoder: it comes near its teacher, and its export is the network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional

from sordino.errors import SordinoError
from sordino.train.checkpoint import load_checkpoint, restore_weights
from sordino.train.data.corpus import Corpus
from sordino.train.data.enrolment import EnrolmentConfig
from sordino.train.export import export_checkpoint
from sordino.train.loop import train
from sordino.train.objective import make_objective
from sordino.train.recipe import Recipe, load_recipe
from sordino.train.voice_encoder import (
    VOICE_ENCODER,
    EncoderConfig,
    VoiceEncoderNetwork,
    distillation_loss,
)
from sordino.voice.encoder import MELS, RATE, VoiceEncoder, filterbank

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = EncoderConfig(channels=24, inner=16, dilations=(1, 2, 1), pooled=24, attention=8)


@pytest.fixture
def tiny(recipe: Recipe, tmp_path: Path) -> Recipe:
    """A recipe over three voices, each with an embedding of its own."""
    speech = Corpus.open(recipe.data, progress=False).speech
    table = tmp_path / "teacher.npz"
    rng = np.random.default_rng(0)
    np.savez(
        table,
        clip=np.array([clip.path for clip in speech.clips]),
        label=np.array([clip.label for clip in speech.clips]),
        start=np.zeros(len(speech.clips), np.float32),
        seconds=np.full(len(speech.clips), 4.0, np.float32),
        embedding=rng.normal(size=(len(speech.clips), 192)),
    )
    clean = {"noise": 0, "room": 0, "eq": 0, "narrow": 0, "codec": 0, "clipping": 0}
    enrolment = EnrolmentConfig(table=str(table), seconds=(0.6, 0.8), **clean)
    loop = replace(recipe.train, steps=10, batch=4, learning_rate=1e-2)
    return replace(
        recipe, kind=VOICE_ENCODER, encoder=TINY, enrolment=enrolment, train=loop, name="tiny"
    )


@pytest.mark.slow
def test_it_learns_from_the_teacher_and_its_export_is_the_network(
    tiny: Recipe, tmp_path: Path
) -> None:
    saved = load_checkpoint(train(tiny, tmp_path / "run"))
    events = EventAccumulator(str(tmp_path / "run" / "logs"))
    events.Reload()
    losses = [event.value for event in events.Scalars("train/cosine")]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.01
    network = make_objective(tiny).network.eval()
    restore_weights(network, saved.part("average"), "test")
    about = export_checkpoint(saved, tmp_path / "tiny.onnx", "7")
    assert about["kind"] == VOICE_ENCODER
    # All profiles would be void with other weights: nothing to fine-tune from is kept beside.
    assert not (tmp_path / "tiny.safetensors").exists()
    encoder = VoiceEncoder((tmp_path / "tiny.onnx").read_bytes(), "tiny")
    assert encoder.id == "tiny-7"
    corpus = Corpus.open(tiny.data, progress=False)
    for number in range(len(corpus.speech.clips)):
        x = corpus.speech.read(number, RATE, 0.0, 2 * RATE)
        level = np.float32(0.05 / np.sqrt(np.mean(x**2)))
        with torch.no_grad():
            same = network(torch.from_numpy(filterbank(x * level))[None])[0].numpy()
        assert encoder.embed(x, RATE) @ same > 0.999  # weights are stored in 8 bits


def test_the_loss_is_least_where_all_embeddings_are_the_teachers() -> None:
    teacher = functional.normalize(torch.randn(6, 192), dim=1)
    assert all(value.abs() < 1e-6 for value in distillation_loss(teacher, teacher).values())
    turned = distillation_loss(teacher.roll(1, 1), teacher)
    assert turned["cosine"] > 0.5
    # Relations stay when all embeddings are turned alike.
    assert turned["relation"] < 1e-10


def test_the_packaged_size() -> None:
    recipe = load_recipe(RECIPES / "voice-encoder.toml")
    network = VoiceEncoderNetwork(recipe.encoder).eval()
    assert 1e6 <= sum(weight.numel() for weight in network.parameters()) <= 2e6
    with torch.no_grad():
        norms = network(torch.randn(3, 120, MELS)).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(3))


def test_there_is_no_training_without_a_table(tiny: Recipe, tmp_path: Path) -> None:
    lost = replace(tiny, enrolment=replace(tiny.enrolment, table=str(tmp_path / "lost.npz")))
    with pytest.raises(SordinoError, match=r"embed_voices\.py"):
        train(lost, tmp_path / "run")
