import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from evaluate.sound import command, report
from sordino.errors import SordinoError
from sordino.evaluate import peers
from sordino.evaluate.records import read_records

QUICK = "sisdr,att_db,rtf,rtf_live"


@pytest.fixture
def theirs(dataset, tmp_path):
    """A folder of outputs that are the input, a tenth as loud."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for path in (dataset / "noisy").iterdir():
        x, rate = sf.read(path)
        sf.write(folder / path.name, x / 10, rate, "FLOAT")
    return folder


def test_every_system_stands_in_one_table(dataset, half, theirs):
    pytest.importorskip("speexdsp_ns")
    asked = (dataset, "--model", half, "--peer", "SpeexDSP", "--outputs", f"tenth={theirs}")
    found = report(*asked, "--metrics", QUICK, name="compare")
    systems = found["systems"]
    assert list(systems) == ["noisy", "half", "SpeexDSP", "tenth"]
    assert systems["tenth"]["att_db"]["mean"] == pytest.approx(20, abs=0.1)
    for name in ("half", "SpeexDSP"):
        assert 0 < systems[name]["rtf"]["mean"] < 1
        assert 0 < systems[name]["rtf_live"]["mean"] < 1
    assert not {"rtf", "rtf_live"} & systems["tenth"].keys()
    ours = found["differences"]["tenth"]
    assert ours["att_db"]["mean"] == pytest.approx(6.02 - 20, abs=0.1)
    assert ours["sisdr"]["mean"] == pytest.approx(0, abs=1e-3)


def test_a_system_that_is_not_installed_is_skipped_with_one_line(dataset, half, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda module: None)
    result = command(dataset, "--model", half, "--metrics", "sisdr", "--limit", 1, name="compare")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert len(lines) == len(peers.PEERS)
    assert "RNNoise is skipped: pip install pyrnnoise" in lines
    assert "half - noisy" in result.stdout


def test_figures_are_kept_and_gone_on_with(dataset, half, theirs, tmp_path):
    out = tmp_path / "out.csv"
    asked = (dataset, "--model", half, "--peer", "WebRTC NS", "--metrics", QUICK, "--csv", out)
    assert command(*asked, "--limit", 1, name="compare").exit_code == 0
    first = read_records(out)
    assert command(*asked, "--resume", name="compare").exit_code == 0
    again = read_records(out)
    assert all(
        again[key]["rtf_live"] == row["rtf_live"]
        for key, row in first.items()
        if not np.isnan(row["rtf_live"])
    )


def test_the_curve_is_drawn_with_all_systems_on_it(dataset, half, theirs, tmp_path, monkeypatch):
    texts = []
    from matplotlib.axes import Axes

    annotate = Axes.annotate
    monkeypatch.setattr(
        Axes,
        "annotate",
        lambda self, text, *a, **k: (texts.append(text), annotate(self, text, *a, **k)),
    )
    asked = (dataset, "--model", half, "--peer", "WebRTC NS", "--outputs", f"tenth={theirs}")
    curve = ("--curve", tmp_path / "curve.png", "--curve-measure", "sisdr", "--macs", "tenth=34")
    result = command(*asked, *curve, "--macs", "half=1.5", "--metrics", QUICK, name="compare")
    assert result.exit_code == 0, result.exception
    assert sorted(texts) == ["WebRTC NS", "half", "half", "tenth", "unprocessed"]
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.width > 1000
        assert len(set(picture.convert("L").get_flattened_data())) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peer", "Krisp"], "No other system is called 'Krisp'"),
        (["--macs", "34"], "NAME=MILLIONS"),
        (["--macs", "x=many"], "NAME=MILLIONS"),
        (["--curve", "c.png", "--curve-measure", "beauty"], "Unknown measure 'beauty'"),
        (["--outputs", "noisy=set/clean"], "Two systems are called 'noisy'"),
    ],
)
def test_bad_input_gives_one_clear_line(dataset, monkeypatch, arguments, message):
    monkeypatch.chdir(dataset.parent)
    error = command("set", *arguments, name="compare").exception
    assert isinstance(error, SordinoError)
    assert message in str(error)
