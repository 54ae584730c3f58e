"""Shards in object storage, here fsspec's file system in memory."""

import fsspec
import pytest
import soundfile as sf

from sordino.errors import SordinoError
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from sordino.train.data.decode import write_shards
from support.signals import noise

URL = "memory://bucket/speech"


@pytest.fixture
def bucket(tmp_path):
    """A folder of speech, and its shards in a bucket."""
    root = tmp_path / "speech"
    root.mkdir()
    for i in range(4):
        sf.write(root / f"v{i}-00.flac", noise(16000, i), 16000)
    files = fsspec.filesystem("memory")
    for shard in write_shards(root, tmp_path / "shards", megabytes=0.05):
        files.put_file(str(shard), f"/bucket/speech/{shard.name}")
    yield root
    files.rm("/bucket", recursive=True)


def open_speech(path, cache):
    config = CorpusConfig(speech=(CorpusSource(str(path)),), cache=str(cache))
    return Corpus.open(config, progress=False).speech


def test_shards_of_a_bucket_hold_what_the_folder_held(bucket, tmp_path):
    plain, remote = open_speech(bucket, tmp_path / "a"), open_speech(URL, tmp_path / "b")
    assert {c.label for c in plain.clips} == {c.label for c in remote.clips}
    sounds = [{p.read(i, 16000).tobytes() for i in range(4)} for p in (plain, remote)]
    assert sounds[0] == sounds[1]


def test_shards_are_fetched_once_and_stale_ones_go(bucket, tmp_path, monkeypatch):
    open_speech(URL, tmp_path)
    files = fsspec.filesystem("memory")
    fetched = []
    get = type(files).get_file

    def counted(fs, path, *args, **options):
        fetched.append(path)
        return get(fs, path, *args, **options)

    monkeypatch.setattr(type(files), "get_file", counted)
    open_speech(URL, tmp_path)
    assert fetched == []
    files.rm("/bucket/speech/000000.tar")
    assert len(open_speech(URL, tmp_path)) < 4


def test_a_bucket_that_is_empty_or_away_is_told(tmp_path):
    with pytest.raises(SordinoError, match="holds no tar shards"):
        open_speech("memory://nothing/here", tmp_path)
    with pytest.raises(SordinoError, match="cannot be read"):
        open_speech("nosuch://bucket/here", tmp_path)
    assert not list(tmp_path.rglob("*.tar"))
