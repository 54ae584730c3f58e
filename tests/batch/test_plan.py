"""From what people write to what is done."""

import pytest

from sordino.batch.plan import PIPE, plan
from sordino.errors import SordinoError
from sordino.io.formats import RawFormat


@pytest.fixture
def tree(tmp_path):
    for name in ("a.wav", "b.mp3", "notes.txt", "sub/c.flac", "sub/deep/d.mkv", ".hidden/e.wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def targets(jobs, base):
    return [job.target.relative_to(base).as_posix() for job in jobs]


def test_beside_the_input(tree):
    (job,) = plan([tree / "a.wav"])
    assert (job.target, job.extension) == (tree / "a.clean.wav", "wav")
    (job,) = plan([tree / "sub/deep/d.mkv"], extension="mp3")
    assert (job.target, job.extension) == (tree / "sub/deep/d.clean.mp3", "mp3")


def test_a_file_a_folder_and_a_pipe(tree, tmp_path):
    assert plan([tree / "a.wav"], tmp_path / "x.flac")[0].target == tmp_path / "x.flac"
    assert plan([tree / "a.wav"], tmp_path / "x.flac")[0].extension == "flac"
    assert plan([tree / "a.wav"], tmp_path / "new")[0].target == tmp_path / "new/a.wav"
    assert plan([tree / "a.wav"], f"{tmp_path}/v1.2/")[0].target == tmp_path / "v1.2/a.wav"
    assert plan([tree / "a.wav"], tmp_path)[0].target == tmp_path / "a.wav"
    (job,) = plan([tree / "sub/deep/d.mkv"], "-")
    assert (job.target, job.extension) == (PIPE, "wav")
    assert plan([tree / "b.mp3"], "-", extension="mp3")[0].extension == "mp3"
    assert plan(["-"])[0].target == PIPE
    assert plan(["-"], tmp_path / "x.wav")[0].target == tmp_path / "x.wav"
    assert plan(["-"], tmp_path)[0].target == tmp_path / "stdin.wav"


def test_a_folder_keeps_its_tree(tree, tmp_path):
    jobs = plan([tree], tmp_path / "out")
    assert targets(jobs, tmp_path / "out") == ["a.wav", "b.mp3", "sub/c.flac", "sub/deep/d.mkv"]
    jobs = plan([tree])
    assert targets(jobs, tree) == [
        "a.clean.wav",
        "b.clean.mp3",
        "sub/c.clean.flac",
        "sub/deep/d.clean.mkv",
    ]


def test_patterns_keep_the_tree_below_their_fixed_part(tree, tmp_path):
    jobs = plan([f"{tree}/**/*.flac", f"{tree}/*.wav"], tmp_path / "out")
    assert targets(jobs, tmp_path / "out") == ["sub/c.flac", "a.wav"]
    jobs = plan([f"{tree}/**"], tmp_path / "out")
    assert targets(jobs, tmp_path / "out") == ["a.wav", "b.mp3", "sub/c.flac", "sub/deep/d.mkv"]
    with pytest.raises(SordinoError, match="no file has such a name"):
        plan([f"{tree}/*.ogg"])


def test_a_name_with_brackets_is_a_name_if_it_is_there(tmp_path):
    (tmp_path / "take[1].wav").touch()
    assert plan([tmp_path / "take[1].wav"])[0].target.name == "take[1].clean.wav"


def test_a_second_run_does_not_take_the_outputs_of_the_first(tree):
    for name in ("a.clean.wav", "a.noise.wav", "out/a.wav", "noise/a.noise.wav"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    jobs = plan([tree], tree / "out", noise_out=tree / "noise")
    assert targets(jobs, tree / "out") == ["a.wav", "b.mp3", "sub/c.flac", "sub/deep/d.mkv"]
    assert plan([tree / "a.clean.wav"])[0].target.name == "a.clean.clean.wav"  # if asked for


def test_what_is_named_twice_is_done_once(tree, tmp_path):
    jobs = plan([tree / "a.wav", tree, tree / "sub/../a.wav"], tmp_path / "out")
    assert len(jobs) == 4


def test_noise_and_pictures(tree, tmp_path):
    (job,) = plan(
        [tree / "a.wav"], noise_out=tmp_path / "noise.flac", plot=tmp_path / "picture.png"
    )
    assert (job.noise, job.picture) == (tmp_path / "noise.flac", tmp_path / "picture.png")
    jobs = plan([tree], tmp_path / "o", noise_out=tmp_path / "n", plot=tmp_path / "p")
    assert [job.noise.relative_to(tmp_path / "n").as_posix() for job in jobs] == [
        "a.noise.wav",
        "b.noise.mp3",
        "sub/c.noise.flac",
        "sub/deep/d.noise.wav",
    ]
    assert jobs[2].picture == tmp_path / "p/sub/c.png"


@pytest.mark.parametrize(
    ("name", "field", "file"),
    [
        ("output", "target", "--odd.wav"),
        ("noise_out", "noise", "--odd.wav"),
        ("plot", "picture", "--odd.png"),
    ],
)
def test_an_option_is_no_path(tree, name, field, file):
    for option in ("--overwrite", "-q"):
        with pytest.raises(SordinoError, match=f"needs a path before {option}"):
            plan([tree / "a.wav"], **{name: option})
    (job,) = plan([tree / "a.wav"], **{name: f"./{file}"})
    assert getattr(job, field).name == file


def test_twins_keep_their_extension_where_names_would_meet(tree, tmp_path):
    (tree / "a.mp3").touch()
    jobs = plan([tree / "a.wav", tree / "a.mp3"], tmp_path, extension="flac", plot=tmp_path)
    assert targets(jobs, tmp_path) == ["a.wav.flac", "a.mp3.flac"]
    assert [job.picture.name for job in jobs] == ["a.wav.png", "a.mp3.png"]
    assert targets(plan([tree / "a.wav", tree / "a.mp3"]), tree) == ["a.clean.wav", "a.clean.mp3"]


def test_an_input_is_never_overwritten(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    for output in (tree / "a.wav", tree, tmp_path / "link/a.wav", tree / "sub/../a.wav"):
        with pytest.raises(SordinoError, match=r"is an input: .* another name or folder with -o"):
            plan([tree / "a.wav"], output)
    with pytest.raises(SordinoError, match="is an input"):
        plan([tree / "a.wav"], tmp_path / "o.wav", noise_out=tree / "a.wav")


def test_outputs_never_meet(tree, tmp_path):
    other = tmp_path / "other/a.wav"
    other.parent.mkdir()
    other.touch()
    with pytest.raises(SordinoError, match="would both be written to"):
        plan([tree / "a.wav", other], tmp_path / "out")
    with pytest.raises(SordinoError, match="would both be written to"):
        plan([tree / "a.wav"], tmp_path / "x.wav", noise_out=tmp_path / "x.wav")
    with pytest.raises(SordinoError, match="cannot go to one pipe"):
        plan([tree], "-")


def test_unknown_formats_name_the_choice(tree, tmp_path):
    for arguments in ({"extension": "xyz"}, {"output": tmp_path / "x.xyz"}):
        with pytest.raises(SordinoError, match="no format 'xyz': choose one of wav, flac"):
            plan([tree / "a.wav"], **arguments)


def test_what_can_only_be_read_becomes_wav():
    (job,) = plan(["memo.amr"])
    assert (job.target.name, job.extension) == ("memo.clean.wav", "wav")


def test_empty_folder_is_said(tmp_path):
    with pytest.raises(SordinoError, match="no audio or video files in this folder"):
        plan([tmp_path])


def test_missing_files_are_left_to_the_batch(tmp_path):
    assert plan([tmp_path / "missing.wav"])[0].source == tmp_path / "missing.wav"


def test_raw_samples_stay_raw_unless_a_format_is_asked_for(tmp_path):
    raw = RawFormat("s16le", 16000, 1)
    assert plan(["-"], raw=raw)[0].raw_target
    assert plan([tmp_path / "x.pcm"], raw=raw)[0].target.name == "x.clean.pcm"
    assert not plan(["-"], raw=raw, extension="wav")[0].raw_target
    assert not plan(["-"], tmp_path / "x.wav", raw=raw)[0].raw_target
    (job,) = plan(["-"], tmp_path / "x.pcm", raw=raw)
    assert (job.target, job.raw_target) == (tmp_path / "x.pcm", True)
    with pytest.raises(SordinoError, match="no samples are called 's17le': choose one of s16le"):
        plan(["-"], raw=RawFormat("s17le", 16000, 1))


def test_own_outputs_are_skipped_as_a_shell_and_patterns_name_them(tree, tmp_path):
    for name in ("a.clean.wav", "a.noise.wav", "b.mp3.clean.flac"):
        (tree / name).touch()
    named = [tree / name for name in ("a.clean.wav", "a.noise.wav", "a.wav", "b.mp3")]
    assert [job.source.name for job in plan([*named, tree / "b.mp3.clean.flac"])] == [
        "a.wav",
        "b.mp3",
    ]
    assert targets(plan([f"{tree}/*.wav"], tmp_path / "out"), tmp_path / "out") == ["a.wav"]
    assert [job.source.name for job in plan([f"{tree}/*.clean.wav"])] == ["a.clean.wav"]


def test_one_file_for_several_inputs_is_refused(tree, tmp_path):
    for arguments in (
        {"output": tmp_path / "one.wav"},
        {"output": tmp_path / "o", "noise_out": tmp_path / "n.wav"},
        {"output": tmp_path / "o", "plot": tmp_path / "p.png"},
    ):
        with pytest.raises(SordinoError, match="names one file for 2 inputs: name a folder"):
            plan([tree / "a.wav", tree / "b.mp3"], **arguments)
    assert plan([tree / "a.wav", tree / "b.mp3"], f"{tmp_path}/one.wav/")[0].target.name == "a.wav"


def test_names_do_not_depend_on_what_else_is_named(tree):
    (tree / "a.mp3").touch()
    assert plan([tree / "a.wav"], extension="flac")[0].target.name == "a.wav.clean.flac"
    assert plan([tree / "a.mp3"], extension="flac")[0].target.name == "a.mp3.clean.flac"
    for name in ("m.amr", "m.dts"):
        (tree / name).touch()
        target = plan([tree / name])[0].target.name
        assert target == ("m.clean.wav" if name == "m.amr" else "m.dts.clean.wav")


@pytest.mark.parametrize("name", ["x.amr", "x.tta", "x.m4r", "x.weba", "x.vob", "x.m2t", "x.asf"])
def test_a_folder_is_searched_for_all_that_can_be_read(tmp_path, name):
    (tmp_path / name).touch()
    assert [job.source.name for job in plan([tmp_path])] == [name]


def test_a_device_is_a_file_and_never_replaced(tree):
    (job,) = plan([tree / "b.mp3"], "/dev/null", noise_out="/dev/null")
    assert (str(job.target), job.extension, job.outputs) == ("/dev/null", "wav", [])
