import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.evaluate.results import (
    RecordKey,
    read_figures,
    read_macs,
    read_records,
    read_versions,
    write_records,
)


def test_records_come_back_as_written(tmp_path):
    records = {
        RecordKey("a", "x"): {"pesq": 1.5, "nr_db": float("nan")},
        RecordKey("b", "x", "-50 dBFS"): {"pesq": 2.0},
    }
    write_records(tmp_path / "r.csv", records)
    back = read_records(tmp_path / "r.csv")
    assert list(back) == list(records)
    assert back[RecordKey("a", "x")]["pesq"] == 1.5
    assert np.isnan(back[RecordKey("a", "x")]["nr_db"])
    assert np.isnan(back[RecordKey("b", "x", "-50 dBFS")]["nr_db"])
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_peers_are_read_for_the_clips_of_the_set(tmp_path):
    (tmp_path / "p_per_file.csv").write_text("peer,file,pesq,odd\nX,a,1.0,\nX,b,2.0,\nX,c,9.0,\n")
    (tmp_path / "p_summary.csv").write_text("peer,files,pesq,rtf\nX,3,4.0,0.05\n")
    (tmp_path / "q_per_file.csv").write_text("peer,file,pesq\nY,other,1.0\n")
    peers = read_figures(tmp_path, ["a", "b"])
    assert peers == {
        RecordKey("X", "a"): {"pesq": 1.0, "rtf": 0.05},
        RecordKey("X", "b"): {"pesq": 2.0, "rtf": 0.05},
    }
    with pytest.raises(SordinoError, match="no CSV file"):
        read_figures(tmp_path, ["z"])


def test_versions_of_systems_are_kept(tmp_path):
    records = {RecordKey("a", "x"): {"pesq": 1.5}, RecordKey("b", "x"): {"pesq": 2.0}}
    write_records(tmp_path / "r.csv", records, {"x": {"version": "mine"}}, {"a": "1f", "b": ""})
    assert read_versions(tmp_path / "r.csv") == {"a": "1f"}
    assert read_records(tmp_path / "r.csv") == records
    write_records(tmp_path / "r.csv", records)
    assert read_versions(tmp_path / "r.csv") == {}


def test_costs_are_read_where_a_summary_knows_them(tmp_path):
    (tmp_path / "p_summary.csv").write_text("peer,rtf,macs\nX,0.05,3.4e7\nY,0.05,\n")
    assert read_macs(tmp_path) == {"X": 3.4e7}


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "r.csv").write_text("system,file,pesq\na,x,high\n")
    with pytest.raises(SordinoError, match="no number"):
        read_records(tmp_path / "r.csv")
    with pytest.raises(SordinoError, match="cannot be read"):
        read_records(tmp_path / "none.csv")


def test_parquet_holds_the_same_with_the_columns_of_the_set(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    records = {
        RecordKey("a", "x"): {"pesq": 1.5, "nr_db": float("nan")},
        RecordKey("a", "y"): {"pesq": 2.0},
    }
    write_records(tmp_path / "r.parquet", records, {"x": {"noise": "rain", "pesq": "mine"}})
    rows = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert rows == [
        {"system": "a", "file": "x", "condition": "", "noise": "rain", "pesq": 1.5, "nr_db": None},
        {"system": "a", "file": "y", "condition": "", "noise": None, "pesq": 2.0, "nr_db": None},
    ]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(SordinoError, match="cannot be written"):
        write_records(tmp_path / "no" / "r.csv", {RecordKey("a", "x"): {"pesq": 1.0}})
    assert not list(tmp_path.iterdir())
