"""Fine-tuning for a user's noise: split, stopped early, judged, installed or refused."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from sordino import examples
from sordino.batch.track import DenoiseSettings
from sordino.denoiser import denoise
from sordino.errors import SordinoError
from sordino.live.config import LiveSettings
from sordino.model import available_models, load_model, read_model
from sordino.serve.scheduler import live_model
from sordino.train import adapt as adapting
from sordino.train.adapt import JUDGE, MIN_SECONDS, STOP, TRAIN, split_sounds
from sordino.train.checkpoint import load_checkpoint, load_pretrained, save_weights
from sordino.train.cli import app
from sordino.train.loop import LAST, train
from sordino.train.recipe import LoopConfig, Recipe
from sordino.train.unet import UNetConfig
from support.served import serving
from support.signals import agreement_db

RATE = 16000


@pytest.fixture(scope="module")
def office(tmp_path_factory) -> Path:
    """A minute of a loud machine: a hum with its overtones, and hiss."""
    folder = tmp_path_factory.mktemp("rec") / "my-office"
    folder.mkdir()
    t = np.arange(60 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 190 * k * t) for k in range(1, 25))
    hiss = np.random.default_rng(2).standard_normal(len(t))
    sf.write(folder / "machine.flac", 0.01 * hum + 0.005 * hiss, RATE)
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, office) -> Path:
    """A checkpoint that has learnt nothing yet."""
    folder = tmp_path_factory.mktemp("base")
    from sordino.examples import FOLDER
    from sordino.train.data.corpus import CorpusConfig, CorpusSource
    from sordino.train.data.mixing import MixConfig

    recipe = Recipe(
        name="base",
        data=CorpusConfig(
            speech=(CorpusSource(str(FOLDER / "train" / "speech")),),
            noise=(CorpusSource(str(office)),),
            cache=str(folder / "cache"),
        ),
        mix=MixConfig(seconds=1.0, rates={RATE: 1.0}, codec=0.0),
        network=UNetConfig(channels=(4, 8), blocks=1, hidden=8),
        train=LoopConfig(steps=1, batch=1, learning_rate=1e-9, threads=0, bf16=False),
    )
    recipe = replace(recipe, loss=replace(recipe.loss, pesq=0.0, estoi=0.0))
    saved = load_checkpoint(train(recipe, folder))
    # Its masks are made of nothing but noise: a little training makes it better in every respect.
    torch.manual_seed(3)
    tensors = {
        k: v + 0.5 * torch.randn_like(v) if k.startswith("head") else v
        for k, v in saved.part("average").items()
    }
    save_weights(folder / "base.safetensors", saved.recipe, saved.progress, tensors)
    return folder / "base.safetensors"


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Hold little out, so that measuring takes a few seconds."""
    monkeypatch.setattr("sordino.train.adapt.JUDGE_CLIPS", 6)
    monkeypatch.setattr("sordino.train.adapt.STOP_BATCHES", 1)
    monkeypatch.setattr("sordino.train.adapt.SECONDS", 2.0)


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A folder of the user's own models."""
    monkeypatch.setenv("SORDINO_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def adapt(office, untrained, out, *more: object):
    common = ["adapt", "--noise", office, "--model", untrained, "--out", out, "--minutes", 10]
    return CliRunner().invoke(app, [str(each) for each in [*common, *more]])


@pytest.mark.slow
def test_a_better_model_is_installed_and_found_by_name(office, untrained, models, tmp_path):
    result = adapt(
        office, untrained, tmp_path, "--steps", 30, "--check-every", 10, "--learning-rate", 1e-2
    )
    assert result.exit_code == 0, result.output
    assert "installed" in result.output
    entry = available_models()["my-office"]
    assert entry.folder == models
    assert "| SI-SDR, dB |" in entry.card
    assert (tmp_path / "my-office" / "report.html").stat().st_size > 10_000
    assert load_model("my-office").info.name == "my-office"
    found_everywhere(tmp_path)
    # It can be adapted again.
    assert load_pretrained("my-office").recipe.name == "my-office"
    (models / "my-office.onnx").write_bytes(b"damaged")
    with pytest.raises(SordinoError, match="sordino adapt"):
        read_model("my-office")
    (models / "registry.json").write_text("{")
    assert "my-office" not in available_models()
    assert "default" in available_models()


def found_everywhere(folder: Path) -> None:
    """Files, live sound, streams and uploads to the server find my-office by its name."""
    phone = examples.path("phone_8k")
    sound, rate = sf.read(phone, dtype="float32")
    expected = denoise(sound, rate, model="my-office")
    assert agreement_db(denoise(sound, rate, model="default"), expected) < 40
    command = [sys.executable, "-m", "sordino", "denoise", str(phone), "--model", "my-office"]
    run = subprocess.run([*command, "-o", folder / "out.wav"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    by_file, _ = sf.read(folder / "out.wav", dtype="float32")
    assert LiveSettings(model="my-office").load_models() == [load_model("my-office")]
    assert live_model("my-office") == "my-office"
    with serving() as served:
        answer = httpx.post(
            f"{served.http}/v1/denoise",
            params={"model": "my-office", "format": "wav", "warm_up": 5},
            content=phone.read_bytes(),
            timeout=60,
        )
    assert answer.status_code == 200, answer.text
    uploaded, _ = sf.read(io.BytesIO(answer.content), dtype="float32")
    assert np.array_equal(uploaded, by_file)
    DenoiseSettings(model="my-office").loaded()  # what workers of a cluster are sent
    assert agreement_db(expected[5 * rate :], by_file[5 * rate :]) > 30  # files are warmed up


@pytest.mark.slow
def test_a_model_that_is_not_better_is_refused(office, untrained, models, tmp_path):
    result = adapt(
        office, untrained, tmp_path, "--steps", 2, "--check-every", 1, "--learning-rate", 1e-9
    )
    assert result.exit_code == 1, result.output
    assert "is not better than base" in result.output
    assert "neither PESQ nor SI-SDR rises" in result.output
    assert not models.exists()
    assert (tmp_path / "my-office" / "my-office.onnx").exists()


@pytest.mark.slow
def test_the_best_weights_count_not_the_last(office, untrained, tmp_path):
    # At this rate the network diverges: the held-out loss says so, and training ends early.
    split_sounds(office, None, tmp_path / "data")
    looks = []
    result = adapting.adapt(
        untrained,
        "my-office",
        tmp_path / "data",
        tmp_path,
        adapting.Budget(minutes=10, check_every=1, max_steps=60),
        lambda step, loss, best: looks.append((step, loss, best)),
        learning_rate=30.0,
    )
    saved = load_checkpoint(tmp_path / "run" / LAST)
    assert saved.progress.step == looks[-1][0] < 60
    assert result.checkpoint.progress.step < saved.progress.step
    assert result.after == min(loss for _, loss, _ in looks) <= result.before
    weights = result.checkpoint.part("average")
    assert all(torch.isfinite(weight).all() for weight in weights.values())


@pytest.mark.slow
def test_the_parts_share_no_sound(office, tmp_path):
    split_sounds(office, None, tmp_path)
    pieces = {
        part: [sf.read(p)[0] for p in sorted((tmp_path / part / "noise").iterdir())]
        for part in (TRAIN, STOP, JUDGE)
    }
    whole, _ = sf.read(office / "machine.flac")
    joined = np.concatenate([x for part in (TRAIN, STOP, JUDGE) for x in pieces[part]])
    np.testing.assert_allclose(joined, whole, atol=1e-4)  # each sample is in one part
    speech = [
        {p.name for p in (tmp_path / part / "speech").iterdir()} for part in (TRAIN, STOP, JUDGE)
    ]
    assert all(speech)
    assert sum(map(len, speech)) == len(set().union(*speech))


@pytest.mark.slow
def test_bad_input_is_told_in_one_line(office, untrained, models, tmp_path):
    (tmp_path / "short").mkdir()
    sf.write(tmp_path / "short" / "a.wav", np.ones(RATE) * 0.1, RATE)
    with pytest.raises(SordinoError, match=f"at least {MIN_SECONDS:.0f} s"):
        split_sounds(tmp_path / "short", None, tmp_path / "data")
    with pytest.raises(SordinoError, match="no such file or folder"):
        split_sounds(tmp_path / "nothing", None, tmp_path / "data")
    result = adapt(office, untrained, tmp_path, "--name", "default")
    assert "the package has a model of this name" in str(result.exception)
    result = adapt(office, untrained, tmp_path, "--name", "../x")
    assert "use letters" in str(result.exception)
