"""The ledger survives crashes: parts are whole, merged, and read again."""

from dataclasses import replace

import pyarrow.parquet
import pytest

from sordino.cluster.ledger import JOIN, Key, Ledger, Result
from sordino.cluster.plan import Work
from sordino.errors import SordinoError

OPTIONS = {"--strength": 1.0, "model": "default"}


def test_results_are_read_again_and_merged(tmp_path):
    folder = str(tmp_path / "ledger")
    ledger = Ledger(folder, OPTIONS)
    ledger.write_work([Work("a.wav", "out/a.wav", size=3)])
    first = Result("a", status="failed", error="broken", attempts=3)
    for result in (first, replace(first, status="done", notes=("a note",), error="")):
        ledger.add(result)
        ledger.flush()
    ledger.add(Result("b", JOIN, seconds=2.5, noise_taken_db=12.0, host="node"))
    ledger.flush()
    assert len(list((tmp_path / "ledger" / "results").iterdir())) == 3

    again = Ledger(folder, OPTIONS)  # as after a crash
    assert len(list((tmp_path / "ledger" / "results").iterdir())) == 1
    a, b = again.results[Key("a", -1)], again.results[Key("b", JOIN)]
    assert (a.status, list(a.notes), a.error) == ("done", ["a note"], "")
    assert (b.seconds, b.noise_taken_db, b.host) == (2.5, 12.0, "node")
    assert Ledger(folder, OPTIONS).results.keys() == again.results.keys()
    work = pyarrow.parquet.read_table(tmp_path / "ledger" / "work.parquet").to_pylist()
    assert [(row["source"], row["size"]) for row in work] == [("a.wav", 3)]


def test_rows_are_written_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sordino.cluster.ledger.FLUSH_ROWS", 3)
    ledger = Ledger(str(tmp_path), OPTIONS)
    ledger.write_work([Work(f"{n}.wav", f"out/{n}.wav") for n in range(8)])
    for n in range(8):
        ledger.add(Result(str(n)))
    ledger.end()
    for file in (tmp_path / "work.parquet", *(tmp_path / "results").iterdir()):
        parts = pyarrow.parquet.ParquetFile(file).metadata
        assert (parts.num_rows, parts.num_row_groups) == (8, 3)


def test_what_was_not_flushed_is_lost_and_nothing_else(tmp_path):
    folder = str(tmp_path)
    ledger = Ledger(folder, OPTIONS)
    ledger.add(Result("a"))
    ledger.flush()
    ledger.add(Result("b"))
    assert [key.id for key in Ledger(folder, OPTIONS).results] == ["a"]


def test_other_options_need_another_ledger(tmp_path):
    folder = str(tmp_path)
    ledger = Ledger(folder, OPTIONS)
    ledger.add(Result("a"))
    ledger.end()
    other = {**OPTIONS, "--strength": 0.5}
    with pytest.raises(SordinoError, match=r"--strength 1.0 instead of 0.5: give another -o"):
        Ledger(folder, other)
    anew = Ledger(folder, other, overwrite=True)
    assert (anew.results, anew.overwrites) == ({}, True)


def test_overwriting_goes_on_after_a_crash_and_begins_anew_after_the_end(tmp_path):
    folder = str(tmp_path)
    Ledger(folder, OPTIONS).end()
    ledger = Ledger(folder, OPTIONS, overwrite=True)
    ledger.add(Result("a"))
    ledger.flush()
    for overwrite in (True, False):  # even if it is left out
        again = Ledger(folder, OPTIONS, overwrite)
        assert (len(again.results), again.overwrites) == (1, True)
    again.end()
    assert not Ledger(folder, OPTIONS).overwrites
    assert Ledger(folder, OPTIONS, overwrite=True).results == {}


def test_overwriting_begins_anew_after_a_crash_of_a_run_that_did_not(tmp_path):
    ledger = Ledger(str(tmp_path), OPTIONS)
    ledger.add(Result("a", status="skipped"))
    ledger.flush()
    assert Ledger(str(tmp_path), OPTIONS, overwrite=True).results == {}


def test_a_file_too_large_for_the_disk_is_told_in_one_line(tmp_path):
    resource = pytest.importorskip("resource")
    ledger = Ledger(str(tmp_path), OPTIONS)
    ledger.add(Result("a", error="x" * 100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(SordinoError, match="the disk is full") as caught:
            ledger.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.parquet"))
    ledger.flush()
    assert Ledger(str(tmp_path), OPTIONS).results.keys() == ledger.results.keys()
