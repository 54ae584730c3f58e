import numpy as np
import pytest
import soundfile as sf
from matplotlib.axes import Axes
from PIL import Image

from sordino.errors import SordinoError
from sordino.evaluate import systems
from sordino.evaluate.results import read_records
from support import models
from support.evaluation import command, report

QUICK = "sisdr,att_db,rtf,rtf_live"


def annotations(monkeypatch):
    """Return a list that fills with what is written into charts."""
    texts = []
    annotate = Axes.annotate

    def note(self, text, *arguments, **options):
        texts.append(text)
        return annotate(self, text, *arguments, **options)

    monkeypatch.setattr(Axes, "annotate", note)
    return texts


@pytest.fixture
def theirs(dataset, tmp_path):
    """A folder of outputs that are the input, a tenth as loud."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for path in (dataset / "noisy").iterdir():
        x, rate = sf.read(path)
        sf.write(folder / path.name, x / 10, rate, "FLOAT")
    return folder


def test_all_systems_are_in_one_table(dataset, half, theirs):
    pytest.importorskip("pyrnnoise")
    call = (dataset, "--model", half, "--baseline", "RNNoise", "--outputs", f"tenth={theirs}")
    found = report(*call, "--metrics", QUICK, name="compare")
    systems = found["systems"]
    assert list(systems) == ["noisy", "half", "RNNoise", "tenth"]
    assert systems["tenth"]["att_db"]["mean"] == pytest.approx(20, abs=0.1)
    for name in ("half", "RNNoise"):
        assert 0 < systems[name]["rtf"]["mean"] < 1
        assert 0 < systems[name]["rtf_live"]["mean"] < 1
    assert not {"rtf", "rtf_live"} & systems["tenth"].keys()
    ours = found["differences"]["tenth"]
    assert ours["att_db"]["mean"] == pytest.approx(6.02 - 20, abs=0.1)
    assert ours["sisdr"]["mean"] == pytest.approx(0, abs=1e-3)


def test_a_system_that_is_not_installed_is_skipped_with_one_line(dataset, half, monkeypatch):
    monkeypatch.setattr(systems, "find_spec", lambda module: None)
    result = command(dataset, "--model", half, "--metrics", "sisdr", "--limit", 1, name="compare")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert len(lines) == len(systems.BASELINES)
    assert "RNNoise is skipped: pip install pyrnnoise" in lines
    assert "half - noisy" in result.stdout


@pytest.mark.slow
def test_figures_are_kept_and_resumed(dataset, half, theirs, tmp_path):
    out = tmp_path / "out.csv"
    call = (dataset, "--model", half, "--baseline", "RNNoise", "--metrics", QUICK, "--csv", out)
    assert command(*call, "--limit", 1, name="compare").exit_code == 0
    first = read_records(out)
    assert command(*call, "--resume", name="compare").exit_code == 0
    again = read_records(out)
    assert all(
        again[key]["rtf_live"] == row["rtf_live"]
        for key, row in first.items()
        if not np.isnan(row["rtf_live"])
    )


@pytest.mark.slow
def test_the_curve_is_drawn_with_all_systems_on_it(dataset, half, theirs, tmp_path, monkeypatch):
    texts = annotations(monkeypatch)
    call = (dataset, "--model", half, "--baseline", "RNNoise", "--outputs", f"tenth={theirs}")
    curve = ("--curve", tmp_path / "curve.png", "--curve-measure", "sisdr", "--macs", "tenth=34")
    result = command(*call, *curve, "--macs", "half=1.5", "--metrics", QUICK, name="compare")
    assert result.exit_code == 0, result.exception
    both_rows = ["half", "half", "unprocessed", "unprocessed"]
    assert sorted(texts) == sorted(["RNNoise", "tenth", *both_rows])
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.width > 600
        assert len(set(picture.convert("L").get_flattened_data())) > 20


@pytest.mark.slow
def test_figures_from_elsewhere_are_chosen_and_renamed(dataset, half, tmp_path, monkeypatch):
    texts = annotations(monkeypatch)
    figures = tmp_path / "figures"
    figures.mkdir()
    rows = [f"{peer},clip{i},{4 + i}" for peer in ("u-1", "v-2") for i in range(3)]
    (figures / "p_per_file.csv").write_text("peer,file,sisdr\n" + "\n".join(rows) + "\n")
    (figures / "p_summary.csv").write_text("peer,rtf,macs\nu-1,0.05,3.4e7\nv-2,0.05,\n")
    beside = (dataset, "--model", half, "--metrics", "sisdr", "--figures", figures)
    found = report(*beside, "--beside", "u-1=U", "--curve", tmp_path / "curve.png")["systems"]
    assert list(found) == ["noisy", "half", "U"]
    assert found["U"]["sisdr"]["mean"] == 5
    assert sorted(texts) == ["U", "U", "half", "unprocessed", "unprocessed"]
    error = command(*beside, "--beside", "w").exception
    assert "has no figures of it" in str(error)


def test_the_curve_of_training_is_drawn(dataset, tmp_path, monkeypatch):
    seen = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *a, **k: (seen.append(a), plot(self, *a, **k))[1]
    )
    call = [dataset, "--metrics", "sisdr", "--curve-against", "hours"]
    for hours, mask in ((20, 0.1), (10, 0.3)):
        data = models.METADATA | {"training": {"hours": hours}}
        path = tmp_path / f"after{hours}.onnx"
        path.write_bytes(models.constant_mask_bytes(mask, metadata=data))
        call += ["--model", path]
    assert command(*call, "--curve", tmp_path / "c.png").exit_code == 0
    assert [list(each[0]) for each in seen if len(each) == 2] == [[10, 20]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "Krisp"], "No other system is called 'Krisp'"),
        (["--macs", "34"], "NAME=MILLIONS"),
        (["--macs", "x=many"], "NAME=MILLIONS"),
        (["--curve", "c.png", "--curve-measure", "beauty"], "Unknown measure 'beauty'"),
        (["--curve", "c.png", "--metrics", "nr_db"], "--metrics leaves that out"),
        (["--beside", "x"], "give that too"),
        (["--outputs", "noisy=set/clean"], "Two systems are called 'noisy'"),
    ],
)
def test_bad_input_gives_one_clear_line(dataset, monkeypatch, arguments, message):
    monkeypatch.chdir(dataset.parent)
    error = command("set", *arguments, name="compare").exception
    assert isinstance(error, SordinoError)
    assert message in str(error)
