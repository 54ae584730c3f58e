"""From archives on a server to shards that training reads, on a miniature VoiceBank+DEMAND."""

import re
from pathlib import Path

import pytest

from sordino.corpora.manifest import read_manifest
from sordino.corpora.prepare import Choice, prepare
from sordino.corpora.registry import load_registry
from sordino.errors import SordinoError
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from support import corpora
from support.corpora import sordino_data as sordino
from support.downloads import DownloadSite

pytestmark = pytest.mark.slow

NAME = "voicebank-demand"


def test_the_manifest_says_what_is_kept_and_why_not(home):
    rows = {Path(row.path).stem: row for row in read_manifest(home / "data" / NAME)}
    assert len(rows) == 7
    assert {s: rows[s].split for s in ("p232_001", "p257_001")} == dict.fromkeys(
        ("p232_001", "p257_001"), "test"
    )
    assert rows["p230_001"].reason == "duplicate"
    assert Path(rows["p230_001"].duplicate_of).stem == "p226_001"
    assert rows["p230_002"].reason == "DNSMOS"
    kept = [row for row in rows.values() if row.kept]
    assert len(kept) == 5
    for row in kept:
        assert row.dnsmos >= 2.7 or row.split == "test"
        assert row.start >= 0.3  # half a second of silence was put before the speech
        assert row.stop <= row.seconds - 0.3
        assert row.language == "en"
        assert -5 < row.snr_db < 30


def test_a_second_run_measures_nothing_anew(home, monkeypatch):
    def fail(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("sordino.corpora.prepare.measure", fail)
    corpus = load_registry(home / "registry.toml")[NAME]
    before = read_manifest(home / "data" / NAME)
    again = prepare(corpus, home / "data" / NAME, Choice(), progress=False)
    assert [str(row) for row in again] == [str(row) for row in before]  # NaN equals nothing


def test_the_page_shows_hours_by_language_speaker_snr_and_bandwidth(home):
    out = home / "page.html"
    sordino("stats", NAME, "--folder", home / "data", "--out", out)
    page = out.read_text()
    for heading in ("language", "speaker", "SNR", "bandwidth", "DNSMOS"):
        assert f"Hours by {heading}" in page
    assert page.count("<svg") >= 5
    assert "vctk-p226" in page
    assert "duplicate" in page
    assert not re.search(r"(src|href)=.?http", page)


def test_training_reads_the_shards(home):
    out = home / "shards"
    sordino("shard", NAME, "--folder", home / "data", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["pairs"]
    config = CorpusConfig(pairs=(CorpusSource(str(out / "pairs")),), cache=str(home / "cache"))
    pairs = Corpus.open(config, progress=False).pairs
    kept = [r for r in read_manifest(home / "data" / NAME) if r.kept and r.split == "train"]
    assert len(pairs) == len(kept)
    assert pairs.seconds == pytest.approx(sum(row.stop - row.start for row in kept), abs=0.01)
    with pytest.raises(SordinoError, match="shards already"):
        sordino("shard", NAME, "--folder", home / "data", "--out", out)


def test_shards_can_lie_in_object_storage(home):
    import fsspec

    out = "memory://bucket/s"
    sordino("shard", NAME, "--folder", home / "data", "--out", out, "--split", "test")
    assert fsspec.filesystem("memory").ls("/bucket/s/pairs", detail=False) == [
        "/bucket/s/pairs/000000.tar"
    ]


def test_only_clips_of_a_licence_are_taken(tmp_path):
    corpora.esc50(tmp_path / "site")
    corpora.only_these("esc50", tmp_path / "site", tmp_path / "r.toml")
    common = ["--folder", tmp_path, "--registry", tmp_path / "r.toml"]
    with DownloadSite(tmp_path / "site") as site:
        sordino("fetch", "esc50", "--mirror", site.url, "--accept-licence", *common)
    sordino("prepare", "esc50", "--licence", "CC0", "--licence", "CC-BY", "-j", 1, *common)
    rows = read_manifest(tmp_path / "esc50")
    assert [row.reason for row in rows] == ["", "", "licence CC-Sampling+"]


def test_steps_out_of_order_are_told(tmp_path):
    with pytest.raises(SordinoError, match="data prepare vctk"):
        sordino("stats", "vctk", "--folder", tmp_path)
    with pytest.raises(SordinoError, match="data fetch vctk"):
        sordino("prepare", "vctk", "--folder", tmp_path)
    with pytest.raises(SordinoError, match="train, val or test"):
        sordino("shard", "vctk", "--folder", tmp_path, "--out", tmp_path, "--split", "x")
