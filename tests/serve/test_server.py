"""The server as a process: it starts safely or not at all, and ends in order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sordino.errors import SordinoError
from sordino.serve.settings import ServerSettings, read_token
from support.served import DEADLINE, TOKEN

COMMAND = [sys.executable, "-m", "sordino"]


@contextmanager
def started(*options):
    """Run `sordino serve`; yield the process and its address."""
    command = [*COMMAND, "serve", "--port", "0", "--max-streams", "4", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        yield process, re.fullmatch(r"Sordino is at http://(\S+)/ \(Ctrl\+C ends it\)\n", first)[1]
    finally:
        process.kill()
        process.communicate()


def hail(address):
    connection = connect(f"ws://{address}/v1/stream", compression=None)
    stream = connection.__enter__()
    stream.send('{"type": "hello", "rate": 16000}')
    assert json.loads(stream.recv(DEADLINE))["type"] == "ready"
    return stream


def told(stream, kind):
    """Return the next message of a type."""
    while True:
        message = stream.recv(DEADLINE)
        if isinstance(message, str) and json.loads(message)["type"] == kind:
            return json.loads(message)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGTERM")
def test_sigterm_lets_streams_end():
    with started("--drain", "50") as (process, address):
        staying, leaving = hail(address), hail(address)
        process.send_signal(signal.SIGTERM)
        assert 0 < told(staying, "draining")["seconds"] <= 50
        told(leaving, "draining")
        answer = httpx.get(f"http://{address}/healthz")
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        answer = httpx.post(f"http://{address}/v1/denoise", content=b"RIFF")
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        staying.send(bytes(3200))  # it is served as before
        while not isinstance(answer := staying.recv(DEADLINE), bytes):
            pass
        assert answer
        staying.send('{"type": "flush"}')
        told(staying, "flushed")
        staying.close()
        leaving.close()
        assert process.wait(DEADLINE) in (0, -signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGTERM")
def test_streams_that_stay_are_closed_at_last():
    with started("--drain", "1") as (process, address):
        stream = hail(address)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            told(stream, "never")
        assert closed.value.rcvd.code == 1012
        assert process.wait(DEADLINE) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_other_machines_need_a_token():
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(SordinoError, match="token"):
            ServerSettings(host=host)
        ServerSettings(host=host, token=TOKEN)
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        ServerSettings(host=host)
    run = subprocess.run(
        [*COMMAND, "serve", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "SORDINO_TOKEN"},
        timeout=DEADLINE,
    )
    assert run.returncode == 2
    assert "--token-file" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "short"},
        {"token": "a line\nand another one"},
        {"origins": ("*",)},
        {"origins": ("https://*.example.org",)},
        {"origins": ("meet.example.org",)},
        {"origins": ("https://meet.example.org/path",)},
        {"tls_key": "key.pem"},
        {"port": 65536},
    ],
)
def test_unsafe_settings(wrong):
    with pytest.raises(SordinoError):
        ServerSettings(**wrong)


def test_where_tokens_come_from(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.delenv("SORDINO_TOKEN", raising=False)
    assert read_token(None) is None
    assert read_token(file) == TOKEN
    monkeypatch.setenv("SORDINO_TOKEN", TOKEN[::-1])
    assert read_token(None) == TOKEN[::-1]
    file.write_text("\n")
    for unusable in (file, tmp_path / "none", tmp_path):
        with pytest.raises(SordinoError, match="token"):
            read_token(unusable)


@pytest.mark.slow
def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = subprocess.run(
            [*COMMAND, "serve", "--port", str(taken.getsockname()[1]), "--max-streams", "1"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    assert run.returncode == 2
    assert "--port" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_bench_serve():
    begin = time.monotonic()
    run = subprocess.run(
        [*COMMAND, "bench", "serve", "--streams", "2", "--seconds", "1", "--rate", "16000"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert run.returncode == 0, run.stderr
    step = re.match(
        r".+, 16000 Hz, .* a step takes ([\d.]+) ms of processor time, paced$", run.stdout, re.M
    )
    assert step
    assert 0.05 < float(step[1]) < 100
    assert re.search(r"^ +2 streams  p50 +[\d.]+ ms  p99 +[\d.]+ ms .* lost 0", run.stdout, re.M)
    assert time.monotonic() - begin < DEADLINE
