import pytest

from sordino.errors import SordinoError
from sordino.evaluate.dataset import find_clips, group_columns, groups, read_meta
from support.evaluation import report

META = """set,name,speaker,noise,snr_db
b,other,ann,rain,0
a,clip0,ann,rain,5
a,clip1,bob,rain,15.0
a,clip2,bob,dog,5.0
"""


def test_a_table_beside_the_set_describes_its_clips(dataset):
    (dataset.parent / "META.csv").write_text(META)
    clips = find_clips(dataset)
    assert [clip.traits["speaker"] for clip in clips] == ["ann", "bob", "bob"]
    (dataset / "META.csv").write_text("file,snr\nclip0.wav,5\n")  # the nearer one counts
    assert [dict(clip.traits) for clip in find_clips(dataset)][:2] == [
        {"file": "clip0.wav", "snr": "5"},
        {},
    ]
    mine = dataset.parent / "mine.csv"
    mine.write_text("clip,noise\nclip2,sea\n")
    assert find_clips(dataset, meta=mine)[2].traits["noise"] == "sea"


def test_a_table_without_names_is_refused(tmp_path):
    path = tmp_path / "META.csv"
    path.write_text("speaker\nann\n")
    with pytest.raises(SordinoError, match="no column clip or name"):
        read_meta(path)


def test_many_numbers_are_gathered():
    traits = {str(i): {"snr": str(i / 2 - 5)} for i in range(21)}
    found = groups(traits, "snr")
    assert list(found) == ["-5 to 0", "0 to 5", "5 to 10"]
    assert [len(clips) for clips in found.values()] == [10, 10, 1]


def test_columns_that_tell_nothing_are_left_out():
    traits = [
        {"speaker": "a", "noise": "rain", "snr_db": "1"},
        {"speaker": "b", "noise": "rain", "snr_db": "2"},
        {"speaker": "c", "noise": "rain", "snr_db": "1"},
    ]
    assert group_columns(traits) == ["snr_db"]


def test_figures_are_broken_down(dataset, half):
    (dataset / "META.csv").write_text(META)
    found = report(dataset, "--model", half, "--metrics", "att_db,sisdr")
    by_snr = found["breakdown"]["snr_db"]
    assert {value: each["att_db"]["files"] for value, each in by_snr.items()} == {"5": 2, "15": 1}
    assert list(found["breakdown"]["speaker"]) == ["ann", "bob"]
    clips = {"ann": 1, "bob": 2}
    whole = found["systems"]["half"]["sisdr"]["mean"]
    means = {s: each["sisdr"]["mean"] for s, each in found["breakdown"]["speaker"].items()}
    assert sum(clips[s] * means[s] for s in clips) / 3 == pytest.approx(whole)
    assert len(found["worst"]) == 3
