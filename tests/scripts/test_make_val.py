"""The scripts that make the corpus and the validation set, on a few synthetic recordings."""

import csv
import gzip
import hashlib
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from support.signals import noise

SCRIPTS = Path(__file__).parents[2] / "scripts"
RATE = 16000


def voice(f0, seconds=3.0, seed=0):
    """Syllables of a harmonic series with two formants."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(f0 * (1 + 0.05 * np.sin(2 * np.pi * 0.7 * t + seed))) / RATE
    x = np.zeros_like(t)
    for k in range(1, int(7000 / f0)):
        gain = sum(np.exp(-(((k * f0 - at) / 500) ** 2)) for at in (600, 1700)) + 0.02
        x += gain * np.sin(k * phase + rng.uniform(0, 6))
    x *= np.clip(np.sin(2 * np.pi * 2 * t), 0.02, 1) ** 0.5
    return 0.4 * x / np.abs(x).max()


def bangs(seed):
    """Short bursts far apart."""
    x = noise(4 * RATE, seed, 1e-4)
    for at in (0.5, 2.0, 3.1):
        burst = noise(RATE // 10, seed + 1, 0.3) * np.linspace(1, 0, RATE // 10)
        x[int(at * RATE) : int(at * RATE) + len(burst)] += burst
    return x


def room(seed):
    """Direct path at 10 ms and 0.3 s of decaying noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(0.3 * 48000))
    h = rng.normal(size=len(t)) * np.exp(-t / 4000) * 0.1 * (t > 500)
    h[480] = 1
    return h


@pytest.fixture
def scripts(monkeypatch):
    """Both modules, with the numbers of clips turned down."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    make_corpus = importlib.import_module("make_corpus")
    make_val = importlib.import_module("make_val")
    for name, value in {
        "SNRS_DB": (0, 15),
        "PER_CELL": 2,
        "CLEAN_CLIPS": 2,
        "NOISE_CLIPS": 2,
        "BANDS_HZ": (300, 600),
        "PER_BAND": 1,
        "CHILDREN": 1,
    }.items():
        monkeypatch.setattr(make_val, name, value)
    return make_corpus, make_val


@pytest.fixture
def recordings(tmp_path):
    """A folder of recordings and the list of them."""
    root = tmp_path / "recordings"
    rows = []

    def add(path, x, rate, split):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        sf.write(root / path, x, rate, subtype="PCM_16")
        digest = hashlib.sha256((root / path).read_bytes()).hexdigest()[:10]
        rows.append([path, digest, split, "CC0"])

    for i in range(4):
        split = "val" if i < 3 else "train"
        for j in range(2):
            add(f"new/speech/cv/cv{i}-en_{j}.flac", voice(110 + 30 * i, seed=i + j), RATE, split)
    for j in range(2):
        add(f"new/speech/so/so1-Fc-{j}.flac", voice(290, seed=j), RATE, "val")
    for i in range(3):
        split = "val" if i < 2 else "train"
        add(f"noise_more/events/bang-{i}.flac", bangs(10 * i), RATE, split)
        add(f"noise_more/fans/fan-{i}.flac", noise(3 * RATE, i), RATE, split)
        add(f"train/rir/room_{i}.flac", room(i), 48000, split)
    path = tmp_path / "list.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([["path", "sha256", "split", "licence"], *rows])
    return root, path


def call(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


@pytest.mark.slow
def test_corpus_holds_the_split_train_and_refuses_other_files(
    scripts, recordings, tmp_path, monkeypatch, capsys
):
    make_corpus, _ = scripts
    root, path = recordings
    corpus = tmp_path / "corpus"
    call(make_corpus, monkeypatch, root, corpus, "--list", path)
    made = sorted(p.relative_to(corpus).as_posix() for p in corpus.rglob("*.flac"))
    assert made == [
        "noise/events/bang-2.flac",
        "noise/fans/fan-2.flac",
        "rir/room_2.flac",
        "speech/cv/cv3-en_0.flac",
        "speech/cv/cv3-en_1.flac",
    ]
    with open(corpus / "MANIFEST.csv") as file:
        assert [row["label"] for row in csv.DictReader(file)][:2] == ["cv3", "cv3"]
    sf.write(root / "noise_more/fans/fan-2.flac", noise(RATE, 9), RATE)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        call(make_corpus, monkeypatch, root, corpus, "--list", path)
    assert stop.value.code == 2
    assert "fan-2.flac: differs" in capsys.readouterr().err


@pytest.mark.slow
def test_set_has_the_parts_levels_and_voices_that_it_promises(
    scripts, recordings, tmp_path, monkeypatch
):
    _, make_val = scripts
    root, path = recordings
    out = tmp_path / "val"
    call(make_val, monkeypatch, root, out, "--list", path)
    with open(out / "META.csv") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    parts = [row["part"] for row in rows.values()]
    counts = {part: parts.count(part) for part in ("mixture", "clean", "noise", "high-voice")}
    assert counts == {"mixture": 8, "clean": 2, "noise": 2, "high-voice": 6}
    assert {p.stem for p in (out / "noisy").iterdir()} == set(rows)
    assert not set(rows["noise_000"]["speaker"])

    for name, row in rows.items():
        noisy, rate = sf.read(out / "noisy" / f"{name}.flac")
        assert rate == RATE
        assert len(noisy) == 5 * RATE
        if row["part"] == "noise":
            assert not (out / "clean" / f"{name}.flac").exists()
            continue
        clean, _ = sf.read(out / "clean" / f"{name}.flac")
        if row["snr_db"] and not row["room"]:
            snr = make_val.active_level(clean) - make_val.active_level(noisy - clean)
            assert snr == pytest.approx(float(row["snr_db"]), abs=0.5)
        if row["part"] == "clean":
            assert np.array_equal(noisy, clean)
        if row["f0_band"]:
            low, high = map(int, row["f0_band"].split("-"))
            assert low - 5 <= make_val.median_f0(clean) <= high + 5
    bands = {row["f0_band"] for row in rows.values()} - {""}
    assert bands == {"200-300", "300-400", "600-700"}


@pytest.mark.slow
def test_set_is_the_same_each_time_and_told_apart_from_another(
    scripts, recordings, tmp_path, monkeypatch
):
    _, make_val = scripts
    root, path = recordings
    monkeypatch.setattr(make_val, "BANDS_HZ", (400,))
    monkeypatch.setattr(make_val, "CHILDREN", 0)
    call(make_val, monkeypatch, root, tmp_path / "one", "--list", path)
    monkeypatch.setattr(make_val, "HASHES", tmp_path / "one" / "val.sha256")
    call(make_val, monkeypatch, root, tmp_path / "two", "--list", path, "--check")
    monkeypatch.setattr(make_val, "SEED", 20)
    with pytest.raises(SystemExit) as stop:
        call(make_val, monkeypatch, root, tmp_path / "three", "--list", path, "--check")
    assert stop.value.code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "leak",
    [
        ("new/speech/cv/cv0-en_0.flac", "speech/cv/cv0-fr_9.flac"),  # another clip of the voice
        ("noise_more/fans/fan-0.flac", "noise/fans/fan-0.flac"),
        ("noise_more/fans/fan-0.flac", "noise/copies/renamed-7.flac"),  # the same recording
        ("train/rir/room_0.flac", "rir/room_0.flac"),
    ],
)
def test_set_refuses_a_corpus_that_holds_its_recordings(
    scripts, recordings, tmp_path, monkeypatch, capsys, leak
):
    make_corpus, make_val = scripts
    root, path = recordings
    corpus = tmp_path / "corpus"
    call(make_corpus, monkeypatch, root, corpus, "--list", path)
    held_out = [entry for entry in make_corpus.read_list(path) if entry.split == "val"]
    assert make_val.held_out_in(corpus, held_out) == []
    source, target = leak
    make_corpus.place(root / source, corpus / target)
    kind = target.split("/")[0]
    label = make_corpus.Entry(source, "", "val", "").label
    with open(corpus / "MANIFEST.csv", "a", newline="") as file:
        csv.writer(file).writerow([target, kind, "x", label, RATE, 3, "CC0"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        call(make_val, monkeypatch, root, tmp_path / "val", "--list", path, "--corpus", corpus)
    assert stop.value.code == 2
    assert Path(source).name in capsys.readouterr().out
