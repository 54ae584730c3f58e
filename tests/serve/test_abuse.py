"""Clients that would take more than their share: each is let go, and no other pays for it."""

import json
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_sync

import sordino.resample
from sordino.serve import server as server_module
from sordino.serve.client import connect
from support.served import DEADLINE, TOKEN, serving, speech

RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer wrong"}


def is_ended(sock):
    """Tell whether the server ends a connection, whatever it sends before."""
    sock.settimeout(DEADLINE)
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.slow
def test_half_a_second_request_does_not_hold_a_connection(monkeypatch):
    """Slow Loris by way of keep-alive: the timeout of the first request applies to later ones."""
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT", 0.5)
    with serving() as served, served.connect() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200")
        sock.sendall(b"GET /health")
        assert is_ended(sock)


@pytest.mark.slow
@pytest.mark.parametrize("requests", [1, 30])
def test_who_reads_no_answer_is_let_go(requests, monkeypatch):
    """More than the sockets' buffers hold waits in the middle of an answer, or for its end."""
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT", 0.5)
    # a small buffer in the kernel, so that even the end of one answer stays with the server
    monkeypatch.setattr(server_module.HttpProtocol, "connection_made", narrowed)
    with serving(stall_seconds=0.5, token=TOKEN) as served, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", served.port))
        request = b"GET /examples/office_48k.flac HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        sock.sendall(request * requests)
        assert sock.recv(1).startswith(b"H")
        end = time.monotonic() + DEADLINE
        while served.server.server_state.connections and time.monotonic() < end:
            time.sleep(0.05)
        assert not served.server.server_state.connections


def narrowed(self, transport, connection_made=server_module.HttpProtocol.connection_made):
    """Make a connection whose socket buffers little."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection_made(self, transport)


@pytest.mark.slow
def test_who_reads_slowly_gets_it_all(monkeypatch):
    """An answer may take many times as long as a client may be still."""
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT", 0.5)
    monkeypatch.setattr(server_module.HttpProtocol, "connection_made", narrowed)
    with serving(stall_seconds=0.5) as served, socket.socket() as sock:
        path = "/examples/office_48k.flac"
        whole = httpx.get(f"{served.http}{path}").content
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", served.port))
        sock.settimeout(DEADLINE)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        received, begin = b"", time.monotonic()
        while data := sock.recv(len(whole) // 20):
            received += data
            time.sleep(0.01 if time.monotonic() > begin + 3 else 0.2)
        assert received.endswith(whole)


@pytest.mark.slow
def test_a_stream_of_nothing_does_not_keep_its_place():
    """Empty blocks are no sound: neither a sign of life, nor without an end by the clock."""
    for limits in ({"idle_seconds": 0.5}, {"max_stream_seconds": 0.5}):
        with serving(max_streams=1, **limits) as served:
            with (
                connect_sync(f"{served.ws}/v1/stream", compression=None) as stream,
                pytest.raises(ConnectionClosed) as closed,
            ):
                send_nothing(stream)
            assert closed.value.rcvd.code == (4408 if "idle_seconds" in limits else 4413)


def send_nothing(stream):
    """Send empty blocks for a long time."""
    stream.send(json.dumps({"type": "hello"}))
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        stream.send(b"")
        stream.recv(DEADLINE)
        time.sleep(0.05)


@pytest.mark.slow
def test_control_messages_are_limited():
    with (
        serving(requests_per_second=20, request_burst=5) as served,
        connect_sync(f"{served.ws}/v1/stream", compression=None) as stream,
    ):
        stream.send(json.dumps({"type": "hello"}))
        begin = time.monotonic()
        for _ in range(25):
            stream.send(json.dumps({"type": "strength", "value": 0.5}))
        answers = 0
        while answers < 25:  # none is lost
            answers += json.loads(stream.recv(DEADLINE))["type"] == "strength"
        assert time.monotonic() - begin > 0.9


def test_a_rate_that_is_new_is_not_measured_on_the_event_loop(monkeypatch):
    """It takes 13 to 20 ms: more than the 10 ms that the other streams are promised."""
    threads = set()
    measure = sordino.resample._longest_wait.__wrapped__

    def spied(in_rate, out_rate):
        threads.add(threading.current_thread())
        return measure(in_rate, out_rate)

    monkeypatch.setattr(sordino.resample, "_longest_wait", spied)
    with serving() as served:
        with connect(served.ws, 31337) as stream:
            stream.process(np.zeros(300, "f4"))
            stream.reset()
            stream.flush()
        (loop,) = [each for each in threading.enumerate() if each.name.endswith("(<lambda>)")]
        assert threads
        assert loop not in threads


@pytest.mark.slow
def test_wrong_tokens_do_not_lock_out_the_right_one():
    """Behind a proxy or NAT many clients share an address, and anybody may send wrong tokens."""
    limits = {"failures_per_minute": 3, "requests_per_second": 0.01, "request_burst": 8}
    with serving(token=TOKEN, **limits) as served:
        url = f"{served.http}/v1/models"
        for _ in range(12):
            assert httpx.get(url, headers=WRONG).status_code in (401, 429)
        assert httpx.get(url, headers=RIGHT).status_code == 200


@pytest.mark.slow
def test_workers_import_nothing_from_the_folder_that_the_server_was_started_in(
    tmp_path, monkeypatch
):
    """`python -m` looks into the working folder first, before the standard library."""
    marker = tmp_path / "was-run"
    poison = f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n"
    (tmp_path / "soundfile.py").write_text(poison)
    monkeypatch.chdir(tmp_path)
    sound, rate = speech()
    body = (sound * 32768).astype("<i2").tobytes()
    with serving() as served:
        url = f"{served.http}/v1/denoise"
        answer = httpx.post(url, params={"raw_rate": rate}, content=body, timeout=DEADLINE)
    assert answer.status_code == 200
    assert not marker.exists()
