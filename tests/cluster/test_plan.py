"""Inputs on a cluster become work; local files get the names of a run on one machine."""

import pytest

from sordino.batch.plan import plan
from sordino.cluster.plan import find_work
from sordino.errors import SordinoError


@pytest.fixture
def calls(tmp_path):
    for name in ("a.wav", "a.mp3", "b.clean.wav", "sub/c.flac", ".hidden.wav", "text.txt"):
        (tmp_path / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "calls" / name).touch()
    return tmp_path / "calls"


@pytest.mark.parametrize("extension", [None, "flac"])
def test_local_files_get_the_names_of_one_machine(calls, tmp_path, extension):
    out = tmp_path / "out.wav"  # a folder, whatever it is called
    out.mkdir()
    for inputs in ([f"{calls}/"], [f"{calls}/*.wav", f"{calls}/sub"], [f"{calls}/a.wav"]):
        jobs = plan(inputs, f"{out}/", extension=extension)
        works = find_work(inputs, f"{out}/", extension)
        assert [(w.source, w.target) for w in works] == [
            (str(job.source), str(job.target)) for job in jobs
        ]


def test_work_has_the_same_id_in_every_run(calls, monkeypatch):
    monkeypatch.chdir(calls.parent)
    first = find_work(["calls"], "out")
    assert [w.id for w in find_work([str(calls)], f"{calls.parent}/out/")] == [w.id for w in first]
    assert len({w.id for w in first}) == 3


def test_storages_patterns_braces_and_shards(calls, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("x.wav", "x.mp3", "deep/y.opus", ".z.wav", "notes.txt", "0.tar", "1.tar"):
        memory.pipe_file(f"/archive/{name}", b"sound")
    try:
        found = {w.source: w.target for w in find_work(["memory://archive/"], "s3://b/out", "flac")}
        assert found == {
            "memory:///archive/deep/y.opus": "s3://b/out/deep/y.flac",
            "memory:///archive/x.mp3": "s3://b/out/x.mp3.flac",
            "memory:///archive/x.wav": "s3://b/out/x.wav.flac",
        }
        shards = find_work(["memory://archive/{0..1}.tar"], "memory://out")
        assert [(w.kind, w.target, w.size) for w in shards] == [
            ("tar", "memory://out/0.tar", 5),
            ("tar", "memory://out/1.tar", 5),
        ]
        assert len(find_work(["memory://archive/*.tar"], "memory://out")) == 2
    finally:
        memory.rm("/archive", recursive=True)
    (calls / "t.parquet").touch()
    (table,) = find_work([f"{calls}/*.parquet"], str(tmp_path / "out"))
    assert table.kind == "parquet"
    (web,) = find_work(["https://example.org/a/b.mp3?key=1"], str(tmp_path / "out"))
    assert web.target == f"{tmp_path}/out/b.mp3"


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["-"], "out", "standard input cannot go to a cluster"),
        (["a.wav"], "out.flac", "names a file: a cluster run needs a folder"),
        (["a.wav"], "https://example.org/out", "nothing can be written to the web"),
        (["https://example.org/calls/"], "out", "has to name one file"),
        (["memory://nothing/"], "out", "no such file or folder with audio or video files"),
        (["memory://nothing/*.wav"], "out", "no file has such a name"),
        (["floppy://a/b.wav"], "out", "there is no storage floppy://"),
        (["memory://x/{0..2.tar"], "out", "a brace is not closed"),
        (["x/a.wav", "y/a.wav"], "out", "would both be written to"),
        (["https://a.org/a.wav"], "out", "there is no format 'doc'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(inputs, output, message):
    with pytest.raises(SordinoError) as caught:
        find_work(inputs, output, "doc" if "doc" in message else None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
