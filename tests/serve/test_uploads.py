import asyncio
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.resources import files

import av
import httpx
import numpy as np
import pytest
import soundfile

from sordino import examples
from sordino.denoiser import denoise
from sordino.serve.admission import Pace, UploadAdmission
from sordino.serve.loadtest import run_streams
from sordino.serve.settings import ServerSettings
from sordino.serve.worker import VARIABLE, UploadTask
from support.served import DEADLINE, TOKEN, serving, speech, wait_until
from support.signals import agreement_db, tone

OFFICE = examples.path("office_48k")


@pytest.fixture(scope="module")
def served():
    with serving() as running:
        yield running


def post(served, body, **query):
    return httpx.post(f"{served.http}/v1/denoise", params=query, content=body, timeout=DEADLINE)


def read(body):
    """Decode an answer, whatever its format."""
    with av.open(io.BytesIO(body)) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler("flt", container.streams.audio[0].layout, rate)
        parts = [
            converted.to_ndarray().reshape(-1, frame.layout.nb_channels)
            for frame in container.decode(audio=0)
            for converted in resampler.resample(frame)
        ]
    return np.concatenate(parts), rate


def encoded(sound, rate, extension="wav", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, sound, rate, subtype, format=extension.upper())
    return file.getvalue()


def silent_flac(seconds, channels=8):
    """A few kilobytes that decode to a lot of silence."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, channels, "PCM_16", format="FLAC") as flac:
        block = np.zeros((8000 * 60, channels), np.int16)
        for _ in range(seconds // 60):
            flac.write(block)
    return file.getvalue()


@pytest.mark.slow
def test_a_recording_comes_back_clean(served):
    noisy, rate = soundfile.read(OFFICE, dtype="float32")
    answer = post(served, OFFICE.read_bytes())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-disposition"] == 'attachment; filename="clean.wav"'
    clean, its_rate = read(answer.content)
    assert its_rate == rate
    assert agreement_db(denoise(noisy, rate), clean[:, 0]) > 50  # 16 bit
    clean, _ = read(post(served, OFFICE.read_bytes(), listen=2).content)
    assert agreement_db(denoise(noisy, rate, warm_up=2), clean[:, 0]) > 50


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["flac", "mp3", "m4a", "aiff", "mkv"])
def test_formats(served, extension):
    sound, rate = speech(seconds=1)
    answer = post(served, encoded(sound, rate), format=extension, strength=0.5)
    assert answer.status_code == 200, answer.text
    clean, its_rate = read(answer.content)
    assert abs(len(clean) / its_rate - 1) < 0.1  # lossy codecs pad
    assert 0.2 < np.sqrt(np.mean(clean**2)) / np.sqrt(np.mean(sound**2)) < 1.1


@pytest.mark.slow
def test_a_header_at_the_end_and_no_header_at_all(served):
    sound, rate = speech(seconds=1)
    m4a = post(served, encoded(sound, rate), format="m4a").content  # its index comes last
    assert post(served, m4a, format="flac").status_code == 200
    levels = np.rint(sound * 32767).astype("<i2")
    answer = post(served, levels.tobytes(), raw_rate=rate, format="wav")
    assert agreement_db(denoise(levels, rate, "default"), read(answer.content)[0][:, 0]) > 50


@pytest.mark.parametrize("channels", [8, 16])
def test_many_channels(served, channels):
    levels = np.zeros((1600, channels), "<i2")
    answer = post(served, levels.tobytes(), raw_rate=16000, raw_channels=channels)
    assert answer.status_code == 200
    assert len(answer.content) > levels.nbytes


def test_the_answer_begins_before_the_body_ends(served):
    """Both ways are streams, or the server would wait for the end that never comes here."""
    second = os.urandom(2 * 16000)

    head = b"POST /v1/denoise?raw_rate=16000&strength=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with served.connect() as sock:
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            sock.sendall(b"%x\r\n%s\r\n" % (len(second), second))
        answer = b""
        while len(answer) < 3 * len(second):
            answer += sock.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200")
        sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(second), second))
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += sock.recv(1 << 16)
    assert len(answer) > 5 * len(second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"RIFF", 422),
        (os.urandom(100_000), 422),
        (b"\0" * 100_000, 422),
        (b"<html>" * 1000, 422),
        (OFFICE.read_bytes()[:200], 422),
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", 422),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", 422),
        (b'RIFF\x10\0\0\0WAVE<?xml?><MPD profiles="dash:profile:isoff-live:2011">', 422),
    ],
    ids=range(9),
)
def test_what_is_no_recording(served, body, status):
    answer = post(served, body)
    assert answer.status_code == status
    assert answer.json()["code"] == "unreadable_media"
    assert "\n" not in answer.json()["message"]
    assert "/" not in answer.json()["message"].replace("audio/", "")  # no path of the server


@pytest.mark.slow
def test_playlists_open_nothing(served, tmp_path):
    """A playlist in a recording's clothes must not make the server read its own files."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded(tone(440, 16000), 16000))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n".encode()
    tagged = b"ID3\x04\0\0\0\0\0\0" + playlist
    assert post(served, playlist).status_code == 422
    assert post(served, tagged, format="m4a").status_code == 422
    assert post(served, f"ffconcat version 1.0\nfile {secret}\n".encode()).status_code == 422


def test_refusals(served):
    wav = encoded(*speech(seconds=0.1))
    for query, status, code in [
        ({"format": "exe"}, 400, "bad_request"),
        ({"format": "../../etc/passwd"}, 400, "bad_request"),
        ({"strength": 2}, 400, "bad_request"),
        ({"listen": 61}, 400, "bad_request"),
        ({"strength": "nan"}, 400, "bad_request"),
        ({"raw_rate": 1}, 400, "bad_request"),
        ({"raw_rate": 16000, "raw_format": "s99"}, 400, "bad_request"),
        ({"model": "../../../etc/passwd"}, 404, "not_found"),
        ({"model": str(OFFICE.parent / "model.onnx")}, 404, "not_found"),
    ]:
        answer = post(served, wav, **query)
        assert (answer.status_code, answer.json()["code"]) == (status, code), query
    files = {"file": ("../../../etc/passwd", wav)}
    answer = httpx.post(f"{served.http}/v1/denoise", files=files)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
    assert not served.state.uploads


def test_a_body_that_is_too_large_is_refused_by_its_length_and_by_its_size():
    with serving(max_body_bytes=100_000) as served:
        answer = post(served, bytes(5_000_000))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

        def endless():
            for _ in range(2000):
                yield os.urandom(16000)

        answer = post(served, endless(), raw_rate=16000)
        # the answer had begun by then, and breaks off; or it had not
        assert answer.status_code == 413


@pytest.mark.slow
def test_media_that_grow_in_the_decoder():
    body = silent_flac(1800)
    assert len(body) < 500_000  # 230 MB of sound
    with serving(max_sound_seconds=60) as served:
        for extension in ("wav", "aiff"):
            answer = post(served, body, format=extension)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert "60 s" in answer.json()["message"]
    sound = bytes(2 * 8000 * 8)
    with serving(max_sound_seconds=3) as served:
        with pytest.raises(httpx.RemoteProtocolError):  # no header told; the answer breaks off
            post(served, sound, raw_rate=8000)
        answer = post(served, sound, raw_rate=8000, format="aiff")
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    with serving(max_output_bytes=50_000) as served, pytest.raises(httpx.RemoteProtocolError):
        post(served, sound, raw_rate=8000)


@pytest.mark.slow
def test_more_channels_than_anyone_has(served):
    wide = io.BytesIO()
    with wave.open(wide, "wb") as file:
        file.setnchannels(1000)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(bytes(2_000_000))
    assert post(served, wide.getvalue()).status_code == 422


@pytest.mark.slow
def test_decoders_have_limits_on_memory_and_time():
    sound = encoded(*speech(seconds=1))
    with serving(decoder_memory_bytes=1 << 26) as served:
        assert post(served, sound).status_code in (413, 422)
    with serving(upload_seconds=0.05) as served:
        answer = post(served, sound)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_worker_that_computes_too_long_is_killed():
    task = UploadTask(
        "wav", "default", 1.0, None, 0.0, ("s16le", 48000, 8), 1e9, 1 << 40, 1 << 31, 1
    )
    command = [sys.executable, "-P", "-m", "sordino.serve.worker"]
    worker = subprocess.Popen(
        command,
        env={**os.environ, VARIABLE: task.to_json()},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(BrokenPipeError):
        for _ in range(2000):
            worker.stdin.write(bytes(48000 * 16))
    assert worker.wait(DEADLINE) < 0


@pytest.mark.slow
def test_a_stalled_upload_ends():
    with serving(stall_seconds=0.5) as served, served.connect() as sock:
        head = b"POST /v1/denoise HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
        sock.sendall(head + b"RIFF")
        assert sock.recv(4096).startswith(b"HTTP/1.1 408")
        wait_until(lambda: not served.state.uploads)


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_let_go_and_the_worker_long_before():
    with serving(stall_seconds=1) as served, served.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        length = 8_000_000
        head = "POST /v1/denoise?raw_rate=192000&raw_channels=2 HTTP/1.1\r\nHost: localhost\r\n"
        sock.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        block = bytes(1 << 16)
        with suppress(OSError):
            for _ in range(length // len(block)):
                sock.sendall(block)
        wait_until(lambda: not served.state.uploads)
        assert served.metric("sordino_uploads_total", outcome="too_slow") == 1


@pytest.mark.slow
def test_a_client_that_reads_nothing_before_it_has_sent_everything_is_served():
    """Most HTTP libraries are like that."""

    def body():
        for _ in range(10):
            time.sleep(0.2)
            yield bytes(800_000)

    with serving(stall_seconds=1) as served:
        answer = post(served, body(), raw_rate=192000, raw_channels=2)
        assert answer.status_code == 200
        assert len(answer.content) > 8_000_000


def test_a_client_that_leaves_takes_its_worker_along(served):
    before = served.metric("sordino_uploads_total", outcome="bad_request")
    head = b"POST /v1/denoise HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
    with served.connect() as sock:
        sock.sendall(head + b"RIFF")
        wait_until(lambda: served.state.uploads)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: not served.state.uploads)
    wait_until(lambda: served.metric("sordino_uploads_total", outcome="bad_request") > before)


@contextmanager
def dribbling(served, client, size, pause):
    """Upload raw audio a little at a time until the server ends it."""
    with served.connect() as sock:
        head = "POST /v1/denoise?raw_rate=16000&format=aiff HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        sock.sendall(f"{head}X-Forwarded-For: {client}\r\nContent-Length: 9999999\r\n\r\n".encode())
        is_over = threading.Event()

        def dribble():
            with suppress(OSError):
                while not is_over.wait(pause):
                    sock.sendall(bytes(size))

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            yield sock
        finally:
            is_over.set()
            sock.close()
            thread.join()


@pytest.mark.slow
def test_a_byte_now_and_then_does_not_keep_a_place():
    """Each byte is in time for the timeout of the next one, but a least rate ends it."""
    with serving(stall_seconds=1) as served, dribbling(served, "10.0.0.1", 1, 0.2) as sock:
        assert sock.recv(4096).startswith(b"HTTP/1.1 408")
        wait_until(lambda: not served.state.uploads)


@pytest.mark.slow
def test_who_waits_for_a_slow_answer_is_not_slow():
    """Time that the server takes is not the client's."""
    with serving(stall_seconds=0.2, min_upload_rate=1e6) as served:
        assert post(served, encoded(*speech(seconds=2)), format="aiff").status_code == 200


@pytest.mark.slow
def test_slow_uploads_give_way_to_others():
    """Two clients above the least rate hold all places, as long as nobody waits for one."""
    limits = {"stall_seconds": 1, "min_upload_rate": 1, "upload_wait_seconds": DEADLINE}
    with (
        serving(max_uploads=2, **limits) as served,
        dribbling(served, "10.0.0.1", 10, 0.2) as first,
        dribbling(served, "10.0.0.2", 1000, 0.2) as second,
    ):
        wait_until(lambda: len(served.state.uploads) == 2)
        assert post(served, encoded(*speech(seconds=0.1))).status_code == 200
        assert first.recv(4096).startswith(b"HTTP/1.1 408")  # the slowest goes first
        second.settimeout(0.1)
        with pytest.raises(TimeoutError):
            second.recv(4096)


@pytest.mark.slow
def test_who_waits_outlasts_the_slow():
    """A client that has only just begun to dribble goes before the wait for its place ends."""
    limits = {"stall_seconds": DEADLINE, "min_upload_rate": 1, "upload_wait_seconds": 6}
    with (
        serving(max_uploads=2, **limits) as served,
        dribbling(served, "10.0.0.1", 10, 0.2),
        dribbling(served, "10.0.0.2", 10, 0.2),
    ):
        wait_until(lambda: len(served.state.uploads) == 2)
        assert post(served, encoded(*speech(seconds=0.1))).status_code == 200


def test_a_free_place_goes_to_the_client_that_has_the_fewest():
    """Somebody with many uploads at once does not keep others out."""
    order = []

    class Waiting:
        def __init__(self, client):
            self.client = client
            self.pace = Pace(ServerSettings())

    async def run():
        places = UploadAdmission(ServerSettings(max_uploads=3, upload_wait_seconds=DEADLINE))
        held = [Waiting("bulk") for _ in range(3)]
        for each in held:
            await places.take(each)

        async def upload(client):
            upload = Waiting(client)
            await places.take(upload)
            order.append(client)
            held.append(upload)

        tasks = [asyncio.create_task(upload(each)) for each in ("bulk", "bulk", "one", "two")]
        await asyncio.sleep(0)
        while held:
            places.give_back(held.pop(0))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        for each in held:
            places.give_back(each)
        assert not places

    asyncio.run(run())
    assert order[:2] == ["one", "two"]
    assert sorted(order[2:]) == ["bulk", "bulk"]


@pytest.mark.slow
def test_words_of_options_in_any_case(served):
    sound = np.zeros(1600, "<i2").tobytes()
    answer = post(served, sound, format="FLAC", model="Default", raw_format="S16LE", raw_rate=16000)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/flac"


def test_no_more_uploads_than_allowed():
    with serving(max_uploads=1, upload_wait_seconds=0.1) as served, served.connect() as sock:
        head = b"POST /v1/denoise?raw_rate=8000 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        sock.sendall(head + b"Content-Length: 100000000\r\n\r\n")
        over = threading.Event()

        def keep_up():  # a slow upload would be dropped for those that wait
            while not over.wait(0.01):
                sock.sendall(bytes(1600))

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(keep_up)
            try:
                wait_until(lambda: served.state.uploads)
                answer = post(served, encoded(*speech(seconds=0.1)))
            finally:
                over.set()
            sending.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.slow
def test_uploads_need_the_token():
    wav = encoded(*speech(seconds=0.1))
    with serving(token=TOKEN) as served:
        assert post(served, wav).status_code == 401
        header = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(
            f"{served.http}/v1/denoise", content=wav, headers=header, timeout=DEADLINE
        )
        assert answer.status_code == 200


@pytest.mark.slow
def test_a_model_of_the_users_own_denoises_an_upload(monkeypatch, tmp_path):
    weights = files("sordino") / "weights"
    entry = json.loads((weights / "registry.json").read_text())["small"]
    (tmp_path / "registry.json").write_text(json.dumps({"my-office": entry}))
    (tmp_path / "small.onnx").write_bytes((weights / "small.onnx").read_bytes())
    (tmp_path / "small.md").write_text("# my-office\n")
    monkeypatch.setenv("SORDINO_MODELS", str(tmp_path))
    phone = examples.path("phone_8k").read_bytes()
    with serving() as served:
        own, small = (post(served, phone, model=model) for model in ("my-office", "small"))
    assert own.status_code == small.status_code == 200, own.text
    assert own.content == small.content


def test_workers_know_no_secrets(monkeypatch):
    monkeypatch.setenv("SORDINO_TOKEN", TOKEN)
    task = UploadTask("wav", "default", 1.0, None, 0.0, None, 1e9, 1 << 40, 1 << 31, 1)
    assert TOKEN not in json.dumps(task.environment())


@pytest.mark.slow
def test_uploads_do_not_hurt_live_streams(served):
    async def upload():
        for _ in range(2):
            answer = await asyncio.to_thread(post, served, encoded(*speech(seconds=2)))
            assert answer.status_code == 200

    async def run():
        good = asyncio.create_task(run_streams(served.ws, streams=3, seconds=2, sample_rate=16000))
        await upload()
        return await good

    assert asyncio.run(run()).lost == 0
