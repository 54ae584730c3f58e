"""Pairs of folders, and tar shards: what goes in comes out."""

import logging

import numpy as np
import pytest
import soundfile as sf

from sordino.errors import SordinoError
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from sordino.train.data.decode import write_shards
from sordino.train.data.mixing import MixConfig, Mixer
from support.signals import noise, tone


@pytest.fixture
def speech(tmp_path):
    root = tmp_path / "speech"
    (root / "studio.a").mkdir(parents=True)
    for i in range(5):
        sf.write(root / "studio.a" / f"v1.{i}-00.flac", noise(16000, i), 16000)
    return root


@pytest.fixture
def pairs(tmp_path):
    """Three pairs: a clean tone, and the same at the same place with noise."""
    root = tmp_path / "pairs"
    for half in ("noisy", "clean"):
        (root / half).mkdir(parents=True)
    for i in range(3):
        clean = tone(300 + 100 * i, 16000, 4.0, 0.2) * np.linspace(0, 1, 64000, dtype=np.float32)
        sf.write(root / "clean" / f"clip{i}.flac", clean, 16000)
        sf.write(root / "noisy" / f"clip{i}.wav", clean + noise(64000, i, 0.05), 16000)
    return root


def open_corpus(tmp_path, **kinds):
    sources = {kind: (CorpusSource(str(folder)),) for kind, folder in kinds.items()}
    return Corpus.open(CorpusConfig(cache=str(tmp_path / "cache"), **sources), progress=False)


def test_shards_hold_what_the_folder_held(tmp_path, speech):
    shards = write_shards(speech, tmp_path / "shards", megabytes=0.05)
    assert len(shards) > 1
    assert [shard.name for shard in shards] == [f"{i:06d}.tar" for i in range(len(shards))]
    assert sorted(p.suffix for p in (tmp_path / "shards").iterdir()) == [".tar"] * len(shards)
    plain = open_corpus(tmp_path, speech=speech).speech
    packed = open_corpus(tmp_path, speech=tmp_path / "shards").speech
    assert len(packed) == len(plain) == 5
    sound = {tuple(plain.read(i, 16000)) for i in range(5)}
    assert {tuple(packed.read(i, 16000)) for i in range(5)} == sound
    assert {clip.label for clip in packed.clips} == {f"v1_{i}" for i in range(5)}


def test_one_of_several_processes_decodes_all_shards(tmp_path, speech, monkeypatch):
    write_shards(speech, tmp_path / "shards", megabytes=0.05)
    monkeypatch.setenv("RANK", "1")  # as torchrun and Ray do
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert len(open_corpus(tmp_path, speech=tmp_path / "shards").speech) == 5


def test_shards_of_pairs_train_like_the_folders(tmp_path, pairs):
    write_shards(pairs, tmp_path / "shards")
    config = MixConfig(seconds=1.0, rates={16000: 1.0}, silence=0.0)
    batches = [
        Mixer(config, open_corpus(tmp_path, pairs=folder)).batch(3, 1, 4)
        for folder in (pairs, tmp_path / "shards")
    ]
    for one, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pairs_are_aligned_and_share_one_gain(tmp_path, pairs):
    config = MixConfig(
        seconds=2.0,
        rates={16000: 1.0},
        silence=0,
        band_limit=0,
        clipping=0,
        codec=0,
        offset=0,
        mute=0,
    )
    batch = Mixer(config, open_corpus(tmp_path, pairs=pairs)).batch(1, 0, 8)
    for noisy, clean in zip(batch.noisy, batch.clean, strict=True):
        # The least-squares gain of the target in the mixture is 1, and what is left is noise.
        gain = np.dot(noisy, clean) / np.dot(clean, clean)
        assert gain == pytest.approx(1, abs=0.05)
        spectrum = np.abs(np.fft.rfft(noisy - clean))
        assert spectrum.max() < 6 * np.sqrt(np.mean(spectrum**2))


def test_pair_without_partner_is_skipped(tmp_path, pairs, caplog):
    (pairs / "clean" / "clip1.flac").unlink()
    sf.write(pairs / "clean" / "clip2.flac", tone(300, 8000, 4.0), 8000)
    with caplog.at_level(logging.WARNING, "sordino"):
        assert len(open_corpus(tmp_path, pairs=pairs).pairs) == 1
    assert sum("clip1" in message for message in caplog.messages) == 1
    assert sum("clip2" in message and "8000 Hz" in message for message in caplog.messages) == 1


def test_broken_sample_in_a_shard_is_skipped(tmp_path, speech, caplog):
    (speech / "studio.a" / "bad-00.flac").write_bytes(b"not flac")
    write_shards(speech, tmp_path / "shards")
    with caplog.at_level(logging.WARNING, "sordino"):
        assert len(open_corpus(tmp_path, speech=tmp_path / "shards").speech) == 5
    (line,) = caplog.messages
    assert "bad-00" in line


def test_writing_refuses_what_would_lose_data(tmp_path, speech):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SordinoError, match="no audio"):
        write_shards(tmp_path / "empty", tmp_path / "out")
    write_shards(speech, tmp_path / "out")
    with pytest.raises(SordinoError, match="shards already"):
        write_shards(speech, tmp_path / "out")
    sf.write(speech / "studio.a" / "v1_0-00.flac", tone(100, 16000), 16000)
    with pytest.raises(SordinoError, match="rename one"):
        write_shards(speech, tmp_path / "other")
