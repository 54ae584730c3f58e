import re

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from sordino.errors import SordinoError
from sordino.evaluate import card_sections
from support import models
from support.evaluation import command, report

QUICK = "sisdr,nr_db,att_db"
HAND = "# Mine\n\nBy hand, {braces} and all.\n\n"
MARKS = "<!-- figures set -->\nold\n<!-- end -->\n\nBy hand too.\n"
TRAITS = "name,snr_db,noise,room\nclip0,5,rain,\nclip1,0,car_horn,hall\nclip2,5,rain,\n"


def cells(card, first):
    """The cells of the line of a table that begins so."""
    return re.search(rf"^\| {re.escape(first)} \| (.*) \|$", card, re.M)[1].split(" | ")


@pytest.fixture
def trained(tmp_path):
    """A model that tells how it was trained, with DNSMOS in its loss."""
    training = {
        "hours": 12.4,
        "step": 4500,
        "recipe": {"loss": {"dnsmos": 0.02, "disturbance": 0.0, "envelope": 0.3}},
    }
    path = tmp_path / "mine.onnx"
    path.write_bytes(
        models.constant_mask_bytes(0.5, metadata=models.METADATA | {"training": training})
    )
    return path


@pytest.mark.slow
def test_a_new_card_says_what_was_measured(dataset, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(card_sections, "MIN_PER_GROUP", 1)
    (dataset / "META.csv").write_text(TRAITS)
    card = tmp_path / "card.md"
    found = report(dataset, "--model", trained, "--metrics", QUICK, "--card", card)
    text = card.read_text()
    assert text.startswith("# mine\n")
    assert cells(text, "audio in training") == ["12 hours of mixed audio, 4,500 updates"]
    assert cells(text, "latency") == ["20 ms"]
    loss = found["systems"]["mine"]["att_db"]
    mean, interval, change = cells(text, "speech loss dB")[1:]
    assert loss["mean"] == pytest.approx(6.02, abs=0.05)
    assert mean == f"**{loss['mean']:.2f}**"
    assert interval == f"{loss['low']:.2f} to {loss['high']:.2f}"
    assert re.fullmatch(r"6\.0\d ±0\.\d\d", change)
    assert "SIG, BAK, OVRL are no independent measure" in text
    assert "its LLR, CSIG, COVL are no independent measure" in text
    assert "near PESQ" not in text
    assert cells(text, "0 dB")[0] == "1"
    assert cells(text, "car horn")[0] == "1"
    assert cells(text, "in rooms")[0] == "1"
    assert [each.name for each in tmp_path.glob("**/*.part")] == []


@pytest.mark.slow
def test_only_the_very_worst_clips_are_drawn(dataset, half, tmp_path, monkeypatch):
    monkeypatch.setattr("sordino.evaluate.card.PICTURES", 2)
    card = tmp_path / "m.md"
    assert command(dataset, "--model", half, "--metrics", QUICK, "--card", card).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("m/*")) == ["set-1.webp", "set-2.webp"]
    assert card.read_text().count("![") == 2


@pytest.mark.slow
def test_pictures_of_the_worst_clips_are_small_and_linked(dataset, half, tmp_path):
    card, pictures = tmp_path / "docs" / "models" / "m.md", tmp_path / "docs" / "images" / "m"
    card.parent.mkdir(parents=True)
    card.write_text("<!-- pictures set -->\n<!-- end -->\n")
    call = (dataset, "--model", half, "--metrics", QUICK, "--card", card, "--pictures", pictures)
    assert command(*call).exit_code == 0
    links = re.findall(r"!\[[^]]*\]\((.*)\)", card.read_text())
    assert links == [f"../images/m/set-{place}.webp" for place in (1, 2, 3)]
    for link in links:
        path = card.parent / link
        assert path.stat().st_size < 40_000
        with Image.open(path) as picture:
            assert picture.width == 1200
            pixels = np.asarray(picture.convert("L"), float)
        noisy, ours = pixels[40:180, 60:400], pixels[40:180, 450:790]
        assert noisy.mean() > ours.mean() + 5  # half as loud is darker


def test_what_is_written_by_hand_stays(dataset, half, tmp_path):
    card = tmp_path / "card.md"
    card.write_text(HAND + MARKS)
    call = (dataset, "--model", half, "--metrics", QUICK, "--card", card)
    assert command(*call).exit_code == 0
    first = card.read_text()
    assert first.startswith(HAND + "<!-- figures set -->\n\n3 clips")
    assert first.endswith("\n\n<!-- end -->\n\nBy hand too.\n")
    assert "old" not in first
    assert command(*call).exit_code == 0
    assert card.read_text() == first


def test_sets_of_other_names_stay_in_the_card(dataset, half, tmp_path):
    card = tmp_path / "card.md"
    other = "<!-- figures 48k -->\n\nfrom another run\n\n<!-- end -->\n"
    card.write_text(other + MARKS)
    assert command(dataset, "--model", half, "--metrics", QUICK, "--card", card).exit_code == 0
    assert card.read_text().startswith(other)


@pytest.mark.slow
def test_those_that_are_better_are_bold(dataset, half, tmp_path):
    for name, gain in (("louder", 0.9), ("quieter", 0.1)):
        (tmp_path / name).mkdir()
        for path in (dataset / "noisy").iterdir():
            x, rate = sf.read(path)
            sf.write(tmp_path / name / path.name, gain * x, rate, "FLOAT")
    card = tmp_path / "card.md"
    outputs = [each for name in ("louder", "quieter") for each in ("--outputs", tmp_path / name)]
    call = (dataset, "--model", half, *outputs, "--metrics", QUICK, "--card", card)
    assert command(*call).exit_code == 0
    text = card.read_text()
    losses = [cells(text, name)[-1] for name in ("louder", "*half*", "quieter")]
    assert losses[0] == f"**{losses[0].strip('*')}**"
    assert [float(each.strip("*")) for each in losses] == pytest.approx([0.92, 6.02, 20], abs=0.1)


@pytest.mark.slow
def test_conditions_stand_beside_their_goals(dataset, half, tmp_path):
    card = tmp_path / "card.md"
    call = (dataset, "--model", half, "--metrics", QUICK, "--conditions", "--card", card)
    assert command(*call).exit_code == 0
    text = card.read_text()
    goal, value, kept = cells(text, "noise only")[1:]
    assert goal == "at least 30"
    assert value == "6.0 ±0.0"
    assert kept == "**no**"
    assert cells(text, "silence only")[-1] == "yes"


def test_without_references_there_are_fewer_figures(dataset, half, tmp_path):
    card = tmp_path / "card.md"
    call = (dataset / "noisy", "--model", half, "--metrics", "pause_db", "--card", card)
    assert command(*call).exit_code == 0
    assert cells(card.read_text(), "pause reduction dB")[1] == "**6.0**"


@pytest.mark.parametrize(
    ("card", "arguments", "message"),
    [
        ("no marks", [], "has no line <!-- figures set -->"),
        ("<!-- figures set -->\n", [], "has no <!-- end --> below it"),
        ("<!-- figures set -->\n<!-- figures b -->\n<!-- end -->\n", [], "has no <!-- end -->"),
        (MARKS, ["--level", "-30"], "leave --level, --band and --warm-up out"),
    ],
)
def test_bad_cards_are_refused_before_anything_is_measured(
    dataset, half, tmp_path, card, arguments, message
):
    path, out = tmp_path / "card.md", tmp_path / "out.csv"
    path.write_text(card)
    call = (dataset, "--model", half, "--metrics", QUICK, "--csv", out)
    error = command(*call, "--card", path, *arguments).exception
    assert isinstance(error, SordinoError)
    assert message in str(error)
    assert path.read_text() == card
    assert not out.exists()


def test_a_card_is_of_a_model(dataset, tmp_path):
    outputs = ("--outputs", f"theirs={dataset / 'noisy'}")
    error = command(dataset, *outputs, "--card", tmp_path / "c.md").exception
    assert "A card describes a model" in str(error)
