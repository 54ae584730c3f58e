"""Real peers over loopback: what they hear, and what happens to those who misbehave."""

import asyncio
import re
import threading

import aioice.ice
import pytest
import soundfile

import sordino
from sordino import examples
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.serve.server import Server
from sordino.serve.settings import ServerSettings
from support.fences import fenced, run
from support.webrtc_peers import (
    FRAME,
    RATE,
    SDP,
    WINDOW,
    Client,
    Flood,
    Microphone,
    aligned,
    closed,
    coded,
    echo,
    serving,
    si_sdr,
    until,
)

SECONDS = 4
PATH = "/v1/webrtc"


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """Machines differ in their addresses; all have this one."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.fixture(scope="module")
def noisy():
    return soundfile.read(examples.path("office_48k"), dtype="float32")[0][: SECONDS * RATE]


@pytest.fixture(scope="module")
def clean():
    sound = soundfile.read(examples.path("office_48k", "clean"), dtype="float32")[0]
    return sound[: SECONDS * RATE]


@pytest.mark.slow
def test_a_peer_hears_itself_as_clean_as_offline(noisy, clean, monkeypatch):
    threads = set()
    run_network = Denoiser.run_batch

    def spied(denoisers):
        threads.add(threading.current_thread())
        run_network(denoisers)

    monkeypatch.setattr(Denoiser, "run_batch", staticmethod(spied))

    async def talk():
        async with serving() as (state, http):
            heard = await echo(http, noisy)
            await until(lambda: closed(state, "closed") == 1)
            assert not state.scheduler.streams
            return heard

    heard = asyncio.run(talk())
    assert threading.main_thread() not in threads  # the event loop's
    # The same as without any network between the two ways through the codec.
    expected = aligned(coded(sordino.denoise(coded(noisy), RATE, "default")), noisy)
    assert si_sdr(expected, heard) > 40
    # Opus shifts phases, so that both are judged by speech that went through it too.
    reference = aligned(coded(coded(clean)), clean)
    before = aligned(coded(coded(noisy)), noisy)
    gain = si_sdr(reference, heard) - si_sdr(reference, before)
    offline = si_sdr(clean, sordino.denoise(noisy, RATE, "default")) - si_sdr(clean, noisy)
    assert offline > 8
    assert gain > offline - 1


@pytest.mark.slow
def test_strength_is_given_at_the_start_and_turned_while_it_runs(noisy):
    async def talk():
        async with serving() as (state, http):
            client = Client(Microphone(noisy))
            client.microphone.pace = lambda: len(client.heard) + WINDOW
            await client.connect(http, strength=0)
            await until(lambda: client.has_heard(1.5))
            response = await http.put(f"{client.location}/strength", params={"value": 1})
            assert response.status_code == 204
            (stream,) = state.scheduler.streams
            assert stream.strength == 1
            for value in (-1, 2, "nan", "all"):
                response = await http.put(f"{client.location}/strength", params={"value": value})
                assert response.status_code == 400
            assert stream.strength == 1
            await until(lambda: client.has_heard(SECONDS + 0.5))
            await client.close()
            return client.sound

    untouched = coded(coded(noisy))
    cleaned = coded(sordino.denoise(coded(noisy), RATE, "default"))
    heard = aligned(asyncio.run(talk()), untouched)
    before, after = slice(0, RATE), slice(3 * RATE, 4 * RATE - 2 * FRAME)
    assert si_sdr(untouched[before], heard[before]) > 30
    assert si_sdr(cleaned[after], heard[after]) > 20


async def offered():
    """Return an offer as browsers make them."""
    client = Client(Microphone())
    sdp = await client.offer()
    await client.close()
    return sdp


BAD_OFFERS = {
    "nothing": ("^(.|\n)*$", "", "one audio track"),
    "prose": ("^(.|\n)*$", "m=hello", "not an SDP offer"),
    "video": ("m=audio", "m=video", "one audio track"),
    "two tracks": ("(m=audio(.|\n)*)", r"\1\1", "one audio track"),
    "a rejected track": ("m=audio [0-9]+", "m=audio 0", "one audio track"),
    "a huge number": ("m=audio [0-9]+", "m=audio " + "9" * 5000, "not an SDP offer"),
    "no opus": ("(?i)opus", "speex", "Opus"),
    "no credentials": ("a=ice-pwd:.*", "", "ice-pwd"),
    "no fingerprint": ("a=fingerprint:.*", "", "fingerprint"),
    "no role": ("a=setup:.*", "", "fingerprint"),
    "no multiplexing": ("a=rtcp-mux", "", "rtcp-mux"),
    "only listening": ("a=sendrecv", "a=recvonly", "sendrecv"),
    "half a candidate": ("a=candidate:.*", "a=candidate:1 1 udp", "not an SDP offer"),
    "no such port": (r"(a=candidate:.* )[0-9]+( typ)", r"\g<1>65536\2", "a port"),
    "many candidates": ("(a=candidate:.*\n)", r"\1" * 33, "more than 32"),
}


@pytest.mark.parametrize("name", BAD_OFFERS)
def test_a_bad_offer_is_refused_in_one_line_and_leaves_nothing(name):
    old, new, message = BAD_OFFERS[name]

    async def talk():
        async with serving() as (state, http):
            sdp = re.sub(old, new, await offered())
            response = await http.post(PATH, content=sdp, headers=SDP)
            assert not state.scheduler.streams
            return response

    response = asyncio.run(talk())
    assert response.status_code == 400
    assert response.json()["code"] == "bad_offer"
    assert message in response.json()["message"]
    assert "\n" not in response.json()["message"]


def test_what_is_no_offer_is_refused_before_it_is_read():
    async def talk():
        async with serving() as (_, http):
            sdp = await offered()
            yield await http.post(PATH, json={"sdp": sdp}), 415, "unsupported_media"
            yield await http.post(PATH, content="v=0" * 11000, headers=SDP), 413, "too_large"
            # Lines that the parser would compare with each other.
            for lines in ("a=x\r\n" * 200, "a=x\x0b" * 200, "a=rtpmap:96 opus/48000/2\n" * 30):
                response = await http.post(PATH, content=sdp + lines, headers=SDP)
                yield response, 413, "too_large"
            for params, status, code in [
                ({"model": "best"}, 404, "unknown_model"),
                ({"model": "../default"}, 404, "unknown_model"),
                ({"model": "poc-unet"}, 404, "unknown_model"),
                ({"strength": 2}, 400, "bad_request"),
                ({"strength": "nan"}, 400, "bad_request"),
            ]:
                response = await http.post(PATH, content=sdp, headers=SDP, params=params)
                yield response, status, code

    async def check():
        async for response, status, code in talk():
            assert (response.status_code, response.json()["code"]) == (status, code)

    asyncio.run(check())


def test_one_peer_too_many_is_told_to_come_back():
    async def talk():
        async with serving(max_streams=1) as (state, http):
            first = await Client(Microphone()).connect(http)
            refused = await http.post(PATH, content=await offered(), headers=SDP)
            assert refused.status_code == 503
            assert refused.json()["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) > 0
            assert (await http.delete(first.location)).status_code == 204
            second = await Client(Microphone()).connect(http)
            assert len(state.scheduler.streams) == 1
            await first.close()
            await second.close()

    asyncio.run(talk())


def test_a_session_ends_at_once_when_it_is_deleted():
    async def talk():
        async with serving() as (state, http):
            client = await Client(Microphone()).connect(http)
            await until(lambda: client.has_heard(0.1))
            assert (await http.delete(client.location)).status_code == 204
            assert not state.scheduler.streams
            for again in (client.location, "/v1/webrtc/sessions/unknown"):
                response = await http.delete(again)
                assert response.status_code == 404
                assert response.json()["code"] == "not_found"
            await until(lambda: client.pc.connectionState == "closed")
            await client.close()

    asyncio.run(talk())


@pytest.mark.slow
def test_peers_that_leave_or_vanish_give_their_place_back():
    async def talk():
        async with serving(idle_seconds=1) as (state, http):
            leaving = await Client(Microphone()).connect(http)
            vanishing = await Client(Microphone()).connect(http)
            silent = await Client(None).connect(http)  # connected, but sends no sound
            assert len(state.scheduler.streams) == 3
            await leaving.close()
            await vanishing.vanish()
            await until(lambda: (closed(state, "closed"), closed(state, "timeout")) == (1, 2))
            assert not state.scheduler.streams
            await vanishing.close()
            await silent.close()

    asyncio.run(talk())


def test_a_peer_that_never_connects_gives_its_place_back(monkeypatch):
    monkeypatch.setattr("sordino.serve.peer_connection.CONNECT_SECONDS", 0.2)

    async def talk():
        async with serving() as (state, http):
            response = await http.post(PATH, content=await offered(), headers=SDP)
            assert response.status_code == 201
            assert len(state.scheduler.streams) == 1
            await until(lambda: closed(state, "timeout") == 1)
            assert not state.scheduler.streams

    asyncio.run(talk())


def test_a_client_that_names_no_address_is_found_by_its_first_packet():
    async def talk():
        async with serving() as (_, http):
            client = Client(Microphone())
            bare = re.sub("a=(candidate|end-of-candidates).*\r\n", "", await client.offer())
            await client.accept(await http.post(PATH, content=bare, headers=SDP))
            await until(lambda: client.has_heard(0.1))
            await client.close()

    asyncio.run(talk())


@pytest.mark.parametrize("url", ["stun:", "http://example.org", "turn:example.org", "stun:a b"])
def test_a_stun_server_is_one(url):
    with pytest.raises(SordinoError, match="no STUN server"):
        ServerSettings(stun_servers=(url,))


def test_candidates_may_come_later():
    """WHIP clients trickle: the offer has no address, and each follows as it is found."""

    async def talk():
        async with serving() as (_, http):
            client = Client(Microphone())
            sdp = await client.offer()
            candidates = re.findall("a=candidate:.*\r\n", sdp)
            assert candidates
            bare = re.sub("a=(candidate|end-of-candidates).*\r\n", "", sdp)
            response = await http.post(PATH, content=bare, headers=SDP)
            location = response.headers["location"]
            await client.pc.setRemoteDescription(
                client.pc.remoteDescription
                or type(client.pc.localDescription)(response.text, "answer")
            )
            fragment = "a=ice-ufrag:x\r\na=mid:0\r\n" + "".join(candidates)
            headers = {"Content-Type": "application/trickle-ice-sdpfrag"}

            async def trickle(content, headers=headers):
                response = await http.patch(location, content=content, headers=headers)
                return response.status_code

            etag = {"If-Match": response.headers["etag"]}
            assert await trickle(fragment, {**headers, **etag}) == 204
            assert await trickle(fragment, {**headers, "If-Match": '"other"'}) == 412
            restart = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
            assert await trickle(restart, {**headers, "If-Match": "*"}) == 422
            assert await trickle(restart) == 422
            assert await trickle("a=end-of-candidates\r\n") == 204
            await until(lambda: client.has_heard(0.1))
            assert await trickle(fragment, SDP) == 415
            assert await trickle("a=candidate:1 1 udp") == 400
            assert await trickle(candidates[0] * 40) == 400
            assert await trickle(b"\xff" * 40000) == 413
            await client.close()

    asyncio.run(talk())


@pytest.mark.slow
def test_a_peer_faster_than_real_time_is_ended_and_the_others_are_not(noisy, monkeypatch):
    monkeypatch.setattr("sordino.serve.tracks.MAX_AHEAD_SECONDS", 2.0)

    async def talk():
        async with serving() as (state, http):
            other = await Client(Microphone(noisy)).connect(http)
            flood = await Client(Flood()).connect(http)
            await until(lambda: closed(state, "too_fast") == 1)
            heard = len(other.heard)
            await until(lambda: len(other.heard) > heard + 10)
            assert len(state.scheduler.streams) == 1
            await flood.close()
            await other.close()

    asyncio.run(talk())


@pytest.mark.slow
def test_lost_packets_leave_silence_and_no_shift(noisy, monkeypatch):
    async def talk():
        async with serving() as (_, http):
            client = Client(Microphone(noisy))
            client.microphone.pace = lambda: len(client.heard) + WINDOW
            transport = client.pc.getTransceivers()[0].sender.transport
            send, packets = transport._send_rtp, []

            async def lossy(data):
                packets.append(data)
                if len(packets) % 50 != 25:
                    await send(data)

            monkeypatch.setattr(transport, "_send_rtp", lossy)
            await client.connect(http, strength=0)
            await until(lambda: client.has_heard(SECONDS + 0.5))
            await client.close()
            return client.sound

    heard = aligned(asyncio.run(talk()), noisy)
    expected = aligned(coded(coded(noisy)), noisy)
    # After the last loss but one everything still lies where it belongs.
    tail = slice(len(noisy) - RATE // 4, len(noisy) - FRAME)
    assert si_sdr(expected[tail], heard[tail]) > 20


def test_the_token_is_wanted_here_too():
    token = "a token that nobody guesses"

    async def talk():
        async with serving(token=token) as (state, http):
            sdp = await offered()
            for wrong in ({}, {"Authorization": "Bearer wrong"}):
                response = await http.post(PATH, content=sdp, headers={**SDP, **wrong})
                assert response.status_code == 401
            response = await http.post(
                PATH, content=sdp, headers={**SDP, "Origin": "https://evil.example"}
            )
            assert response.status_code == 403
            right = {"Authorization": f"Bearer {token}"}
            response = await http.post(PATH, content=sdp, headers={**SDP, **right})
            location = response.headers["location"]
            assert (await http.delete(location)).status_code == 401
            assert len(state.scheduler.streams) == 1
            assert (await http.delete(location, headers=right)).status_code == 204

    asyncio.run(talk())


@pytest.mark.slow
def test_peers_are_ended_when_the_server_ends():
    async def talk():
        async with serving() as (state, http):
            draining = await Client(Microphone()).connect(http)
            await until(lambda: draining.has_heard(0.1))
            state.scheduler.drain(0.1)
            await until(lambda: closed(state, "draining") == 1)
            response = await http.post(PATH, content=await offered(), headers=SDP)
            assert (response.status_code, response.json()["code"]) == (503, "draining")
        async with serving() as (state, http):
            left = await Client(Microphone()).connect(http)
            await until(lambda: left.has_heard(0.1))
        for client in (draining, left):
            await until(lambda: client.pc.connectionState == "closed")  # noqa: B023
            await client.close()

    asyncio.run(talk())


def test_a_session_has_an_end(monkeypatch):
    monkeypatch.setattr("sordino.serve.peer_connection.TICK_SECONDS", 0.05)

    async def talk():
        async with serving(max_stream_seconds=0.3) as (state, http):
            client = await Client(Microphone()).connect(http)
            await until(lambda: closed(state, "too_long") == 1)
            await client.close()

    asyncio.run(talk())


@pytest.mark.slow
def test_the_quick_start_runs(noisy, tmp_path):
    """The documented client against a whole server, over TCP, in real time."""
    (code,) = fenced("how-to/webrtc", "python")
    clean = run(code)["clean"]
    before, after = tmp_path / "noisy.wav", tmp_path / "clean.wav"
    soundfile.write(before, noisy, RATE)

    async def talk():
        server = Server(ServerSettings(port=0, calibrate=False), log_level="warning")
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        for seconds in (2.5, 6, 15, 40):  # a busy machine takes its time to connect
            await clean(f"http://{server.address}", str(before), str(after), seconds)
            if soundfile.info(after).frames > RATE:
                break
        server.should_exit = True
        await serving

    asyncio.run(talk())
    heard = soundfile.read(after, dtype="float32")[0].mean(axis=1)
    assert len(heard) > RATE
    expected = coded(sordino.denoise(coded(noisy), RATE, "default"))[:RATE]
    assert si_sdr(expected, aligned(heard, expected)) > 20
