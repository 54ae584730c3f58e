"""Voices over the network: kept for one stream or request, never logged, never kept."""

import asyncio
import gc
import io
import json
import subprocess
import sys
from base64 import b64encode

import aioice.ice
import httpx
import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect as connect_sync

from sordino.denoiser import denoise
from sordino.serve import worker
from sordino.serve.client import StreamError, connect
from sordino.serve.worker import ENROL, UploadTask
from sordino.voice import Voice, VoiceChoice
from sordino.voice.encoder import VoiceEncoder
from sordino.voice.stream import VoiceStream
from support import models
from support import webrtc_peers as peers
from support.served import DEADLINE, serving, wait_until
from support.signals import agreement_db, level_db, tone
from support.voices import TiltEncoder, packaged_voice_model, recordings

RATE = 16000
LOW, HIGH = tone(300, RATE, 1, 0.3), tone(3000, RATE, 1, 0.3)
ME, ANNA = models.voice(0, "me"), models.voice(1, "anna")


@pytest.fixture(scope="module", autouse=True)
def _packaged(tmp_path_factory):
    with packaged_voice_model(tmp_path_factory.mktemp("weights")):
        yield


@pytest.fixture(scope="module")
def served():
    with serving() as running:
        yield running


def through(served, sound, **options):
    with connect(served.ws, RATE, **options) as stream:
        blocks = [stream.process(sound[i : i + 1600]) for i in range(0, len(sound), 1600)]
        return np.concatenate([*blocks, stream.flush()])


@pytest.mark.parametrize("voice", [ME, [ME], [ME, ANNA]])
def test_a_stream_keeps_the_voices_of_its_hello(served, voice):
    expected = denoise(LOW + HIGH, RATE, models.voices_model(), voice=voice)
    assert agreement_db(expected, through(served, LOW + HIGH, voice=voice)) > 90


def test_others_and_the_fallback_are_those_of_the_hello(served):
    left = through(served, HIGH, voice=ME, others=20.0, voice_fallback=None)
    assert level_db(left[1600:]) - level_db(HIGH) == pytest.approx(-20, abs=0.3)


@pytest.mark.slow
def test_the_client_is_told_whether_its_voice_is_heard(served):
    with connect(served.ws, RATE, voice=ME, voice_fallback=1.0) as stream:
        for _ in range(20):
            stream.process(HIGH[:1600])
        while "voice_missing" not in stream.statistics or stream.statistics["seconds"] < 2:
            stream.process(HIGH[:160])
        assert stream.statistics["voice_missing"]
        assert stream.statistics["voice"] < 0.1


@pytest.mark.parametrize(
    "fields",
    [
        {"voice": "somebody"},
        {"voice": 7},
        {"voice": ["x"]},
        {"voice": {"a": 1}},
        {"voice": f"tilt:{b64encode(bytes(768)).decode()}"},
        {"voice": [ME.to_text(), ME.to_text().replace("tilt", "other")]},
        {"others": -1},
        {"others": True},
        {"voice_fallback": 0},
        {"voice": ME.to_text(), "model": "small"},
    ],
)
def test_wrong_voices_are_refused_without_repeating_them(served, fields):
    with connect_sync(f"{served.ws}/v1/stream") as connection:
        connection.send(json.dumps({"type": "hello", "rate": RATE, **fields}))
        error = json.loads(connection.recv(DEADLINE))
    assert error["code"] == "bad_request"
    assert len(error["message"]) < 200


def test_a_server_with_voices_keeps_them_for_who_sends_none():
    with serving(voices=VoiceChoice((ME,), 40.0, None)) as served:
        assert agreement_db(LOW[1600:], through(served, LOW + HIGH)[1600:]) > 30
        universal = denoise(LOW + HIGH, RATE, "default")
        assert agreement_db(universal, through(served, LOW + HIGH, voice=[])) > 90
        assert agreement_db(HIGH[1600:], through(served, LOW + HIGH, voice=ANNA)[1600:]) > 30
        with pytest.raises(StreamError, match="not trained to keep"):
            through(served, LOW, model="small")


def test_a_webrtc_peer_keeps_the_voice_of_its_header(monkeypatch):
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    low, high = tone(300, peers.RATE, 2, 0.3), tone(3000, peers.RATE, 2, 0.3)

    async def talk():
        async with peers.serving() as (_, http):
            client = peers.Client(peers.Microphone(low + high))
            client.microphone.pace = lambda: len(client.heard) + peers.WINDOW
            wrong = {**peers.SDP, "Sordino-Voice": "somebody"}
            refused = await http.post("/v1/webrtc", content=await client.offer(), headers=wrong)
            assert refused.json()["code"] == "bad_request"
            headers = {**peers.SDP, "Sordino-Voice": ME.to_text()}
            answer = await http.post("/v1/webrtc", content=await client.offer(), headers=headers)
            await client.accept(answer)
            await peers.until(lambda: client.has_heard(2.5))
            await client.close()
            return client.sound

    heard = peers.aligned(asyncio.run(talk()), low)[peers.RATE // 2 : -peers.RATE // 2]
    powers = np.abs(np.fft.rfft(heard)) ** 2
    split = len(heard) * 1000 // peers.RATE
    assert 10 * np.log10(powers[:split].sum() / powers[split:].sum()) > 20


def task(**changed):
    limits = {"max_sound_seconds": 600, "max_output_bytes": 1 << 24, "memory_bytes": 2 << 30}
    given = {
        "extension": "wav", "model": "default", "strength": 1.0, "attenuation_limit_db": None,
        "warm_up": 0.0, "raw": None, "cpu_seconds": 60, **limits, **changed,
    }  # fmt: skip
    return UploadTask.from_json(UploadTask(**given).to_json())


def test_an_upload_keeps_the_voices_of_its_header():
    """In this process: the worker's own knows no model of a test."""
    noisy, clean = io.BytesIO(), io.BytesIO()
    soundfile.write(noisy, LOW + HIGH, RATE, format="wav", subtype="FLOAT")
    noisy.seek(0)
    worker._denoise(task(voices=(ME.to_text(),), voice_fallback=6.0), noisy, clean)
    clean.seek(0)
    left = soundfile.read(clean, dtype="float32")[0]
    expected = denoise(LOW + HIGH, RATE, models.voices_model(), voice=ME)
    assert agreement_db(expected, left) > 80


def test_a_recording_becomes_a_profile_and_nothing_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(VoiceEncoder, "load", TiltEncoder)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = io.BytesIO()
    with recordings("allison", 1)[0].open("rb") as recording:
        worker._enrol(task(extension=ENROL), recording, answer)
    values = json.loads(answer.getvalue())
    voice = Voice.from_text(values["voice"])
    assert voice.similarity(models.voice(1)) > 0.99
    assert (values["encoder"], voice.encoder) == ("tilt", "tilt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_cannot_be_enrolled_is_told(served):
    answer = httpx.post(f"{served.http}/v1/voices", content=b"no sound at all", timeout=DEADLINE)
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable_media")
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(RATE), RATE, format="wav")
    answer = httpx.post(f"{served.http}/v1/voices", content=silence.getvalue(), timeout=DEADLINE)
    assert answer.status_code == 422
    assert "/" not in answer.json()["message"]


@pytest.mark.parametrize("header", ["somebody", "tilt:AAAA", f"{ME.to_text()},x"])
def test_wrong_headers_are_refused_without_repeating_them(served, header):
    answer = httpx.post(
        f"{served.http}/v1/denoise", content=b"x", headers={"Sordino-Voice": header}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert header not in answer.text


@pytest.mark.slow
def test_no_voice_stays_in_the_server():
    with serving() as served:
        through(served, LOW, voice=ME)
        with pytest.raises(StreamError):
            through(served, LOW, voice=ME, model="small")
        assert ME.to_text()[-40:] not in served.state.metrics.text().decode()

        def kept():
            gc.collect()
            return any(type(each) is VoiceStream for each in gc.get_objects())

        wait_until(lambda: not kept())


@pytest.mark.slow
def test_no_voice_is_logged():
    """By the server as people start it, with a line for each request."""
    command = [sys.executable, "-m", "sordino", "serve", "--port=0"]
    with subprocess.Popen(
        [*command, "--verbose"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            lines = [process.stdout.readline()]
            while "Sordino is at" not in lines[-1]:
                lines.append(process.stdout.readline())
            url = lines[-1].split()[3].rstrip("/")
            for path in ("denoise", "webrtc"):
                httpx.post(
                    f"{url}/v1/{path}",
                    content=b"x",
                    headers={"Content-Type": "application/sdp", "Sordino-Voice": ME.to_text()},
                    timeout=DEADLINE,
                )
            with connect_sync(url.replace("http", "ws") + "/v1/stream") as connection:
                connection.send(json.dumps({"type": "hello", "voice": ME.to_text()}))
                connection.recv(DEADLINE)
        finally:
            process.terminate()
        logged = "".join(lines) + process.stdout.read()
    assert "/v1/denoise" in logged
    assert "/v1/webrtc" in logged
    assert ME.to_text()[-40:] not in logged
