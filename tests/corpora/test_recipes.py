"""The recipes for public corpora, from the archives to a model, on miniatures of their layout."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from sordino.denoiser import Denoiser
from sordino.examples import FOLDER
from sordino.model import load_model
from sordino.train.checkpoint import load_checkpoint
from sordino.train.export import export_checkpoint
from sordino.train.loop import train
from sordino.train.recipe import load_recipe
from support import corpora
from support.corpora import RATE
from support.corpora import sordino_data as sordino
from support.downloads import DownloadSite

RECIPES = Path(__file__).parents[2] / "recipes"
# Two updates of a small network; data, mixtures and losses are the recipe's.
SMALL = {
    "network.channels": "[4, 8]",
    "network.hidden": "8",
    "network.blocks": "1",
    "train.steps": "2",
    "train.batch": "2",
    "train.global_batch": "4",
    "train.workers": "0",
    "train.bf16": "false",
    "mix.seconds": "1.0",
}


def run(name: str, folder: Path, **changes: str) -> Path:
    """Train by a recipe in a folder that has its shards; returns the model."""
    recipe = load_recipe(RECIPES / f"{name}.toml", SMALL | changes)
    path = train(recipe, folder / "runs" / name)
    assert load_checkpoint(path).progress.batch == 4
    export_checkpoint(load_checkpoint(path), path.with_suffix(".onnx"), "1")
    return path.with_suffix(".onnx")


@pytest.mark.slow
def test_voicebank_demand(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = home / "data"
    sordino("shard", "voicebank-demand", "-d", data, "--out", "shards/voicebank-demand")
    model = run("voicebank-demand", tmp_path)
    noisy = data / "voicebank-demand" / "audio" / "noisy_testset_wav" / "p232_001.wav"
    x, rate = sf.read(noisy, dtype="float32")
    assert np.isfinite(Denoiser(model, rate).feed(x)).all()


@pytest.fixture(scope="module")
def dns5(tmp_path_factory) -> Path:
    """A folder with the prepared miniature of DNS 5."""
    folder = tmp_path_factory.mktemp("dns5")
    corpora.dns5(folder / "site")
    corpora.only_these("dns5", folder / "site", folder / "registry.toml")
    common = ["-d", folder / "data", "--registry", folder / "registry.toml"]
    with DownloadSite(folder / "site") as site:
        sordino("fetch", "dns5", "--mirror", site.url, "--accept-licence", *common)
    sordino("prepare", "dns5", "--min-dnsmos", 0, "-j", 1, *common)
    return folder


@pytest.mark.slow
def test_dns5(dns5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sordino("shard", "dns5", "-d", dns5 / "data", "--out", "shards/dns5")
    assert sorted(p.name for p in Path("shards/dns5").iterdir()) == ["noise", "rir", "speech"]
    model = run("dns5", tmp_path)
    assert np.isfinite(Denoiser(model, RATE).feed(np.zeros(RATE, np.float32))).all()


@pytest.mark.slow
def test_voice_dns5(dns5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sordino("shard", "dns5", "-d", dns5 / "data", "--out", "shards/dns5")
    recipe = str(RECIPES / "voice-dns5.toml")
    script = str(RECIPES.parent / "scripts" / "embed_voices.py")
    # The miniature has one utterance of each speaker, and enrolments are of others.
    speech = {"data.speech": json.dumps([{"path": str(FOLDER / "train" / "speech")}])}
    speech["data.speech"] = speech["data.speech"].replace('"path":', "path =")
    changed = ["--set", "data.speech=" + speech["data.speech"]]
    command = [sys.executable, script, recipe, "voices.npz", *changed]
    subprocess.run(command, check=True, timeout=300)
    changes = {**speech, "train.teacher": "small"}
    model = run("voice-dns5", tmp_path, **changes)
    assert load_model(model).keeps_voices
    assert np.isfinite(Denoiser(model, RATE).feed(np.zeros(RATE, np.float32))).all()
