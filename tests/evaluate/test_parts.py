from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from sordino.errors import SordinoError
from sordino.evaluate.conditions import AS_IS, WARM
from sordino.evaluate.dataset import Clip, find_clips
from sordino.evaluate.parts import BETTER, EQUAL, UNSURE, WORSE, compared, parts
from sordino.evaluate.results import RecordKey
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.systems import Function, Unprocessed
from support.evaluation import command, report
from support.signals import noise, tone

META = """name,part,speaker,noise,noise_kind,snr_db,room,f0_band
m0,mixture,a,rain,stationary,0,,
m1,mixture,a,dog,event,15,,
m2,mixture,b,rain,stationary,25,,
c0,clean,b,,,,,
n0,noise,,dog,event,,,
n1,noise,,rain,stationary,,,
h0,high-voice,c,,,,,300-400
h1,high-voice,c,dog,event,15,,300-400
h2,high-voice,c,,,,,400-500
"""


@pytest.fixture
def val(tmp_path):
    """A set of all parts, 1 s each."""
    folder = tmp_path / "val"
    for kind in ("noisy", "clean"):
        (folder / kind).mkdir(parents=True)
    (folder / "META.csv").write_text(META)
    voice = tone(350, 16000, 1.0, 0.3) * (np.arange(16000) % 8000 < 5000)
    hiss = noise(16000, level=0.02)
    for line in META.splitlines()[1:]:
        name, part, *_, snr, _, _ = line.split(",")
        clean = None if part == "noise" else voice
        noisy = hiss if clean is None else voice + hiss if snr else voice
        for kind, x in (("noisy", noisy), ("clean", clean)):
            if x is not None:
                sf.write(folder / kind / f"{name}.wav", x, 16000, "FLOAT")
    return folder


def clip(name, **traits):
    return Clip(name, Path(), Path(), traits)


def evaluation(clips, figures, conditions=(AS_IS,)):
    """Return an evaluation with known figures: {(system, condition): {measure: by clip}}."""
    records = {
        RecordKey(system, each.name, condition): {
            measure: values[index] for measure, values in measures.items()
        }
        for (system, condition), measures in figures.items()
        for index, each in enumerate(clips)
    }
    names = dict.fromkeys(system for system, _ in figures if system != "noisy")
    systems = [Unprocessed(), *(Function(name, lambda x, rate: x) for name in names)]
    return Evaluation("val", clips, systems, conditions, records)


def test_the_parts_of_a_set_are_those_of_its_table(val):
    found = {part.name: list(part.clips) for part in parts(find_clips(val))}
    assert found["mixtures"] == ["m0", "m1", "m2"]
    assert found["mixtures at 15 dB and above"] == ["m1", "m2"]
    assert found["mixtures, event noise"] == ["m1"]
    assert found["clean speech"] == ["c0"]
    assert found["noise alone, stationary"] == ["n1"]
    assert found["high voices 300-400 Hz, clean"] == ["h0"]
    assert found["high voices 300-400 Hz, 15 dB"] == ["h1"]
    assert found["high voices 400-500 Hz, clean"] == ["h2"]


def test_the_subject_is_compared_with_the_best_other_system():
    clips = [clip(str(i)) for i in range(20)]
    pesq = np.random.default_rng(0).normal(2, 0.5, 20)
    figures = {
        ("noisy", ""): {"pesq": pesq + 1},
        ("mine", ""): {"pesq": pesq},
        ("worse", ""): {"pesq": pesq - 0.3},
        ("best", ""): {"pesq": pesq + 0.1},
    }
    (row,) = compared(evaluation(clips, figures))
    assert (row.part, row.start, row.against, row.verdict) == ("mixtures", "cold", "best", WORSE)
    assert row.difference.mean == pytest.approx(-0.1)
    assert row.systems["worse"].mean == pytest.approx(pesq.mean() - 0.3)
    (row,) = compared(evaluation(clips, figures), versus="worse")
    assert (row.against, row.verdict) == ("worse", BETTER)


def test_a_difference_within_its_interval_is_no_gain():
    clips = [clip(str(i)) for i in range(20)]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 20)
    figures = {
        ("noisy", ""): {"pesq": np.zeros(20)},
        ("mine", ""): {"pesq": noise - noise.mean() + 0.01},
        ("other", ""): {"pesq": np.zeros(20)},
    }
    (row,) = compared(evaluation(clips, figures))
    assert row.difference.mean == pytest.approx(0.01)
    assert row.difference.low < 0 < row.difference.high
    assert row.verdict == EQUAL


def test_a_few_clips_give_no_verdict():
    clips = [clip(str(i)) for i in range(4)]
    figures = {("noisy", ""): {"pesq": [1.0] * 4}, ("mine", ""): {"pesq": [2.0] * 4}}
    (row,) = compared(evaluation(clips, figures))
    assert row.difference.mean == 1
    assert row.verdict == UNSURE


def test_less_is_better_for_losses_and_more_for_the_reduction_of_noise_alone():
    voices = [clip(str(i), part="high-voice", f0_band="300-400") for i in range(5)]
    figures = {
        ("noisy", ""): {"level_loss_db": [0.0] * 5},
        ("mine", ""): {"level_loss_db": [0.5, 0.6, 0.5, 0.6, 0.5]},
        ("deaf", ""): {"level_loss_db": [20.0, 21.0, 22.0, 23.0, 20.0]},
        ("mine", WARM.name): {"level_loss_db": [0.7] * 5},
        ("deaf", WARM.name): {"level_loss_db": [20.0] * 5},
    }
    cold, warm = compared(evaluation(voices, figures, (AS_IS, WARM)))
    assert (cold.part, cold.start, cold.verdict) == (
        "high voices 300-400 Hz, clean",
        "cold",
        BETTER,
    )
    assert (warm.start, warm.systems["mine"].mean) == ("warm", pytest.approx(0.7))
    noises = [clip(str(i), part="noise", noise_kind="event") for i in range(5)]
    figures = {
        ("noisy", ""): {"level_db": [0.0] * 5},
        ("mine", ""): {"level_db": [30.0, 31.0, 32.0, 33.0, 60.0]},
        ("other", ""): {"level_db": [20.0, 21.0, 22.0, 23.0, 24.0]},
    }
    alone, events = compared(evaluation(noises, figures))
    assert alone.systems["mine"].mean == 32  # the median
    assert alone.difference.mean == 10
    assert alone.verdict == BETTER
    assert events.part == "noise alone, event"


@pytest.mark.slow
def test_one_run_prints_every_part_cold_and_warm(val, half):
    systems = ("--model", half, "--baseline", "RNNoise", "--condition", "warm")
    metrics = ("--metrics", "sisdr,att_db,level_db,level_loss_db")
    found = report(val, *systems, *metrics, name="compare")
    rows = {(row["part"], row["start"], row["measure"]): row for row in found["comparison"]}
    ours = {key: row["systems"]["half"] for key, row in rows.items()}
    for start in ("cold", "warm"):
        assert ours["clean speech", start, "att_db"]["mean"] == pytest.approx(6.02, abs=0.05)
        assert ours["noise alone, event", start, "level_db"]["mean"] == pytest.approx(6.02, abs=0.1)
        voices = ours["high voices 300-400 Hz, 15 dB", start, "level_loss_db"]
        assert voices["mean"] == pytest.approx(6.02, abs=0.05)
        assert ("mixtures", start, "sisdr") in rows
    assert rows["mixtures", "cold", "sisdr"]["against"] == "RNNoise"
    assert found["systems"]["half"]["sisdr"]["files"] == 3  # means are over mixtures


def test_the_table_says_what_is_no_gain(val, half):
    result = command(val, "--model", half, "--metrics", "sisdr,level_loss_db")
    assert result.exit_code == 0, result.exception
    for text in ("By part of the set", "high voices 400-500 Hz, clean", "verdict", "no gain"):
        assert text in result.stdout


def test_unknown_parts_and_opponents_are_refused(val, half):
    error = command(val, "--model", half, "--metrics", "sisdr", "--versus", "Krisp").exception
    assert isinstance(error, SordinoError)
    assert "--versus Krisp: choose one of noisy" in str(error)
    (val / "META.csv").write_text("name,part\nm0,music\n")
    (val / "clean" / "n0.wav").write_bytes((val / "clean" / "m0.wav").read_bytes())
    (val / "clean" / "n1.wav").write_bytes((val / "clean" / "m0.wav").read_bytes())
    assert "expected mixture, clean, noise, high-voice" in str(command(val).exception)
