import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from sordino.errors import SordinoError
from sordino.evaluate.results import RecordKey, read_records, write_records
from support import models
from support.evaluation import command, report

QUICK = "sisdr,nr_db,att_db,noise_removed"

# `sordino`, which is killed after four outputs and saves after every one.
KILLED = """
import os, signal
from sordino.evaluate import runner

def with_progress(*arguments):
    for done, result in enumerate(plain(*arguments)):
        if done == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        yield result

plain, runner._with_progress, runner.SAVE_SECONDS = runner._with_progress, with_progress, 0
from sordino.cli import main
main()
"""


def systems_of(*arguments):
    return report(*arguments)["systems"]


def test_command_measures_a_model_end_to_end(dataset, half):
    systems = systems_of(dataset, "--model", half, "--metrics", QUICK)
    assert list(systems) == ["noisy", "half"]
    assert systems["noisy"]["noise_removed"]["mean"] == 0
    assert systems["half"]["noise_removed"]["mean"] == pytest.approx(0.75, abs=1e-4)
    assert systems["half"]["nr_db"]["mean"] == pytest.approx(6.02, abs=0.05)
    assert systems["half"]["att_db"]["files"] == 3


def test_strength_and_limit_reach_the_mask(dataset, half):
    soft = systems_of(dataset, "--model", half, "--metrics", QUICK, "--strength", 0.5)
    assert soft["half strength 0.5"]["noise_removed"]["mean"] == pytest.approx(0.4375, abs=1e-4)
    limited = systems_of(dataset, "--model", half, "--metrics", QUICK, "--attenuation-limit", 1)
    left = (1 - (1 - 10 ** (-1 / 20)) / 2) ** 2
    assert limited["half limit 1 dB"]["noise_removed"]["mean"] == pytest.approx(1 - left, abs=1e-4)


def test_outputs_and_figures_of_other_systems_are_reported(dataset, tmp_path):
    outputs = tmp_path / "theirs"
    outputs.mkdir()
    for path in (dataset / "noisy").iterdir():
        x, rate = sf.read(path)
        sf.write(outputs / path.name, np.pad(x / 10, (rate // 100, 0)), rate, "FLOAT")
    peers = tmp_path / "peers"
    peers.mkdir()
    (peers / "per_file.csv").write_text("peer,file,sisdr\nloud,clip0,7.0\nloud,clip1,9.0\n")
    systems = systems_of(dataset, "--outputs", outputs, "--figures", peers, "--metrics", QUICK)
    assert list(systems) == ["noisy", "theirs", "loud"]
    assert systems["theirs"]["att_db"]["mean"] == pytest.approx(20, abs=0.1)
    assert "noise_removed" not in systems["theirs"]
    assert systems["loud"]["sisdr"]["mean"] == 8


def test_table_names_every_system_and_measure(dataset, half):
    result = command(dataset, "--model", half, "--metrics", QUICK)
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())  # the title may be wrapped
    for text in ("noisy", "half", "SI-SDR", "noise energy", "0.750 ±0.000", "3 clips"):
        assert text in shown


def test_csv_can_be_continued(dataset, half, tmp_path):
    out = tmp_path / "out.csv"
    full = ("--model", half, "--metrics", QUICK, "--csv", out)
    assert command(dataset, *full, "--limit", 2).exit_code == 0
    records = read_records(out)
    first = RecordKey("half", "clip0")
    records[first]["sisdr"] = 77.0  # stays if, and only if, the clip is not redone
    write_records(out, records)
    assert command(dataset, *full, "--resume").exit_code == 0
    resumed = read_records(out)
    assert {key.clip for key in resumed} == {"clip0", "clip1", "clip2"}
    assert resumed[first]["sisdr"] == 77.0
    more = (*full[:3], "sisdr,estoi", *full[4:], "--resume")
    assert command(dataset, *more).exit_code == 0  # what lacks a measure is done again
    assert read_records(out)[first]["sisdr"] != 77.0
    assert read_records(out)[first]["estoi"] > 0


def test_undefined_figures_are_not_measured_again(dataset, half, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    call = (dataset, "--model", half, "--metrics", "lsd_high_db,sisdr", "--csv", out)
    assert command(*call).exit_code == 0  # two of the rates have nothing above 8 kHz
    monkeypatch.setattr("sordino.evaluate.runner._enhance", None)  # cannot be called
    assert command(*call, "--resume").exit_code == 0


@pytest.mark.slow
def test_a_killed_evaluation_resumes_where_it_was(dataset, half, tmp_path):
    out = tmp_path / "out.csv"
    call = [dataset, "--model", half, "--metrics", "sisdr,rtf", "--csv", out]
    killed = subprocess.run([sys.executable, "-c", KILLED, "evaluate", *call], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = read_records(out)
    assert len(kept) == 4
    assert command(*call, "--resume").exit_code == 0
    finished = read_records(out)
    assert len(finished) == 6
    assert all(finished[key]["rtf"] == kept[key]["rtf"] for key in kept)  # no clip twice


@pytest.mark.slow
def test_recordings_without_references_get_measures_without_reference(dataset, half):
    for path in (dataset / "clean").iterdir():
        path.unlink()
    (dataset / "clean").rmdir()
    systems = systems_of(dataset, "--model", half, "--metrics", "fast", "--limit", 1)
    assert "pesq" not in systems["half"]
    assert systems["half"]["level_db"]["mean"] == pytest.approx(6.02, abs=0.01)
    error = command(dataset, "--model", half, "--metrics", "pesq").exception
    assert isinstance(error, SordinoError)
    assert "needs a reference" in str(error)


def test_a_plain_folder_of_recordings_is_a_set_as_well(dataset, half):
    found = report(dataset / "noisy", "--model", half, "--metrics", "level_db")
    assert found["clips"] == 3
    assert found["systems"]["half"]["level_db"]["mean"] == pytest.approx(6.02, abs=0.01)


def test_a_bad_clip_is_named_and_the_others_go_on(dataset, half, tmp_path):
    (dataset / "noisy" / "clip1.wav").write_bytes(b"not audio")
    out = tmp_path / "out.csv"
    result = command(dataset, "--model", half, "--metrics", QUICK, "--csv", out)
    assert isinstance(result.exception, SordinoError)
    assert "2 of 6 outputs" in str(result.exception)
    assert "half, clip1.wav" in result.stderr
    assert {key.clip for key in read_records(out)} == {"clip0", "clip2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no folder nowhere"),
        (["."], "holds no audio"),
        (["set", "--outputs", "theirs=nowhere"], "no folder nowhere"),
        (["set", "--meta", "nowhere.csv"], "cannot be read as CSV"),
        (["set", "--by", "snr_db"], "no such column"),
        (["set", "--metrics", "wer"], "transcript"),
        (["set", "--level", "40"], "level is 40"),
        (["set", "--level", "nan"], "level is nan"),
        (["set", "--band", "inf"], "band ends at inf"),
        (["set", "--warm-up", "-1"], "warm-up is -1"),
        (["set", "--warm-up", "inf"], "expected 0 to 600 seconds"),
        (["set", "--condition", "underwater"], "Unknown condition 'underwater'"),
        (["set", "--condition", "warm", "--warm-up", "5"], "leave --level, --band and --warm-up"),
        (["set/noisy/clip0.wav"], "no folder"),
        (["set", "--csv", "set"], "cannot be written"),
        (["set", "--band", "10"], "band ends at 10"),
        (["set", "--level", "-50", "--conditions"], "leave --level"),
        (["set", "--figures", "nowhere", "--outputs", "set/clean"], "no folder nowhere"),
        (["set", "--outputs", "set/noisy"], "Two systems are called 'noisy'"),
        (["set", "--metrics", "loudness"], "Unknown measure 'loudness'"),
        (["set", "--resume"], "--csv OUT"),
        (["set", "--model", "nothing.onnx"], "nothing.onnx"),
        (["set", "--outputs", "set/clean", "--csv", "no/where.csv"], "cannot be written"),
    ],
)
def test_bad_input_gives_one_clear_line(dataset, monkeypatch, arguments, message):
    monkeypatch.chdir(dataset.parent)
    error = command(*arguments).exception
    assert isinstance(error, SordinoError)
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("option", ["--strength", "--attenuation-limit"])
def test_numbers_that_are_none_are_refused(dataset, option):
    result = command(dataset, option, "nan")
    assert result.exit_code == 2
    assert option in result.stderr


def test_a_pair_without_its_reference_is_named(dataset):
    (dataset / "clean" / "clip2.wav").unlink()
    error = command(dataset, "--metrics", QUICK).exception
    assert "clip2.wav has no file of its name" in str(error)


def test_a_model_that_changed_is_measured_again(dataset, tmp_path):
    path, out = tmp_path / "m.onnx", tmp_path / "out.csv"
    call = (dataset, "--model", path, "--metrics", "att_db", "--csv", out, "--resume")
    path.write_bytes(models.constant_mask_bytes(0.5))
    assert systems_of(*call)["m"]["att_db"]["mean"] == pytest.approx(6.02, abs=0.05)
    path.write_bytes(models.constant_mask_bytes(0.9))
    result = command(*call)
    assert "m has changed since" in result.stderr
    assert systems_of(*call)["m"]["att_db"]["mean"] == pytest.approx(20, abs=0.1)


# The command line in an environment without any package of the extras.
WITHOUT_EXTRAS = """
import sys
for name in ("pesq", "pystoi", "speechmos", "librosa", "threadpoolctl", "matplotlib", "PIL",
             "pyrnnoise", "scipy", "torch"):
    sys.modules[name] = None
from sordino.cli import main
main()
"""


def without_extras(*arguments):
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *(str(each) for each in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_help_needs_no_extra_and_a_run_names_the_right_one(dataset, name):
    shown = without_extras(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--warm-up" in shown.stdout
    assert "--conditions" in shown.stdout
    run = without_extras(name, dataset)
    assert run.returncode == 2
    assert "[evaluate]" in run.stderr
    assert "Traceback" not in run.stderr


def test_old_option_names_work_with_one_line(dataset, half):
    call = (dataset, "--model", half, "--metrics", "att_db", "--limit", 1)
    result = command(*call, "--heard-before")
    assert result.exit_code == 0
    assert "--heard-before is now --warm-up SECONDS" in result.stderr
    assert "whole clip of warm-up" in " ".join(result.stdout.split())  # the line is wrapped
    result = command(*call, "--peer", "RNNoise", name="compare")
    assert result.exit_code == 0
    assert "--peer is now --baseline" in result.stderr


def test_names_of_systems_and_clips_are_no_markup(dataset, half, tmp_path):
    name = "[/red] [bold]"
    for folder in (dataset / "noisy", dataset / "clean"):
        (folder / "clip0.wav").rename(folder / "[red]clip[bold].wav")
    outputs = ("--outputs", f"{name}={dataset / 'noisy'}")
    result = command(dataset, "--model", half, *outputs, "--metrics", "sisdr", name="compare")
    assert result.exit_code == 0, result.exception
    assert name in result.stdout
    assert "[red]clip[bold]" in result.stdout


@pytest.mark.slow
def test_outputs_under_other_conditions_take_part(dataset, half, tmp_path):
    inputs, outputs = tmp_path / "inputs", tmp_path / "theirs"
    call = (dataset, "--model", half, "--metrics", "sisdr,att_db")
    conditions = ("--condition", "warm", "--condition", "clean", "--condition", "silence")
    assert command(*call, *conditions, "--export-inputs", inputs).exit_code == 0
    assert sorted(path.name for path in inputs.iterdir()) == ["clean", "noisy", "silence", "warm"]
    for path in inputs.glob("*/*.wav"):  # what another system would do: a tenth as loud
        x, rate = sf.read(path)
        target = outputs / ("" if path.parent.name == "noisy" else path.parent.name) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        sf.write(target, x / 10, rate, "FLOAT")
    found = report(*call, *conditions, "--outputs", outputs)
    checks = {(c["system"], c["condition"]): c["mean"] for c in found["checks"]}
    assert checks["theirs", "silence only"] == -120
    assert checks["theirs", "clean only"] == pytest.approx(4.64, abs=0.01)
    warm = {r["measure"]: r for r in found["comparison"] if r["start"] == "warm"}
    assert warm["att_db"]["systems"]["theirs"]["mean"] == pytest.approx(20, abs=0.1)
    assert warm["att_db"]["systems"]["theirs"]["files"] == 3
