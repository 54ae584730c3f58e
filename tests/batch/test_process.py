"""Whole files, batches, and all that can go wrong with them."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sordino
from sordino import examples
from sordino.batch import process as files
from sordino.batch.plan import plan
from sordino.batch.process import denoise_file, denoise_files
from sordino.batch.track import DenoiseSettings
from sordino.errors import SordinoError
from sordino.evaluate.metrics import si_sdr
from sordino.io.atomic import TEMPORARY, atomic_write, remove_stale_parts
from support import models
from support.media import (
    lag,
    packets_of,
    rumble,
    sound_of,
    write_recording,
    write_sound,
    write_video,
)
from support.signals import agreement_db

HALF = DenoiseSettings(models.constant_mask(0.5))
ZERO = DenoiseSettings(models.constant_mask(0.0))
NOISE_TAKEN = 6.02  # dB, by HALF


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "in" / "talk.wav"
    path.parent.mkdir()
    soundfile.write(path, rumble(3 * 16000), 16000)
    return path


@pytest.fixture
def half(tmp_path):
    path = tmp_path / "half.onnx"
    path.write_bytes(models.constant_mask_bytes(0.5))
    return path


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def read(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


# One file


def test_a_file_loses_its_noise_and_keeps_the_rest(recording):
    report = denoise_file(recording, settings=HALF)
    target = recording.with_name("talk.clean.wav")
    assert (report.status, report.job.target, report.notes) == ("done", target, ())
    assert report.seconds == 3.0
    assert abs(report.noise_taken_db - NOISE_TAKEN) < 0.1
    x, y = read(recording), read(target)
    assert x.shape == y.shape
    assert np.abs(y - 0.5 * x).max() < 1e-3
    assert soundfile.info(target).subtype == "PCM_16"


@pytest.mark.parametrize(
    "settings", [ZERO, DenoiseSettings(models.constant_mask(1.0), strength=0.0)]
)
@pytest.mark.parametrize(("rate", "subtype"), [(8000, "PCM_16"), (48000, "PCM_24")])
def test_nothing_taken_is_the_same_bit_by_bit(tmp_path, settings, rate, subtype):
    source, target = tmp_path / "x.wav", tmp_path / "y.wav"
    soundfile.write(source, rumble(2 * rate, 2), rate, subtype)
    denoise_file(source, target, settings)
    x, y = (soundfile.read(path, dtype="int32")[0].astype(float) for path in (source, target))
    exact = 0 if subtype == "PCM_16" else 2**10  # float32 has hardly more than 24 bit
    assert np.abs(x - y).max() <= exact


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "aiff", "mka"])
def test_every_format_keeps_rate_channels_and_place(tmp_path, extension):
    from sordino.io.audiofile import open_sink, open_source
    from sordino.io.formats import SoundInfo

    source, target = tmp_path / f"x.{extension}", tmp_path / f"y.{extension}"
    sink = open_sink(source, extension, SoundInfo(48000, 2, "PCM_16", tags={"title": "A title"}))
    sink.write(rumble(96000, 2))
    sink.close()
    report = denoise_file(source, target, HALF)
    assert report.notes == ()
    with open_source(source) as before, open_source(target) as after:
        x, y = (np.concatenate(list(each.blocks())) for each in (before, after))
        for key in ("sample_rate", "channels", "subtype"):
            assert getattr(after.info, key) == getattr(before.info, key)
        assert after.info.tags["title"] == "A title"
    assert len(x) == len(y)
    assert lag(x, y) == 0
    assert abs(np.std(y) / np.std(x) - 0.5) < 0.03


def test_videos_keep_their_pictures(tmp_path):
    source = tmp_path / "x.mkv"
    write_video(source, "ffv1", "flac", tracks=2, subtitles="subrip")
    report = denoise_file(source, settings=HALF, noise_out=tmp_path / "noise")
    target = tmp_path / "x.clean.mkv"
    assert report.seconds == pytest.approx(2.0)
    for kind in ("video", "subtitle"):
        assert packets_of(target, kind) == packets_of(source, kind)
    for track in (0, 1):
        (_, x, _), (_, y, _) = sound_of(source, track), sound_of(target, track)
        assert np.abs(y - 0.5 * x).max() < 1e-3
    assert names(tmp_path / "noise") == ["x.noise.2.wav", "x.noise.wav"]


def test_the_sound_of_a_video_alone(tmp_path):
    source, target = tmp_path / "x.mp4", tmp_path / "x.wav"
    (x,) = write_video(source, "libx264", "aac")
    report = denoise_file(source, target, HALF)
    assert report.status == "done"
    y = read(target)
    assert lag(x, y) == 0
    assert soundfile.info(target).subtype == "PCM_16"


@pytest.mark.slow
@pytest.mark.parametrize("name", examples.names())
def test_bundled_recordings_get_cleaner(tmp_path, name):
    target = tmp_path / f"{name}.flac"
    report = denoise_file(examples.path(name), target)
    assert report.noise_taken_db > 6
    noisy, clean = (read(examples.path(name, kind)).mean(1) for kind in ("noisy", "clean"))
    assert si_sdr(clean, read(target).mean(1)) > si_sdr(clean, noisy) + 0.5


@pytest.mark.parametrize("seconds", [0.3, 3, 12])
def test_the_beginning_of_a_file_is_heard_first(tmp_path, seconds):
    recurrent = models.recurrent()
    x = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * 8000), 2), np.float32)
    source = tmp_path / "noisy.wav"
    soundfile.write(source, x, 8000, subtype="FLOAT")
    for warm_up in (0.0, 5.0, 8.0):
        settings = DenoiseSettings(recurrent, warm_up=warm_up)
        denoise_file(source, tmp_path / "clean.wav", settings, overwrite=True)
        clean, _ = soundfile.read(tmp_path / "clean.wav", dtype="float32")
        expected = sordino.denoise(x, 8000, recurrent, warm_up=warm_up)
        assert agreement_db(expected, clean) > 100
    with pytest.raises(SordinoError, match="expected 0"):
        denoise_file(
            source, tmp_path / "clean.wav", DenoiseSettings(recurrent, warm_up=-1), overwrite=True
        )


def test_noise_and_speech_make_up_the_input(recording, tmp_path):
    target, noise = tmp_path / "speech.wav", tmp_path / "noise.wav"
    settings = DenoiseSettings(models.recurrent())
    denoise_file(recording, target, settings, noise_out=noise)
    assert np.abs(read(target) + read(noise) - read(recording)).max() < 1e-4


@pytest.mark.slow
def test_a_picture_is_drawn(recording, tmp_path):
    denoise_file(recording, settings=HALF, plot=tmp_path / "pictures")
    assert (tmp_path / "pictures/talk.png").read_bytes().startswith(b"\x89PNG")


def test_one_sample_is_enough(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.full(1, 0.5), 48000)
    report = denoise_file(tmp_path / "x.wav", settings=ZERO)
    assert report.noise_taken_db is None
    assert read(tmp_path / "x.clean.wav").shape == (1, 1)


def test_an_input_is_never_overwritten(recording):
    before = recording.read_bytes()
    with pytest.raises(SordinoError, match="is an input"):
        denoise_file(recording, recording, HALF, overwrite=True)
    assert recording.read_bytes() == before


def test_what_is_there_is_kept_unless_told_otherwise(recording):
    target = recording.with_name("talk.clean.wav")
    target.write_text("mine")
    assert denoise_file(recording, settings=HALF).status == "skipped"
    assert target.read_text() == "mine"
    assert denoise_file(recording, settings=HALF, overwrite=True).status == "done"
    assert len(read(target)) == 3 * 16000


# Batches


def make_tree(folder, count=6):
    for i in range(count):
        path = folder / f"{'sub/' * (i % 2)}{i}.{'flac' if i % 3 else 'wav'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rumble(8000 + 100 * i, seed=i), 8000)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_batch_keeps_the_tree_and_its_order(tmp_path, workers):
    make_tree(tmp_path / "in")
    jobs = plan([tmp_path / "in"], tmp_path / "out")
    progress = []
    reports = denoise_files(
        jobs, HALF, workers=workers, on_progress=lambda *each: progress.append(each)
    )
    assert [report.job for report in reports] == jobs
    assert {report.status for report in reports} == {"done"}
    for job in jobs:
        x, y = read(job.source), read(job.target)
        assert np.abs(y - 0.5 * x).max() < 1e-3
        seconds, totals = zip(*(each[1:] for each in progress if each[0] == job), strict=True)
        assert max(seconds) == pytest.approx(totals[0])
        assert list(seconds) == sorted(seconds)


def test_workers_do_not_share_state(tmp_path):
    make_tree(tmp_path / "in")
    settings = DenoiseSettings(models.recurrent())
    jobs = [plan([tmp_path / "in"], tmp_path / out) for out in ("one", "many")]
    denoise_files(jobs[0], settings)
    denoise_files(jobs[1], settings, workers=4)
    for one, many in zip(*jobs, strict=True):
        assert one.target.read_bytes() == many.target.read_bytes()


def test_a_bad_file_does_not_hold_up_the_others(tmp_path):
    make_tree(tmp_path / "in", 3)
    (tmp_path / "in/1a.wav").write_bytes(b"")
    jobs = [*plan([tmp_path / "in"], tmp_path / "out"), *plan([tmp_path / "gone.wav"])]
    ended = []
    reports = denoise_files(jobs, HALF, on_report=ended.append)
    assert sorted(report.status for report in reports) == ["done"] * 3 + ["failed"] * 2
    assert len(ended) == 5
    assert names(tmp_path / "out") == ["0.wav", "1.flac", "2.flac"]


def test_settings_are_checked_before_anything_is_done(recording):
    for settings, message in (
        (DenoiseSettings(HALF.model, strength=2), "strength is 2"),
        (DenoiseSettings(HALF.model, attenuation_limit_db=-1), "attenuation limit is -1"),
        (DenoiseSettings("nobody.onnx"), "cannot read the model nobody.onnx"),
    ):
        with pytest.raises(SordinoError, match=message):
            denoise_files(plan([recording]), settings)
    assert names(recording.parent) == ["talk.wav"]


# Complete or nothing


def test_ctrl_c_clears_up_and_leaves_what_is_done(tmp_path):
    make_tree(tmp_path / "in")
    jobs = plan([tmp_path / "in"], tmp_path / "out")

    def end(report):
        if report.job == jobs[2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_files(jobs, HALF, on_report=end)
    done = names(tmp_path / "out")
    assert 3 <= len(done) < len(jobs)
    assert not [name for name in done if name.endswith(TEMPORARY)]


SLOW = """
import sys, time
from pathlib import Path
from sordino.batch.track import DenoiseSettings
from sordino.batch.process import denoise_files
from sordino.batch.plan import plan
folder, model = Path(sys.argv[1]), Path(sys.argv[2])
slowly = lambda job, seconds, total: time.sleep(0.2 if job.source.stem == "3" else 0)
jobs = plan([folder / "in"], folder / "out", noise_out=folder / "out")
report = lambda r: print("x", flush=True)
denoise_files(jobs, DenoiseSettings(model), on_progress=slowly, on_report=report)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_batch_that_was_interrupted_finishes_the_rest(tmp_path, half, end):
    for i in range(6):
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"in/{i}.wav", rumble(10 * 8000, seed=i), 8000)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, tmp_path, half], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for _ in range(3):  # files; now the fourth one is slow
        process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(end)
    process.wait(timeout=120)
    process.communicate()
    killed = end == signal.SIGKILL
    left = names(tmp_path / "out")
    assert bool([name for name in left if name.endswith(TEMPORARY)]) == killed
    done = [name for name in left if not name.endswith((TEMPORARY, ".noise.wav"))]
    assert done == ["0.wav", "1.wav", "2.wav"]
    for name in done:
        assert len(read(tmp_path / "out" / name)) == 10 * 8000
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done}

    reports = denoise_files(plan([tmp_path / "in"], tmp_path / "out"), HALF)
    assert [report.status for report in reports] == ["skipped"] * 3 + ["done"] * 3
    assert not [name for name in names(tmp_path / "out") if name.endswith(TEMPORARY)]
    for i in range(6):
        assert len(read(tmp_path / f"out/{i}.wav")) == 10 * 8000
    assert times == {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done}


def test_a_living_run_keeps_its_temporary_file(tmp_path):
    with atomic_write(tmp_path / "x") as temporary:
        temporary.write_text("half")
        dead = tmp_path / f".dead{TEMPORARY}"
        dead.touch()
        remove_stale_parts([tmp_path])
        assert temporary.read_text() == "half"
        assert not dead.exists()
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_text() == "half"


# Errors


def failure(source, target=None, settings=HALF):
    (report,) = denoise_files(plan([source], target), settings)
    assert report.status == "failed"
    assert "\n" not in report.error
    assert not [name for name in names(Path(source).parent) if name.endswith(TEMPORARY)]
    assert not report.job.target.exists()
    return report.error


def wav(path, samples=None, rate=16000, subtype="FLOAT"):
    soundfile.write(path, rumble(rate) if samples is None else samples, rate, subtype)
    return path


def test_errors_say_what_is_wrong_and_how_to_mend_it(tmp_path):
    bad = rumble(16000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("Dear Sir,\n" * 100)
    for name, value in (("nan.wav", np.nan), ("inf.wav", -np.inf)):
        bad[8000] = value
        wav(tmp_path / name, bad)
    wav(tmp_path / "none.wav", bad[:0])
    wav(tmp_path / "slow.wav", rate=4000)
    wav(tmp_path / "fast.wav", rate=384000)
    write_video(tmp_path / "cut.mp4", "libx264", "aac")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "cut.mp4").read_bytes()[:5000])
    for name, message in (
        ("missing.wav", "there is no such file"),
        ("empty.wav", "the file is empty (0 bytes): copy or record it again"),
        ("text.wav", "not audio or video, or it is damaged or cut short"),
        ("nan.wav", "the sample at 0.500 s is not a number (NaN or Inf): export the sound again"),
        ("inf.wav", "the sample at 0.500 s is not a number (NaN or Inf): export the sound again"),
        ("none.wav", "not a single sample"),
        ("slow.wav", "the sample rate is 4000: expected 8000 to 192000"),
        ("fast.wav", "the sample rate is 384000: expected 8000 to 192000"),
        ("cut.mp4", "damaged or cut short"),
    ):
        error = failure(tmp_path / name)
        assert error.startswith(str(tmp_path / name))
        assert message in error


def test_a_folder_that_cannot_be_written(recording, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in failure(recording, tmp_path / "file/x.wav")
    assert failure(recording, "/proc/nowhere/x.wav").startswith("/proc/nowhere/x.wav: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may do everything")
def test_no_permission(recording, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "no permission to write here: choose another folder with -o" in failure(
        recording, locked / "x.wav"
    )
    recording.chmod(0)
    assert "no permission to read it" in failure(recording)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_permissions_in_words(tmp_path, number):
    from sordino.io.audiofile import explain

    source, target = tmp_path / "a.wav", tmp_path / "out/b.wav"
    temporary = str(target.with_name(f".x{TEMPORARY}"))
    error = explain(OSError(number, "no", temporary), source, target)
    assert error == f"{target}: no permission to write here: choose another folder with -o"
    error = explain(OSError(number, "no", str(source)), source, target)
    assert error == f"{source}: no permission to read it"


FULL = """
import resource, sys
from pathlib import Path
from sordino.batch.track import DenoiseSettings
from sordino.batch.process import denoise_files
from sordino.batch.plan import plan
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
(report,) = denoise_files(plan([sys.argv[1]], sys.argv[2]), DenoiseSettings(Path(sys.argv[3])))
print(report.status, report.error)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such limits there")
@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "mkv", "mp4"])
def test_a_full_disk(tmp_path, half, extension):
    source, target = tmp_path / f"x.{extension}", tmp_path / "out" / f"x.{extension}"
    if extension in ("mkv", "mp4"):
        write_video(source, "libx264", "aac", seconds=12)
    else:
        x = rumble(20 * 48000)
        soundfile.write(tmp_path / "x.wav", x, 48000)
        if extension != "wav":
            denoise_file(tmp_path / "x.wav", source, ZERO)
    assert source.stat().st_size > 120_000
    result = subprocess.run(
        [sys.executable, "-c", FULL, source, target, half], capture_output=True, text=True
    )
    assert result.stdout.startswith(f"failed {target}: the disk is full"), result
    assert result.stderr == ""
    assert names(tmp_path / "out") == []


@pytest.mark.skipif(
    shutil.which("mount") is None or os.name == "nt" or os.geteuid() != 0, reason="root only"
)
@pytest.mark.parametrize("extension", ["wav", "m4a"])
def test_a_disk_that_is_full_indeed(recording, tmp_path, extension):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        assert "the disk is full" in failure(recording, disk / f"x.{extension}")
        assert names(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_picture_without_matplotlib(recording, monkeypatch):
    monkeypatch.setattr("sordino.spectrogram.find_spec", lambda name: None)
    with pytest.raises(SordinoError, match=r"matplotlib: pip install .*\[plot\]"):
        denoise_file(recording, settings=HALF, plot=recording.with_suffix(".png"))
    assert names(recording.parent) == ["talk.wav"]


def test_a_missing_codec(recording, monkeypatch):
    from sordino.io import encoder

    monkeypatch.setitem(encoder._ENCODERS, "aac", "no_such_encoder")
    error = failure(recording, recording.with_name("y.m4a"))
    assert "cannot write aac into ipod: choose another format, for instance --format wav" in error


# Memory


LONG = """
import resource, sys
from pathlib import Path
from sordino.batch.track import DenoiseSettings
from sordino.batch.process import denoise_file
for name in ("short", "long"):
    path = Path(sys.argv[1]) / f"{name}.wav"
    settings = DenoiseSettings(Path(sys.argv[2]))
    denoise_file(path, settings=settings, noise_out=path.with_suffix(".flac"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such measurement there")
def test_memory_does_not_grow_with_the_length(tmp_path, half):
    for name, minutes in (("short", 1), ("long", 10)):
        with soundfile.SoundFile(tmp_path / f"{name}.wav", "w", 8000, 2) as file:
            for _ in range(minutes):
                file.write(rumble(60 * 8000, 2))
    result = subprocess.run(
        [sys.executable, "-c", LONG, tmp_path, half], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    short, long = (int(line) for line in result.stdout.split())
    assert long - short < 15_000  # kB; the samples have 38 MB as float32


def test_nothing_is_imported_that_is_not_needed():
    script = "import sys, sordino.batch.process; print({'torch', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "set()"
    assert files.__doc__ is not None


# Names, devices, pipes, and files in memory


def test_a_name_that_is_too_long_does_not_end_the_batch(tmp_path):
    long = wav(tmp_path / f"{'x' * 246}.wav")
    jobs = plan([long, wav(tmp_path / "ok.wav")])
    reports = denoise_files(jobs, HALF)
    assert [report.status for report in reports] == ["failed", "done"]
    assert "this name is too long for the disk: give a shorter one with -o" in reports[0].error


@pytest.mark.skipif(os.name == "nt", reason="names are UTF-16 there")
@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_names_that_are_not_utf_8(tmp_path, extension):
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9." + extension.encode()))
    plain = tmp_path / f"plain.{extension}"
    soundfile.write(plain, rumble(16000), 16000)
    plain.rename(source)
    report = denoise_file(source, settings=ZERO)
    assert report.status == "done"
    assert b"caf\xe9.clean" in os.fsencode(report.job.target)


@pytest.mark.skipif(os.name == "nt", reason="no such devices there")
def test_the_null_device_stays_a_device(recording):
    report = denoise_file(recording, "/dev/null", HALF, noise_out="/dev/null", overwrite=False)
    assert report.status == "done"
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(os.name == "nt", reason="no such pipes there")
def test_a_named_pipe_is_read(recording, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", recording, pipe]):
        report = denoise_file(pipe, tmp_path / "y.wav", ZERO)
    assert report.seconds == 3.0
    assert np.abs(read(tmp_path / "y.wav") - read(recording)).max() < 2e-5


def test_bytes_and_open_files(recording, tmp_path):
    expected = 0.5 * read(recording)
    clean = BytesIO()
    denoise_file(memoryview(recording.read_bytes()), clean, HALF)
    assert np.abs(read(BytesIO(clean.getvalue())) - expected).max() < 1e-3
    with recording.open("rb") as file:
        denoise_file(file, tmp_path / "y.flac", HALF)
    assert np.abs(read(tmp_path / "y.flac") - expected).max() < 1e-3
    with pytest.raises(SordinoError, match="give a target"):
        denoise_file(recording.read_bytes(), settings=HALF)


@pytest.mark.parametrize("source", [None, 5, np.zeros((3, 2)), StringIO("text"), {}], ids=repr)
def test_what_is_no_file_is_refused_in_words(tmp_path, source):
    with pytest.raises(SordinoError, match=r"^the source is .*: expected a path, the bytes"):
        denoise_file(source, tmp_path / "y.wav", HALF)


def test_files_that_are_text_or_closed_are_refused_in_words(recording, tmp_path):
    closed = BytesIO(recording.read_bytes())
    closed.close()
    with pytest.raises(SordinoError, match=r"the source is .*expected a path"):
        denoise_file(closed, tmp_path / "y.wav", HALF)
    for target in (StringIO(), closed, 5):
        with pytest.raises(SordinoError, match=r"the target is .*expected a path"):
            denoise_file(recording, target, HALF)
    with pytest.raises(SordinoError, match=r"^sound in memory: this is not audio"):
        denoise_file(b"Dear Sir, " * 50, tmp_path / "y.wav", HALF)


def test_a_failure_leaves_no_empty_folders(tmp_path):
    (tmp_path / "text.wav").write_text("Dear Sir,\n" * 100)
    jobs = plan([tmp_path / "text.wav"], tmp_path / "new" / "deep" / "x.wav")
    assert denoise_files(jobs, HALF)[0].status == "failed"
    assert not (tmp_path / "new").exists()


def test_an_mp4_in_a_pipe_says_where_its_index_is(tmp_path):
    write_video(tmp_path / "x.mp4", "libx264", "aac")

    class Pipe(BytesIO):
        def seekable(self):
            return False

    with pytest.raises(SordinoError, match="index at its end"):
        denoise_file(Pipe((tmp_path / "x.mp4").read_bytes()), tmp_path / "y.wav", HALF)


# Parts of a recording, and what an output was made from


def test_a_section_and_a_channel(tmp_path):
    x = rumble(4 * 16000, 2)
    soundfile.write(tmp_path / "x.wav", x, 16000, "FLOAT")
    settings = DenoiseSettings(HALF.model, begin=1.25, end=3.0, channel=2)
    report = denoise_file(tmp_path / "x.wav", tmp_path / "y.wav", settings)
    assert report.seconds == 1.75
    y = read(tmp_path / "y.wav")
    assert np.abs(y[:, 0] - 0.5 * x[20000:48000, 1]).max() < 1e-3
    for changed, message in (
        (DenoiseSettings(HALF.model, channel=3), "there is no channel 3: it has 2"),
        (DenoiseSettings(HALF.model, begin=3, end=2), "no section from 3 s to 2 s"),
        (DenoiseSettings(HALF.model, begin=9), "it ends before 9 s: begin earlier"),
        (DenoiseSettings(HALF.model, track=2), "there is no audio track 2: it has 1"),
    ):
        with pytest.raises(SordinoError, match=message):
            denoise_file(tmp_path / "x.wav", tmp_path / "z.wav", changed)


def test_one_track_of_a_video_is_denoised_and_the_other_copied(tmp_path):
    source, target = tmp_path / "x.mkv", tmp_path / "y.mkv"
    write_video(source, "ffv1", "flac", tracks=2)
    denoise_file(source, target, DenoiseSettings(HALF.model, track=2))
    (_, x, _), (_, y, _) = sound_of(source, 0), sound_of(target, 0)
    assert np.array_equal(x, y)
    (_, x, _), (_, y, _) = sound_of(source, 1), sound_of(target, 1)
    assert np.abs(y - 0.5 * x).max() < 1e-3


def test_a_rerun_says_that_the_recording_has_changed(recording, tmp_path):
    target = tmp_path / "y.wav"
    denoise_file(recording, target, HALF)
    later = target.stat().st_mtime + 10
    os.utime(recording, (later, later))
    report = denoise_file(recording, target, HALF)
    assert report.status == "skipped"
    assert "it has changed since" in report.notes[0]
    assert denoise_file(recording, target, HALF, overwrite=True).notes == ()


def test_sound_from_memory_is_never_taken_for_what_was_done_before(recording, tmp_path):
    target = tmp_path / "y.wav"
    sound = recording.read_bytes()
    denoise_file(sound, target, HALF)
    before = target.read_bytes()
    with pytest.raises(SordinoError, match="may be another recording"):
        denoise_file(sound, target, HALF)
    assert target.read_bytes() == before
    assert denoise_file(sound, target, HALF, overwrite=True).status == "done"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_never_taken_for_what_was_done_before(recording, tmp_path):
    pipe, target = tmp_path / "pipe", tmp_path / "y.wav"
    os.mkfifo(pipe)
    target.write_text("mine")
    with pytest.raises(SordinoError, match="may be another recording"):
        denoise_file(pipe, target, HALF)
    assert target.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="needs extended attributes")
def test_a_rerun_says_what_differs(recording, tmp_path):
    target = tmp_path / "y.wav"
    denoise_file(recording, target, HALF)
    assert denoise_file(recording, target, HALF).notes == ()
    report = denoise_file(recording, target, DenoiseSettings(HALF.model, strength=0.3))
    assert report.status == "skipped"
    assert "was made with model test, strength 1.0" in report.notes[0]
    other = wav(tmp_path / "other.wav")
    with pytest.raises(SordinoError, match="was made from another recording"):
        denoise_file(other, target, HALF)
    assert denoise_file(other, target, HALF, overwrite=True).status == "done"


@pytest.mark.slow
def test_ogg_is_written_from_one_large_block(tmp_path):
    """A minute at once: libsndfile's encoder has what it is given on its stack."""
    script = (
        "import sys, threading; from pathlib import Path\n"
        "import numpy as np; from sordino.io.audiofile import open_sink\n"
        "from sordino.io.formats import SoundInfo\n"
        "def work():\n"
        "    sink = open_sink(Path(sys.argv[1]), 'ogg', SoundInfo(48000, 2, 'VORBIS'))\n"
        "    sink.write(np.zeros((62 * 48000, 2), np.float32)); sink.close()\n"
        "threading.stack_size(256 * 1024)\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
    )
    result = subprocess.run([sys.executable, "-c", script, tmp_path / "x.ogg"])
    assert result.returncode == 0
    assert soundfile.info(tmp_path / "x.ogg").frames == 62 * 48000


@pytest.mark.parametrize(("extension", "keeps"), [("wav", False), ("flac", False), ("mp3", True)])
def test_chapters_are_kept_or_their_loss_is_named(tmp_path, extension, keeps):
    source = tmp_path / "x.m4a"
    write_recording(source, "aac", "ipod", cover=False)
    report = denoise_file(source, tmp_path / f"y.{extension}", ZERO)
    assert ("its chapters are left out" in report.notes) != keeps


def test_a_depth_that_cannot_be_kept_is_named(tmp_path):
    source, target = tmp_path / "x.wav", tmp_path / "y.wav"
    write_sound(source, rumble(4800)[:, None], 48000, "pcm_s64le", "wav")
    assert "its 64-bit samples are kept as 32-bit ones" in denoise_file(source, target, ZERO).notes
    assert soundfile.info(target).subtype == "PCM_32"


def test_a_codec_that_is_not_decoded_is_named(tmp_path):
    source = tmp_path / "x.mka"
    write_sound(source, rumble(48000)[:, None], 48000, "eac3", "matroska")
    data = source.read_bytes()
    for *_, packet in packets_of(source, "audio"):
        data = data.replace(packet, b"\xff" * len(packet))
    source.write_bytes(data)
    with pytest.raises(SordinoError, match="or its eac3 is of a kind that FFmpeg does not decode"):
        denoise_file(source, tmp_path / "y.wav", ZERO)
    assert not (tmp_path / "y.wav").exists()
