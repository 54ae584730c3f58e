import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pesq
import pystoi
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import models
from signals import noise
from sordino.errors import SordinoError
from sordino.evaluate import ALL, FAST, evaluate_set, means, measures, score
from sordino.evaluate.cli import app
from sordino.evaluate.clips import read_mono
from sordino.evaluate.records import read_peers, read_records, write_records
from sordino.evaluate.summary import bootstrap

EXAMPLES = Path(str(files("sordino"))) / "examples"
QUICK = "sisdr,nr_db,att_db,noise_removed"


def example(name):
    clean, rate = read_mono(EXAMPLES / "clean" / name)
    noisy, _ = read_mono(EXAMPLES / "noisy" / name)
    return clean, noisy, rate


@pytest.fixture
def dataset(tmp_path):
    """Three pairs of a second, of pauses and bursts, at three rates."""
    for index, rate in enumerate((8000, 16000, 44100)):
        bursts = np.arange(rate) % (rate // 2) < rate // 4
        clean = noise(rate, seed=index) * bursts
        noisy = clean + noise(rate, seed=10 + index, level=0.02)
        for kind, x in (("clean", clean), ("noisy", noisy)):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            sf.write(tmp_path / "set" / kind / f"clip{index}.wav", x, rate, subtype="FLOAT")
    return tmp_path / "set"


@pytest.fixture
def half(tmp_path):
    """A model whose mask is 0.5 everywhere."""
    path = tmp_path / "half.onnx"
    path.write_bytes(models.constant_mask_bytes(0.5))
    return str(path)


def command(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def report(*arguments):
    result = command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["systems"]


# ---------------------------------------------------------------- one clip


def test_score_equals_the_libraries():
    clean, noisy, rate = example("cafe_16k.flac")
    row = score(clean, noisy, noisy, rate, ("pesq", "stoi", "estoi"))
    assert row["pesq"] == pesq.pesq(rate, clean, noisy, "wb")
    assert row["stoi"] == pytest.approx(pystoi.stoi(clean, noisy, rate))
    assert row["estoi"] == pytest.approx(pystoi.stoi(clean, noisy, rate, extended=True))


def test_score_takes_latency_and_rate_out():
    clean, noisy, rate = example("office_48k.flac")
    late = np.pad(noisy, (960, 0))
    row = score(clean, noisy, late, rate, ("sisdr", "lag", "nr_db"))
    assert row["lag"] == 320
    assert row["nr_db"] == pytest.approx(0, abs=0.05)
    assert row["sisdr"] == pytest.approx(
        score(clean, noisy, noisy, rate, ["sisdr"])["sisdr"], abs=0.01
    )


def test_clean_speech_scores_best_and_silence_worst():
    clean, noisy, rate = example("cafe_16k.flac")
    best = score(clean, noisy, clean, rate, ("pesq", "stoi", "att_db"))
    assert best == pytest.approx({"pesq": 4.64, "stoi": 1, "att_db": 0}, abs=0.01)
    worst = score(clean, noisy, 0 * noisy, rate, ALL)
    assert worst["pesq"] < 1.1
    assert worst["sisdr"] == -60
    assert all(np.isfinite(value) for value in worst.values())


def test_a_silent_reference_leaves_its_measures_undefined():
    x = noise(16000)
    row = score(0 * x, x, x / 10, 16000, ("pesq", "stoi", "sisdr", "nr_db", "level_db"))
    assert np.isnan([row[name] for name in ("pesq", "stoi", "sisdr", "nr_db")]).all()
    assert row["level_db"] == pytest.approx(20, abs=0.01)


def test_without_a_reference_only_what_needs_none_is_measured():
    _, noisy, rate = example("phone_8k.flac")
    row = score(None, noisy, noisy / 2, rate, ALL)
    assert list(row) == ["sig", "bak", "ovrl", "p808", "level_db", "pause_db"]
    assert row["level_db"] == pytest.approx(6.02, abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, n: (c[:-1], n, n), "samples"),
        (lambda c, n: (c, n, np.full_like(n, np.nan)), "NaN"),
        (lambda c, n: (c, n, np.stack([n, n])), "shape"),
        (lambda c, n: (c[:100], n[:100], n[:100]), "under 0.5 s"),
    ],
)
def test_signals_that_do_not_fit_are_refused(change, message):
    x = noise(16000)
    with pytest.raises(SordinoError, match=message):
        score(*change(x, x), 16000)


def test_unknown_measures_and_missing_libraries_are_named(monkeypatch):
    x = noise(16000)
    with pytest.raises(SordinoError, match="Unknown measure 'loudness'"):
        score(x, x, x, 16000, ["loudness"])
    monkeypatch.setattr(measures, "LIBRARIES", ("a_library_nobody_has",))
    with pytest.raises(SordinoError, match=r"pip install 'sordino\[evaluate\]'"):
        score(x, x, x, 16000)


# ---------------------------------------------------------------- a set


def test_evaluate_set_scores_any_callable(dataset):
    rows = evaluate_set(dataset, lambda x, rate: x / 2, metrics=("att_db", "nr_db"))
    assert list(rows) == ["clip0", "clip1", "clip2"]
    assert means(rows)["att_db"] == pytest.approx(6.02, abs=0.1)
    assert means(rows)["nr_db"] == pytest.approx(6.02, abs=0.1)
    assert list(evaluate_set(dataset, lambda x, rate: x, metrics=["sisdr"], limit=1)) == ["clip0"]


def test_fast_measures_are_a_subset_for_checkpoints(dataset):
    rows = evaluate_set(dataset, lambda x, rate: x, limit=2)
    assert set(means(rows)) == set(FAST)


def test_processes_change_nothing(dataset):
    alone = evaluate_set(dataset, lambda x, rate: x, metrics=("sisdr", "lsd_db"))
    shared = evaluate_set(dataset, lambda x, rate: x, metrics=("sisdr", "lsd_db"), jobs=2)
    assert alone == shared


@given(seed=st.integers(0, 100))
def test_bootstrap_brackets_the_mean(seed):
    values = np.random.default_rng(seed).normal(3, 1, 50)
    interval = bootstrap([*values, np.nan])
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 50**0.5, rel=0.2)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0, 1, (200, 40))
    covered = [interval.low < 0 < interval.high for interval in map(bootstrap, draws)]
    assert 0.88 < np.mean(covered) < 0.99


# ---------------------------------------------------------------- figures on disk


def test_records_come_back_as_written(tmp_path):
    records = {"a": {"x": {"pesq": 1.5, "nr_db": float("nan")}}, "b": {"x": {"pesq": 2.0}}}
    write_records(tmp_path / "r.csv", records)
    back = read_records(tmp_path / "r.csv")
    assert back["a"]["x"]["pesq"] == 1.5
    assert np.isnan(back["a"]["x"]["nr_db"])
    assert np.isnan(back["b"]["x"]["nr_db"])
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_peers_are_read_for_the_clips_of_the_set(tmp_path):
    (tmp_path / "p_per_file.csv").write_text("peer,file,pesq,odd\nX,a,1.0,\nX,b,2.0,\nX,c,9.0,\n")
    (tmp_path / "p_summary.csv").write_text("peer,files,pesq,rtf\nX,3,4.0,0.05\n")
    (tmp_path / "q_per_file.csv").write_text("peer,file,pesq\nY,other,1.0\n")
    peers = read_peers(tmp_path, ["a", "b"])
    assert peers == {"X": {"a": {"pesq": 1.0, "rtf": 0.05}, "b": {"pesq": 2.0, "rtf": 0.05}}}
    with pytest.raises(SordinoError, match="no CSV file"):
        read_peers(tmp_path, ["z"])


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "r.csv").write_text("system,file,pesq\na,x,high\n")
    with pytest.raises(SordinoError, match="no number"):
        read_records(tmp_path / "r.csv")
    with pytest.raises(SordinoError, match="cannot be read"):
        read_records(tmp_path / "none.csv")


# ---------------------------------------------------------------- the command


def test_command_measures_a_model_end_to_end(dataset, half):
    systems = report(dataset, "--model", half, "--metrics", QUICK)
    assert list(systems) == ["noisy", "half"]
    assert systems["noisy"]["noise_removed"]["mean"] == 0
    assert systems["half"]["noise_removed"]["mean"] == pytest.approx(0.75, abs=1e-4)
    assert systems["half"]["nr_db"]["mean"] == pytest.approx(6.02, abs=0.05)
    assert systems["half"]["att_db"]["files"] == 3


def test_strength_and_limit_reach_the_mask(dataset, half):
    soft = report(dataset, "--model", half, "--metrics", QUICK, "--strength", 0.5)
    assert soft["half strength 0.5"]["noise_removed"]["mean"] == pytest.approx(0.4375, abs=1e-4)
    limited = report(dataset, "--model", half, "--metrics", QUICK, "--attenuation-limit", 1)
    left = (1 - (1 - 10 ** (-1 / 20)) / 2) ** 2
    assert limited["half limit 1 dB"]["noise_removed"]["mean"] == pytest.approx(1 - left, abs=1e-4)


def test_outputs_of_another_system_and_peers_stand_beside(dataset, tmp_path):
    outputs = tmp_path / "theirs"
    outputs.mkdir()
    for path in (dataset / "noisy").iterdir():
        x, rate = sf.read(path)
        sf.write(outputs / path.name, np.pad(x / 10, (rate // 100, 0)), rate, "FLOAT")
    peers = tmp_path / "peers"
    peers.mkdir()
    (peers / "per_file.csv").write_text("peer,file,sisdr\nloud,clip0,7.0\nloud,clip1,9.0\n")
    systems = report(dataset, "--estimates", outputs, "--peers", peers, "--metrics", QUICK)
    assert list(systems) == ["noisy", "theirs", "loud"]
    assert systems["theirs"]["att_db"]["mean"] == pytest.approx(20, abs=0.1)
    assert "noise_removed" not in systems["theirs"]
    assert systems["loud"]["sisdr"]["mean"] == 8


def test_table_names_every_system_and_measure(dataset, half):
    result = command(dataset, "--model", half, "--metrics", QUICK)
    assert result.exit_code == 0
    for text in ("noisy", "half", "SI-SDR", "noise energy", "0.750 ±0.000", "3 clips"):
        assert text in result.stdout


def test_csv_can_be_continued(dataset, half, tmp_path):
    out = tmp_path / "out.csv"
    full = ("--model", half, "--metrics", QUICK, "--csv", out)
    assert command(dataset, *full, "--limit", 2).exit_code == 0
    records = read_records(out)
    records["half"]["clip0"]["sisdr"] = 77.0  # stays if, and only if, the clip is not redone
    write_records(out, records)
    assert command(dataset, *full, "--resume").exit_code == 0
    resumed = read_records(out)
    assert list(resumed["half"]) == ["clip0", "clip1", "clip2"]
    assert resumed["half"]["clip0"]["sisdr"] == 77.0
    assert command(dataset, *full).exit_code == 0
    assert read_records(out)["half"]["clip0"]["sisdr"] != 77.0


def test_noisy_recordings_alone_get_what_needs_no_reference(dataset, half):
    for path in (dataset / "clean").iterdir():
        path.unlink()
    (dataset / "clean").rmdir()
    systems = report(dataset, "--model", half, "--metrics", "fast", "--limit", 1)
    assert "pesq" not in systems["half"]
    assert systems["half"]["level_db"]["mean"] == pytest.approx(6.02, abs=0.01)
    error = command(dataset, "--model", half, "--metrics", "pesq").exception
    assert isinstance(error, SordinoError)
    assert "needs a reference" in str(error)


def test_a_bad_clip_is_named_and_the_others_go_on(dataset, half, tmp_path):
    (dataset / "noisy" / "clip1.wav").write_bytes(b"not audio")
    out = tmp_path / "out.csv"
    result = command(dataset, "--model", half, "--metrics", QUICK, "--csv", out)
    assert isinstance(result.exception, SordinoError)
    assert "2 of 6 outputs" in str(result.exception)
    assert "half, clip1.wav" in result.stderr
    assert list(read_records(out)["half"]) == ["clip0", "clip2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no set"),
        (["set", "--estimates", "nowhere"], "no folder nowhere"),
        (["set", "--peers", "nowhere", "--estimates", "set/clean"], "no folder nowhere"),
        (["set", "--estimates", "set/noisy"], "Two systems are called 'noisy'"),
        (["set", "--metrics", "loudness"], "Unknown measure 'loudness'"),
        (["set", "--resume"], "--csv OUT"),
        (["set", "--model", "nothing.onnx"], "nothing.onnx"),
        (["set", "--estimates", "set/clean", "--csv", "no/where.csv"], "cannot be written"),
    ],
)
def test_bad_input_gives_one_clear_line(dataset, monkeypatch, arguments, message):
    monkeypatch.chdir(dataset.parent)
    error = command(*arguments).exception
    assert isinstance(error, SordinoError)
    assert message in str(error)
    assert "\n" not in str(error)


def test_a_pair_without_its_reference_is_named(dataset):
    (dataset / "clean" / "clip2.wav").unlink()
    error = command(dataset, "--metrics", QUICK).exception
    assert "clip2.wav has no file of its name" in str(error)
