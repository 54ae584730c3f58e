"""Every object storage: denoised there, and trained from shards there."""

import fsspec
import pytest
import soundfile

from sordino import examples
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from sordino.train.data.decode import write_shards
from support.signals import noise

clusters = pytest.importorskip("support.clusters")
pytestmark = pytest.mark.cluster


@pytest.fixture(params=["s3", "gs", "az"])
def bucket(request, stores):
    """An empty bucket: its address, and its file system."""
    scheme = request.param
    if scheme not in stores:
        pytest.skip(f"no server of {scheme}:// is installed")
    fs = fsspec.filesystem(scheme)
    fs.mkdir("calls")
    yield f"{scheme}://calls", fs
    fs.rm("calls", recursive=True)


def test_from_a_bucket_into_a_bucket(cluster, bucket, tmp_path):
    address, fs = bucket
    for name in ("phone_8k", "cafe_16k"):
        fs.put_file(str(examples.path(name)), f"calls/in/{name}.flac")
    fs.pipe_file("calls/in/empty.wav", b"")
    command = ("denoise", "--cluster", cluster.address, f"{address}/in/", "-o", f"{address}/out")
    code, said = clusters.run(*command)
    assert code == 2, said
    assert f"{address}/in/empty.wav: the file is empty" in said
    assert "tried 3 times" in said
    code, said = clusters.run("denoise", examples.FOLDER / "noisy", "-o", tmp_path, "-q")
    assert code == 0, said
    fs.invalidate_cache()
    found = {
        path.rpartition("/")[2]: fs.cat_file(path)
        for path in fs.find("calls/out")
        if ".sordino" not in path
    }
    assert found == {
        name: (tmp_path / name).read_bytes() for name in ("phone_8k.flac", "cafe_16k.flac")
    }
    code, said = clusters.run(*command)  # what failed stays on the list of failures
    assert (code, "2 done before" in said, "1 failed" in said) == (2, True, True), said


def test_shards_in_a_bucket_are_trained_from(bucket, tmp_path):
    address, fs = bucket
    folder = tmp_path / "speech"
    folder.mkdir()
    for i in range(4):
        soundfile.write(folder / f"v{i}-00.flac", noise(16000, i), 16000)
    for shard in write_shards(folder, tmp_path / "shards", megabytes=0.05):
        fs.put_file(str(shard), f"calls/speech/{shard.name}")
    sounds = []
    for path in (folder, f"{address}/speech"):
        config = CorpusConfig(speech=(CorpusSource(str(path)),), cache=str(tmp_path / "cache"))
        pool = Corpus.open(config, progress=False).speech
        sounds.append({pool.read(i, 16000).tobytes() for i in range(len(pool))})
    assert sounds[0] == sounds[1]
    assert len(sounds[0]) == 4
