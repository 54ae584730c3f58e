"""Recordings in tar shards and Parquet tables are as if they were files."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from sordino import examples
from sordino.batch.process import denoise_file
from sordino.batch.track import DenoiseSettings
from sordino.cluster.plan import Work
from sordino.cluster.shards import audio_column
from sordino.cluster.worker import MakeWorker, Task
from sordino.errors import SordinoError

PHONE, CAFE = examples.path("phone_8k"), examples.path("cafe_16k")


@pytest.fixture(scope="module")
def do(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("sections"))
    return MakeWorker(DenoiseSettings().loaded(), False, None, folder)("cpu")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """What one machine makes of the recordings."""
    folder = tmp_path_factory.mktemp("one")
    for path in (PHONE, CAFE):
        denoise_file(path, folder / path.name)
        denoise_file(path, folder / f"{path.stem}.wav")
    return folder


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1234
            tar.addfile(info, io.BytesIO(data))
    return path


def members_of(path):
    with tarfile.open(path) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}


@pytest.mark.slow
def test_a_tar_shard_keeps_all_but_the_noise(do, clean, tmp_path):
    members = {
        "0001.flac": PHONE.read_bytes(),
        "0001.json": b'{"text": "hello"}',
        "deep/0002.flac": CAFE.read_bytes(),
        "0003.wav": b"no sound at all",
        "0003.txt": b"broken",
        "0001.wav": b"RIFF",
    }
    source = shard(tmp_path / "in.tar", members)
    work = Work(str(source), str(tmp_path / "out" / "in.tar"), "tar")
    results = do(Task(work))
    assert [(each.member, each.status) for each in results] == [
        ("", "done"), ("0003.wav", "failed"), ("0001.wav", "failed")
    ]  # fmt: skip
    assert results[0].seconds == 14
    assert results[1].error.startswith(f"{source}, 0003.wav: this is not audio")
    assert members_of(work.target) == {
        "0001.flac": (clean / PHONE.name).read_bytes(),
        "0001.json": members["0001.json"],
        "deep/0002.flac": (clean / CAFE.name).read_bytes(),
        "0003.txt": b"broken",
    }
    with tarfile.open(work.target) as tar:
        assert {each.mtime for each in tar} == {1234}
    assert do(Task(work))[0].status == "skipped"


def test_another_format_renames_members_and_keeps_both_of_a_name(do, clean, tmp_path):
    stereo = io.BytesIO()
    soundfile.write(stereo, np.zeros((800, 2)), 8000, format="WAV")
    members = {
        "a.flac": PHONE.read_bytes(),
        "a.aiff": PHONE.read_bytes(),
        "b.wav": stereo.getvalue(),
    }
    source = shard(tmp_path / "in.tar", members)
    work = Work(str(source), str(tmp_path / "out.tar"), "tar", extension="wav")
    do(Task(work))
    found = members_of(work.target)
    assert list(found) == ["a.wav", "a.aiff.wav", "b.wav"]
    assert found["a.wav"] == found["a.aiff.wav"] == (clean / "phone_8k.wav").read_bytes()


def test_a_damaged_shard_fails_as_a_whole(do, tmp_path):
    (tmp_path / "in.tar").write_bytes(b"no tar" * 1000)
    work = Work(str(tmp_path / "in.tar"), str(tmp_path / "out.tar"), "tar")
    with pytest.raises(SordinoError, match=r"in\.tar"):
        do(Task(work))
    assert [path.name for path in tmp_path.iterdir()] == ["in.tar"]


def test_a_table_keeps_its_other_columns_and_rows(do, clean, tmp_path):
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [
        {"bytes": PHONE.read_bytes(), "path": "phone.flac"},
        {"bytes": None, "path": None},
        {"bytes": CAFE.read_bytes(), "path": None},
        {"bytes": b"no sound", "path": "broken.wav"},
    ]
    texts = ["one", "two", "three", "four"]
    schema = pa.schema([("text", pa.string()), ("audio", audio)], metadata={b"huggingface": b"{}"})
    table = pa.table({"text": texts, "audio": pa.array(cells, audio)}, schema=schema)
    pq.write_table(table, tmp_path / "in.parquet")
    work = Work(str(tmp_path / "in.parquet"), str(tmp_path / "out" / "in.parquet"), "parquet")
    results = do(Task(work))
    assert [(each.member, each.status) for each in results] == [
        ("", "done"), ("row 3 (broken.wav)", "failed")
    ]  # fmt: skip
    found = pq.read_table(work.target)
    assert found.schema.equals(schema, check_metadata=True)
    assert found["text"].to_pylist() == texts
    assert found["audio"].to_pylist() == [
        {"bytes": (clean / PHONE.name).read_bytes(), "path": "phone.flac"},
        cells[1],
        {"bytes": (clean / CAFE.name).read_bytes(), "path": None},
        {"bytes": None, "path": "broken.wav"},
    ]


def test_the_audio_column_is_found_or_asked_for():
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert audio_column(pa.schema([("id", pa.int64()), ("sound", struct)])) == "sound"
    assert audio_column(pa.schema([("flac", pa.large_binary())])) == "flac"
    assert audio_column(pa.schema([("audio", pa.binary()), ("image", pa.binary())])) == "audio"
    for fields in ([("text", pa.string())], [("a", pa.binary()), ("b", pa.binary())]):
        with pytest.raises(SordinoError, match="not clear which column has the recordings"):
            audio_column(pa.schema(fields))
