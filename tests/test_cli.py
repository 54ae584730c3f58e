"""The command line, called as people call it."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sordino import examples
from sordino.denoiser import denoise
from sordino.errors import install_command
from sordino.model import LIVE_MODEL, RECORDING_MODEL
from support import models
from support.commands import caller
from support.media import rumble, write_video
from support.signals import agreement_db

EXAMPLES = Path(examples.__file__).parent
SORDINO = [sys.executable, "-m", "sordino"]


@pytest.fixture
def sordino(monkeypatch, capsys):
    """Call the command in this process: (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "half.onnx"
    path.write_bytes(models.constant_mask_bytes(0.5))
    return path


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "in" / "talk.wav"
    path.parent.mkdir()
    soundfile.write(path, rumble(2 * 16000), 16000)
    return path


def pipe(half, *arguments, data=b""):
    command = [*SORDINO, "denoise", *map(str, arguments), "-m", str(half)]
    return subprocess.run(command, input=data, capture_output=True)


# denoise


def test_denoise_beside_the_input(sordino, talk, half):
    code, out, err = sordino("denoise", talk, "-m", half)
    assert (code, out) == (0, "")
    assert err.startswith(f"done    {talk.with_name('talk.clean.wav')}  2.0 s of sound, ")
    assert "x real time, noise taken 6.0 dB" in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_denoise_a_folder(sordino, talk, half, tmp_path):
    soundfile.write(talk.with_name("b.flac"), rumble(2 * 16000, seed=1), 16000)
    (talk.parent / "empty.wav").touch()
    write_video(talk.parent / "c.mkv", "ffv1", "flac")
    arguments = ("denoise", talk.parent, "-o", tmp_path / "out", "-m", half, "--jobs", 2)
    extra = ("--noise-out", tmp_path / "noise", "--plot", tmp_path / "plots")
    code, out, err = sordino(*arguments, *extra)
    assert (code, out) == (2, "")
    assert f"failed  {talk.parent / 'empty.wav'}: the file is empty (0 bytes)" in err
    assert "3 files: 6.0 s of sound" in err
    assert err.strip().endswith("noise taken 6.0 dB; 1 failed")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert [each for each in found if not each.startswith("in/")] == [
        *("noise/b.noise.flac", "noise/c.noise.wav", "noise/talk.noise.wav"),
        *("out/b.flac", "out/c.mkv", "out/talk.wav"),
        *("plots/b.png", "plots/c.png", "plots/talk.png"),
    ]
    (talk.parent / "empty.wav").unlink()
    code, _, err = sordino(*arguments)
    assert (code, err) == (0, "3 skipped, done before (--overwrite does it again)\n")
    code, _, err = sordino(*arguments, "--overwrite", "--quiet")
    assert (code, err) == (0, "")


def test_options_reach_the_engine(sordino, talk, half, tmp_path):
    x = soundfile.read(talk)[0]
    for options, gain in (
        ((), 0.5),
        (("--strength", "0"), 1.0),
        (("--attenuation-limit", "0"), 1.0),
        (("-s", "0.5"), 0.75),
        (("--attenuation-limit", "3"), 1 - 0.5 * (1 - 10 ** (-3 / 20))),
    ):
        target = tmp_path / "y.wav"
        arguments = ("denoise", talk, "-o", target, "-m", half, "--overwrite", *options)
        code, _, err = sordino(*arguments)
        assert code == 0
        assert np.abs(soundfile.read(target)[0] - gain * x).max() < 1e-3
        taken = "none" if gain == 1 else f"{-20 * np.log10(gain):.1f} dB"
        assert err.endswith(f"noise taken {taken}\n")


def test_execution_providers(sordino, talk, half, tmp_path):
    arguments = ("denoise", talk, "-o", tmp_path / "y.wav", "-m", half)
    code, _, err = sordino(*arguments, "--provider", "quantum")
    assert code == 2
    assert "no execution provider 'quantum': choose from cpu" in err
    assert sordino(*arguments, "--provider", "cpu")[0] == 0
    code, _, err = sordino(*arguments, "--provider", "cpu", "--cluster", "local")
    assert (code, "--provider does not go with --cluster" in err) == (2, True)


def test_format(sordino, talk, half):
    assert sordino("denoise", talk, "-m", half, "--format", "flac")[0] == 0
    assert soundfile.info(talk.with_name("talk.clean.flac")).subtype == "PCM_16"


def test_dry_run_writes_nothing(sordino, talk):
    clean = talk.with_name("talk.clean.wav")
    code, out, err = sordino("denoise", talk, "--dry-run")
    assert (code, out, err) == (0, f"{talk} -> {clean}\n", "")
    clean.touch()
    assert sordino("denoise", talk, "--dry-run")[1].endswith("\n  skipped: done before\n")
    assert sordino("denoise", talk, "--dry-run", "--overwrite")[1] == f"{talk} -> {clean}\n"
    assert sorted(path.name for path in talk.parent.iterdir()) == ["talk.clean.wav", "talk.wav"]


def test_dry_run_says_what_the_run_itself_would(sordino, talk, half, tmp_path):
    target = tmp_path / "made.wav"
    options = ("-m", half, "-o", target)
    assert sordino("denoise", talk, *options)[0] == 0
    other = sordino("denoise", talk, *options, "--strength", "0.3", "--dry-run")[1]
    assert other.startswith(f"{talk} -> {target}\n  skipped: ")
    piped = sordino("denoise", "-", *options, "--dry-run")[1]
    assert piped.startswith(f"standard input -> {target}\n  would fail: {target} is there already")
    if hasattr(os, "setxattr"):
        assert "was made with model" in other
        (tmp_path / "else.wav").write_bytes(talk.read_bytes())
        out = sordino("denoise", tmp_path / "else.wav", *options, "--dry-run")[1]
        assert "would fail" in out
        assert "made from another recording" in out


@pytest.mark.skipif(os.name == "nt", reason="Windows has other slashes")
def test_addresses_keep_their_slashes(sordino, half):
    for arguments in (
        ("denoise", "https://example.org/x.wav", "-m", half),
        ("denoise", "s3://bucket/x.wav", "-m", half, "--dry-run"),
        ("plot", "https://example.org/x.wav", "-o", "x.png"),
    ):
        code, out, err = sordino(*arguments)
        assert f"{arguments[1]}" in out + err, (code, out, err)


def test_the_old_name_of_the_warm_up_still_works(sordino, talk, half):
    code, _, err = sordino("denoise", talk, "-m", half, "--listen", "1")
    assert code == 0
    assert err.startswith("sordino: --listen is now called --warm-up")


def test_a_section_and_jobs_by_cores(sordino, talk, half):
    code, _, err = sordino(
        "denoise", talk, "-m", half, "--from", "0:00.5", "--to", "1", "-j", "auto"
    )
    assert (code, "0.5 s of sound" in err) == (0, True)
    code, _, err = sordino("denoise", talk, "-m", half, "--from", "soon")
    assert (code, err) == (2, "sordino: --from soon is no time: write seconds (90) or 0:01:30\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("models", "default"), ("denoise", "Gespräch 日本.wav", "--dry-run")]
)
def test_a_terminal_that_is_not_utf_8(arguments):
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    result = subprocess.run([*SORDINO, *arguments], capture_output=True, env=environment)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout


def test_notes_are_shown(sordino, talk, half):
    talk.write_bytes(talk.read_bytes()[:30_000])
    code, _, err = sordino("denoise", talk, "-m", half)
    assert code == 0
    assert f"note    {talk}: the file is cut short: only 30,000 of 64,044 bytes" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{in}", "-m", "nobody.onnx"), "cannot read the model nobody.onnx"),
        (("{in}", "-m", "{half}", "-s", "2"), "strength is 2.0: expected 0"),
        (("{in}", "-m", "{half}", "-o", "{in}"), "is an input: Sordino never overwrites"),
        (("{in}", "-m", "{half}", "-f", "xyz"), "there is no format 'xyz': choose one of wav"),
        (("{in}", "-m", "{half}", "-o", "x.xyz"), "there is no format 'xyz'"),
        (("{in}", "{in}", "/nowhere/*.wav", "-m", "{half}"), "/nowhere/*.wav: no file has such"),
        (("-", "-m", "{half}", "--raw-rate", "8000", "--raw-format", "s5"), "called 's5'"),
    ],
)
def test_what_the_user_can_mend_is_one_line(sordino, talk, half, arguments, message):
    filled = [each.format(**{"in": talk, "half": half}) for each in arguments]
    code, out, err = sordino("denoise", *filled)
    assert (code, out) == (2, "")
    assert err.startswith("sordino: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in talk.parent.iterdir()] == ["talk.wav"]


def test_a_missing_file_is_one_line(sordino, half):
    code, _, err = sordino("denoise", "/nowhere/talk.wav", "-m", half)
    assert (code, err) == (2, "failed  /nowhere/talk.wav: there is no such file\n")


# Pipes


@pytest.mark.slow
def test_wav_through_pipes(talk, half):
    result = pipe(half, "-", data=talk.read_bytes())
    assert result.returncode == 0
    assert result.stderr.startswith(b"done    standard output  2.0 s of sound")
    x = soundfile.read(talk, dtype="int16")[0]
    y = np.frombuffer(result.stdout[-2 * len(x) :], np.int16)
    assert result.stdout[:4] == b"RIFF"
    assert np.abs(y - x / 2).max() <= 1


@pytest.mark.slow
def test_files_are_looked_ahead_in_and_pipes_are_not(tmp_path):
    noisy = EXAMPLES / "noisy" / "phone_8k.flac"
    sound, rate = soundfile.read(noisy, dtype="float32")
    subprocess.run([*SORDINO, "denoise", str(noisy), "-o", str(tmp_path / "file.flac")], check=True)
    subprocess.run(
        [*SORDINO, "denoise", "-", "-o", str(tmp_path / "pipe.flac")],
        input=noisy.read_bytes(),
        check=True,
    )
    for name, model, warm_up in (("file", RECORDING_MODEL, 5), ("pipe", LIVE_MODEL, 0)):
        clean, _ = soundfile.read(tmp_path / f"{name}.flac", dtype="float32")
        assert agreement_db(denoise(sound, rate, model, warm_up=warm_up), clean) > 50  # 16 bit
    both = [denoise(sound, rate, model, warm_up=5) for model in (RECORDING_MODEL, LIVE_MODEL)]
    assert agreement_db(*both) < 40
    assert (denoise(sound, rate) == denoise(sound, rate, RECORDING_MODEL)).all()


@pytest.mark.slow
def test_a_file_into_a_pipe_and_a_pipe_into_a_file(talk, half, tmp_path):
    assert pipe(half, talk, "-o", "-").stdout[:4] == b"RIFF"
    assert pipe(half, "-", "-o", tmp_path / "y.flac", data=talk.read_bytes()).returncode == 0
    info = soundfile.info(tmp_path / "y.flac")
    assert (info.samplerate, info.frames, info.subtype) == (16000, 32000, "PCM_16")


@pytest.mark.slow
def test_raw_samples_through_pipes(half):
    x = (20_000 * rumble(8000, 2)).astype("<i2")
    result = pipe(half, "-", "--raw-rate", 8000, "--raw-channels", 2, "-q", data=x.tobytes())
    assert (result.returncode, result.stderr) == (0, b"")
    y = np.frombuffer(result.stdout, "<i2").reshape(-1, 2)
    assert y.shape == x.shape
    assert np.abs(y - x / 2).max() <= 1
    z = x.astype("<f4") / 32768
    result = pipe(
        half,
        "-",
        "--raw-rate",
        8000,
        "--raw-format",
        "f32le",
        "--raw-channels",
        2,
        data=z.tobytes(),
    )
    assert np.abs(np.frombuffer(result.stdout, "<f4").reshape(-1, 2) - z / 2).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"RIFF", b"Dear Sir,\n" * 100])
def test_bad_input_from_a_pipe(half, data):
    result = pipe(half, "-", data=data)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"failed  standard input: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such pipes there")
def test_a_reader_that_ends_early(tmp_path, half):
    soundfile.write(tmp_path / "x.wav", rumble(30 * 48000), 48000)
    process = subprocess.Popen(
        [*SORDINO, "denoise", tmp_path / "x.wav", "-o", "-", "-m", half],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(1000)
    process.stdout.close()
    message = process.stderr.read()
    assert process.wait(timeout=120) == 2
    assert message == b"failed  standard output: the program that was reading it has ended\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
def test_ctrl_c_is_clean(tmp_path, half):
    source = tmp_path / "x.wav"
    with soundfile.SoundFile(source, "w", 48000, 8) as file:
        for _ in range(60):
            file.write(rumble(48000, 8))
    process = subprocess.Popen(
        [*SORDINO, "denoise", source, "-m", half], stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob(".*")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 130
    assert message == "1 not done (the same command goes on with the rest)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
def test_ctrl_c_does_not_wait_for_the_pipe(talk, half, tmp_path):
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    process = subprocess.Popen(
        [*SORDINO, "denoise", "-", "-o", tmp_path / "y.wav", "-m", half],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(talk.read_bytes()[:40_000])
    process.stdin.flush()
    waiting = array("i", [1])  # bytes in the pipe that the command has not taken yet
    while waiting[0] and process.poll() is None:
        time.sleep(0.02)
        fcntl.ioctl(process.stdin, termios.FIONREAD, waiting)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert process.stderr.read() == b"1 not done (the same command goes on with the rest)\n"
    process.stdin.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# The other commands


@pytest.mark.slow
def test_plot(sordino, talk, half):
    picture = talk.with_suffix(".png")
    assert sordino("plot", talk, "-m", half) == (0, f"{picture}\n", "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    other = talk.with_name("plain.png")
    assert sordino("plot", talk, "--plain", "-o", other) == (0, f"{other}\n", "")
    assert other.stat().st_size > 10_000


def test_plot_errors(sordino, talk, monkeypatch):
    code, _, err = sordino("plot", "/nowhere/x.wav", "--plain", "-o", talk.with_name("x.png"))
    assert (code, err) == (2, "sordino: /nowhere/x.wav: there is no such file\n")
    monkeypatch.setattr("sordino.spectrogram.find_spec", lambda name: None)
    code, _, err = sordino("plot", talk)
    assert (code, err) == (
        2,
        f"sordino: pictures need matplotlib: {install_command('plot')}\n",
    )
    assert [path.name for path in talk.parent.iterdir()] == ["talk.wav"]


@pytest.mark.slow
def test_bench(sordino, half):
    code, out, err = sordino("bench", "-m", half, "--rate", 16000, "--seconds", 1)
    assert (code, err) == (0, "")
    for word in ("test at 16000 Hz", "latency   20 ms", "p50", "p99", "verdict   fits"):
        assert word in out
    code, _, err = sordino("bench", "-m", half, "--seconds", 0)
    assert (code, err.startswith("sordino: 0.0 s are too short")) == (2, True)


def test_models(sordino):
    from sordino.model import available_models

    entries = available_models()
    code, out, _ = sordino("models")
    assert code == 0
    for entry in entries.values():
        assert entry.name in out
        assert entry.sha256[:12] in out
        assert entry.kind in out
    code, out, _ = sordino("models", "default")
    assert code == 0
    assert entries["default"].card.strip() in out
    code, _, err = sordino("models", "nobody")
    assert (code, err.startswith("sordino: no model is called 'nobody'")) == (2, True)


def test_version(sordino):
    version = importlib.metadata.version("sordino")
    assert sordino("--version") == (0, f"sordino {version}\n", "")


def test_usage_errors(sordino):
    for arguments in (("denoise",), ("nonsense",), ("denoise", "x.wav", "--jobs", "0")):
        code, out, err = sordino(*arguments)
        assert (code, out) == (2, "")
        assert "Usage: sordino" in err


@pytest.mark.slow
def test_python_m_sordino_is_the_same_command(tmp_path):
    def run(*arguments):
        return subprocess.run(
            SORDINO + list(arguments), cwd=tmp_path, capture_output=True, text=True
        )

    version = importlib.metadata.version("sordino")
    assert run("--version").stdout == f"sordino {version}\n"
    wrong = run("denoise")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Usage: sordino denoise " in wrong.stderr
    missing = run("denoise", "nowhere.wav")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "nowhere.wav" in missing.stderr
