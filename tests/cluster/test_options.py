"""What the user is told before a cluster is reached."""

import socket
import subprocess
import sys

import pytest

from sordino import examples

CLI = (sys.executable, "-m", "sordino")


def said(*arguments, code=2):
    run = subprocess.run([*CLI, "denoise", *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr.strip() if code else run.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cluster", "local"], "--cluster needs -o OUT"),
        (["--cluster", "local", "-o", "out", "--plot", "x"], "--plot does not go with --cluster"),
        (["--cluster", "local", "-o", "out", "--section", "2"], "sections overlap by 120 s"),
        (["--cluster", "local", "-o", "out", "--workers", "0"], "leaves no worker"),
        (["--cluster", "nowhere", "-o", "out"], "expected local, auto, HOST:PORT or ray://"),
        (["--cluster", "127.0.0.1:99999", "-o", "out"], "expected local, auto, HOST:PORT"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(tmp_path, options, message):
    options = [str(tmp_path / each) if each == "out" else each for each in options]
    text = said(examples.path("phone_8k"), *options)
    assert message in text
    assert text.splitlines()[-1].startswith("sordino: ")


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = said(examples.path("phone_8k"), "--cluster", f"127.0.0.1:{port}", "-o", tmp_path / "out")
    assert f"127.0.0.1:{port}: cannot connect (Connection refused)" in text
    assert "1 not done (the same command goes on with the rest)" in text


@pytest.mark.slow
def test_a_dry_run_needs_no_cluster(tmp_path):
    phone = examples.path("phone_8k")
    text = said(phone, "--cluster", "local", "-o", tmp_path, "--dry-run", code=0)
    assert text.strip() == f"{phone} -> {tmp_path}/phone_8k.flac"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_missing_extra_is_told_in_one_line(tmp_path):
    code = (
        "import sys; sys.modules['ray'] = None; sys.argv[0] = 'sordino'; "
        "from sordino.cli import main; main()"
    )
    arguments = ["denoise", examples.path("phone_8k"), "--cluster", "local", "-o", tmp_path]
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert run.stderr.startswith("sordino: `sordino denoise --cluster` needs the package ray: ")
    assert ".[cluster]" in run.stderr
