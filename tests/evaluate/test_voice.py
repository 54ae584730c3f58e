"""What `sordino evaluate --voice` says of systems whose effect is known."""

import csv
import json

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sordino.errors import SordinoError
from sordino.evaluate.cli import app
from sordino.evaluate.voice import (
    BARS,
    INPUT,
    ORACLE,
    RIGHT,
    UNIVERSAL,
    WRONG,
    VoiceEvaluation,
    bars,
    in_noise,
    summary,
)
from sordino.evaluate.voice_clips import find_voice_clips, measure, oracle
from sordino.voice.encoder import VoiceEncoder
from support import models

RATE = 16000
MODEL = models.voices_bytes(VoiceEncoder.load().id)


def talker(f0, seconds, seed):
    """Syllables of a harmonic series."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * f0 * t + seed
    x = sum(np.sin(k * phase) / k for k in range(1, 12))
    return (0.05 * x * np.clip(np.sin(2 * np.pi * (2 + 0.3 * seed) * t) + 0.4, 0.05, 1)).astype(
        "f4"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips: each talker is the target of one and the other one of the other."""
    root = tmp_path_factory.mktemp("voices")
    people = {"low": (110, 1), "high": (230, 2)}
    for part in ("mixture", "target", "enrolment"):
        (root / part).mkdir()
    rows = [("v0", "low", "high", "same"), ("v1", "high", "low", "different")]
    for name, target, other, _ in rows:
        (f0, seed), (other_f0, other_seed) = people[target], people[other]
        clean = np.pad(talker(f0, 7, seed), (0, 3 * RATE))
        mixture = clean + np.pad(talker(other_f0, 7, other_seed), (3 * RATE, 0))
        signals = {"mixture": mixture, "target": clean}
        signals["enrolment"] = talker(1.02 * f0, 11, 3)
        for part, x in signals.items():
            sf.write(root / part / f"{name}.flac", x, RATE, subtype="PCM_24")
    with open(root / "META.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "target", "interferer", "gender", "sir_db", "noise"])
        table.writerows([*row, "0", ""] for row in rows)
    return root


@pytest.fixture(scope="module")
def clips(folder):
    return find_voice_clips(folder)


def test_the_input_changes_nothing(clips):
    for clip in clips:
        row = measure(clip, clip.mixture)
        for name in ("sisdri", "other_alone_db", "target_db", "over_suppressed"):
            assert row[name] == pytest.approx(0, abs=0.02)
        assert row["other_both_db"] == pytest.approx(0, abs=0.02)


def test_a_constant_gain_gains_nothing(clips):
    row = measure(clips[0], clips[0].mixture * np.float32(0.5))
    assert row["sisdri"] == pytest.approx(0, abs=0.02)
    assert row["target_db"] == pytest.approx(6.02, abs=0.05)
    assert row["other_alone_db"] == pytest.approx(6.02, abs=0.05)


def test_the_target_itself_is_the_best_and_the_other_is_confusion(clips):
    clip = clips[0]
    best = measure(clip, clip.target)
    assert best["sisdri"] > 40
    assert best["other_alone_db"] == 60
    assert best["other_both_db"] == pytest.approx(60, abs=1)
    assert best["confused"] == 0
    worst = measure(clip, clip.others)
    assert worst["confused"] == 100
    assert worst["over_suppressed"] > 90
    assert worst["sisdri"] < -10


def test_frames_that_lose_more_than_10_db_are_over_suppressed(clips):
    clip = clips[0]
    estimate = clip.mixture.copy()
    estimate[: RATE * 3 // 2] *= np.float32(10 ** (-11 / 20))
    assert measure(clip, estimate)["over_suppressed"] == pytest.approx(50, abs=8)
    estimate = clip.mixture * np.float32(10 ** (-9 / 20))
    assert measure(clip, estimate)["over_suppressed"] == 0


def test_the_oracle_mask_keeps_the_target_and_takes_the_other(clips):
    for clip in clips:
        row = measure(clip, oracle(clip))
        assert row["sisdri"] > 8
        assert row["other_alone_db"] > 30
        assert abs(row["target_db"]) < 0.2


def test_noise_of_an_enrolment_is_at_its_ratio_and_always_the_same():
    x = talker(120, 3, 0)
    noise = in_noise(x, 5.0) - x
    ratio = 10 * np.log10(np.mean(x**2) / np.mean(noise**2))
    assert ratio == pytest.approx(5, abs=0.05)
    np.testing.assert_array_equal(in_noise(x, 5.0), in_noise(x, 5.0))


@pytest.fixture(scope="module")
def evaluation(clips, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "voices.onnx"
    path.write_bytes(MODEL)
    found = VoiceEvaluation(clips, path)
    found.run()
    return found


@pytest.mark.slow
def test_the_four_controls_stand_beside_the_model(evaluation, clips):
    assert {INPUT, UNIVERSAL, RIGHT, WRONG, ORACLE} <= set(evaluation.rows)
    table = summary(evaluation)
    assert [row[0].text for row in table.rows] == list(evaluation.rows)
    assert len(table.columns) == 1 + len(evaluation.measures)
    by_gender = summary(evaluation, "gender")
    assert len(by_gender.rows) == 2 * len(evaluation.rows)
    assert [heading.split(":")[0] for heading in by_gender.sections.values()] == [
        "gender different",
        "gender same",
    ]


def test_the_wrong_enrolment_is_the_other_talkers(evaluation, clips):
    assert evaluation._wrong(clips[0]) is clips[1]
    assert evaluation._wrong(clips[1]) is clips[0]


def test_intervals_are_over_pairs_of_speakers(evaluation):
    found = evaluation.interval(INPUT, "sisdri")
    assert found.files == 2
    assert found.low <= found.mean <= found.high
    assert evaluation.right_less_wrong().files == 2


def test_each_bar_is_held_against_clips_at_0_db_without_noise(evaluation):
    table = bars(evaluation)
    unjudged = {name: bar for name, bar in BARS.items() if name != "mistaken"}
    assert len(table.rows) == len(unjudged)
    for row, bar in zip(table.rows, unjudged.values(), strict=True):
        value, reached = row[2].value, row[3].value
        assert reached == (value >= bar.goal if bar.above else value <= bar.goal)


@pytest.mark.slow
def test_the_command_prints_tables_and_writes_figures(folder, tmp_path):
    model = tmp_path / "voices.onnx"
    model.write_bytes(MODEL)
    options = ["--voice", "--model", str(model), "--limit", "1", "--csv", str(tmp_path / "f.csv")]
    result = CliRunner().invoke(app, ["evaluate", str(folder), *options, "--by", "gender"])
    assert result.exit_code == 0, result.output
    assert "wrong enrolment" in result.output
    assert "Goals" in result.output
    with open(tmp_path / "f.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["system"] for row in rows} >= {INPUT, RIGHT, ORACLE}
    assert float(rows[0]["sisdri"]) == pytest.approx(0, abs=0.02)
    result = CliRunner().invoke(app, ["evaluate", str(folder), *options[:5], "--json"])
    assert set(json.loads(result.stdout)[RIGHT]) == {"v0"}


def test_what_is_no_such_set_is_told(folder, tmp_path):
    with pytest.raises(SordinoError, match=r"META\.csv"):
        find_voice_clips(tmp_path)
    result = CliRunner().invoke(app, ["evaluate", str(folder), "--voice", "--by", "weather"])
    assert isinstance(result.exception, SordinoError)
    assert "no such column" in str(result.exception)
    (folder / "enrolment" / "v1.flac").rename(tmp_path / "v1.flac")
    try:
        with pytest.raises(SordinoError, match="v1 has no file"):
            find_voice_clips(folder)
    finally:
        (tmp_path / "v1.flac").rename(folder / "enrolment" / "v1.flac")
