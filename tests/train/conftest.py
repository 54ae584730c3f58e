"""A tiny corpus on disk and a tiny recipe over it, for the tests of the training room."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sordino.examples import FOLDER
from sordino.train.checkpoint import corpus_of
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from sordino.train.data.mixing import MixConfig
from sordino.train.loop import train
from sordino.train.recipe import LoopConfig, Recipe
from sordino.train.unet import UNetConfig

RATE = 16000
TINY = UNetConfig(channels=(4, 8), blocks=1, hidden=8)


def voice(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Something speech-like: a gliding harmonic tone in syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 60 * rng.random() + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t) + 0.3, 0, 1)
    return (0.1 * tone * syllables).astype(np.float32)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with speech/ and noise/."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("speech", "noise"):
        (folder / kind).mkdir()
    for i in range(3):
        soundfile.write(folder / "speech" / f"s{i}-00.wav", voice(i), RATE)
        noise = np.random.default_rng(i).normal(size=4 * RATE) * 0.05
        soundfile.write(folder / "noise" / f"hiss{i}.wav", noise, RATE)
    return folder


@pytest.fixture(scope="session")
def recipe(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe that takes well under a second a step; its sounds are decoded once."""
    return Recipe(
        name="test",
        data=replace(corpus_of(data), cache=str(tmp_path_factory.mktemp("cache"))),
        mix=MixConfig(seconds=1.0, rates={16000: 1.0}, codec=0.0),
        network=TINY,
        train=LoopConfig(steps=4, batch=2, warmup=2, log_every=1, bf16=False, threads=0),
    )


@pytest.fixture(scope="session")
def trained(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of the recipe; copy it to change it."""
    return train(recipe, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The bundled clips."""
    train = FOLDER / "train"
    config = CorpusConfig(
        speech=(CorpusSource(str(train / "speech")),),
        noise=(CorpusSource(str(train / "noise")),),
        rirs=(CorpusSource(str(train / "rir")),),
        cache=str(tmp_path_factory.mktemp("cache")),
    )
    return Corpus.open(config, progress=False)
