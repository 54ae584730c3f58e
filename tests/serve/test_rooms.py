"""Rooms with real peers: one speaks, all hear it clean, and all come and go as they like."""

import asyncio

import aioice.ice
import numpy as np
import pytest
import soundfile

import sordino
from sordino import examples
from sordino.serve.tracks import FRAME, MAX_QUEUED_FRAMES, CleanTrack
from support.webrtc_peers import (
    RATE,
    SDP,
    WINDOW,
    Client,
    Microphone,
    aligned,
    closed,
    coded,
    serving,
    si_sdr,
    until,
)

WHIP, WHEP = "/v1/webrtc/rooms/stage/whip", "/v1/webrtc/rooms/stage/whep"
SECONDS = 3


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """Machines differ in their addresses; all have this one."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.fixture(scope="module")
def noisy():
    return soundfile.read(examples.path("office_48k"), dtype="float32")[0][: SECONDS * RATE]


def viewer():
    return Client(direction="recvonly")


def publisher(sound=(), viewers=()):
    """Return a publisher who goes no faster than the viewers hear, or by the clock."""
    microphone = Microphone(sound)
    if viewers:
        microphone.pace = lambda: min(len(each.heard) for each in viewers) + WINDOW
    return Client(microphone, "sendonly")


async def leave(*clients):
    for client in clients:
        await client.close()


@pytest.mark.slow
def test_everybody_in_a_room_hears_the_clean_voice(noisy):
    """Here the viewers come before the publisher; their connection just waits."""

    async def meet():
        async with serving() as (state, http):
            viewers = [await viewer().connect(http, WHEP) for _ in range(3)]
            elsewhere = await viewer().connect(http, WHEP.replace("stage", "other"))
            speaker = await publisher(noisy, viewers).connect(http, WHIP)
            for each in viewers:
                await until(lambda: each.has_heard(SECONDS + 0.3))  # noqa: B023
            assert len(state.scheduler.streams) == 1  # cleaned once for all
            assert not speaker.heard
            assert not elsewhere.heard
            await leave(speaker, elsewhere, *viewers)
            await until(lambda: closed(state, "closed") == 5)
            return [each.sound for each in viewers]

    expected = coded(sordino.denoise(coded(noisy), RATE, "default"))[: SECONDS * RATE - FRAME]
    for heard in asyncio.run(meet()):
        assert si_sdr(expected, aligned(heard, expected)) > 30


@pytest.mark.slow
def test_publishers_come_and_go_and_the_viewers_stay(noisy):
    async def meet():
        async with serving() as (state, http):
            first = await publisher().connect(http, WHIP)
            listener = await viewer().connect(http, WHEP)
            await until(lambda: listener.has_heard(0.2))
            assert (await http.delete(first.location)).status_code == 204
            assert not state.scheduler.streams
            heard = len(listener.heard)
            second = await publisher(noisy).connect(http, WHIP)
            await until(lambda: len(listener.heard) > heard + 20)
            assert listener.pc.connectionState == "connected"
            await leave(first, second, listener)

    asyncio.run(meet())


@pytest.mark.slow
def test_a_room_has_one_publisher_unless_it_has_fallen_silent(monkeypatch):
    async def meet():
        async with serving() as (state, http):
            first = await publisher().connect(http, WHIP)
            listener = await viewer().connect(http, WHEP)
            await until(lambda: listener.has_heard(0.2))
            second = publisher()
            offer = await second.offer()
            response = await http.post(WHIP, content=offer, headers=SDP)
            assert (response.status_code, response.json()["code"]) == (409, "room_taken")
            assert len(state.scheduler.streams) == 1
            await first.vanish()
            monkeypatch.setattr("sordino.serve.webrtc.STALLED_SECONDS", 0.3)
            async with asyncio.timeout(30):
                while response.status_code == 409:
                    await asyncio.sleep(0.05)
                    response = await http.post(WHIP, content=offer, headers=SDP)
            assert response.status_code == 201
            heard = len(listener.heard)
            await second.accept(response)
            await until(lambda: len(listener.heard) > heard + 20)
            await until(lambda: len(state.scheduler.streams) == 1)  # the silent one has gone
            await leave(first, second, listener)

    asyncio.run(meet())


@pytest.mark.slow
def test_a_viewer_who_vanishes_leaves_the_others_in_peace():
    async def meet():
        async with serving() as (_, http):
            speaker = await publisher().connect(http, WHIP)
            gone, staying = [await viewer().connect(http, WHEP) for _ in range(2)]
            await until(lambda: gone.has_heard(0.2) and staying.has_heard(0.2))
            await gone.vanish()
            heard = len(staying.heard)
            await until(lambda: len(staying.heard) > heard + 20)
            await leave(speaker, gone, staying)

    asyncio.run(meet())


def test_a_viewer_with_nothing_to_hear_is_let_go_in_the_end():
    async def meet():
        async with serving(idle_seconds=0.3) as (state, http):
            listener = await viewer().connect(http, WHEP)
            await until(lambda: closed(state, "timeout") == 1)
            await until(lambda: listener.pc.connectionState == "closed")
            await leave(listener)

    asyncio.run(meet())


def test_one_viewer_too_many_is_told_to_come_back(monkeypatch):
    monkeypatch.setattr("sordino.serve.webrtc.MAX_VIEWERS", 1)

    async def meet():
        async with serving() as (_, http):
            first = await viewer().connect(http, WHEP)
            second = viewer()
            response = await http.post(WHEP, content=await second.offer(), headers=SDP)
            assert (response.status_code, response.json()["code"]) == (503, "overloaded")
            assert int(response.headers["retry-after"]) > 0
            await leave(first)
            async with asyncio.timeout(30):
                while response.status_code == 503:
                    await asyncio.sleep(0.02)
                    response = await http.post(WHEP, content=await second.offer(), headers=SDP)
            assert response.status_code == 201
            await leave(second)

    asyncio.run(meet())


def test_viewers_need_no_place_in_the_engine():
    async def meet():
        async with serving(max_streams=1) as (_, http):
            clients = [await publisher().connect(http, WHIP)]
            clients += [await viewer().connect(http, WHEP) for _ in range(2)]
            other = publisher()
            response = await http.post(
                WHIP.replace("stage", "other"), content=await other.offer(), headers=SDP
            )
            assert (response.status_code, response.json()["code"]) == (503, "overloaded")
            await leave(*clients, other)

    asyncio.run(meet())


@pytest.mark.parametrize(
    ("path", "make", "word"),
    [(WHIP, viewer, "sendonly"), (WHEP, publisher, "recvonly")],
    ids=["a publisher who listens", "a viewer who speaks"],
)
def test_the_direction_must_fit(path, make, word):
    async def meet():
        async with serving() as (state, http):
            client = make()
            response = await http.post(path, content=await client.offer(), headers=SDP)
            assert (response.status_code, response.json()["code"]) == (400, "bad_offer")
            assert word in response.json()["message"]
            assert not state.scheduler.streams
            await leave(client)

    asyncio.run(meet())


@pytest.mark.parametrize("name", ["a b", "%2e%2e", "ä", "x" * 65, "%2Fetc%2Fpasswd", "a.b"])
def test_a_room_has_a_plain_name(name):
    async def meet():
        async with serving() as (_, http):
            response = await http.post(WHIP.replace("stage", name), content="", headers=SDP)
            assert response.status_code in (400, 404, 405)

    asyncio.run(meet())


def test_a_viewer_only_listens_and_a_session_of_its_own_has_no_strength():
    async def meet():
        async with serving() as (_, http):
            listener = await viewer().connect(http, WHEP)
            response = await http.put(f"{listener.location}/strength", params={"value": 1})
            assert response.status_code == 404
            await leave(listener)

    asyncio.run(meet())


def test_what_nobody_takes_is_not_kept():
    """A viewer who cannot keep up hears what is new, not what is old."""

    async def feed():
        track = CleanTrack()
        numbers = np.repeat(np.arange(100), FRAME).astype(np.float32) / 32768
        for block in np.array_split(numbers, 7):
            track.feed(block)
        frames = [await track.recv() for _ in range(MAX_QUEUED_FRAMES)]
        assert [int(frame.to_ndarray()[0, 0]) for frame in frames] == list(range(75, 100))
        assert [frame.pts // FRAME for frame in frames] == list(range(75, 100))

    asyncio.run(feed())


def test_time_stamps_jump_as_the_clock_does_in_a_pause(monkeypatch):
    async def feed():
        clock = [0.0]
        monkeypatch.setattr("sordino.serve.tracks.perf_counter", lambda: clock[0])
        track = CleanTrack()
        stamps = []
        for now in (0.02, 0.04, 5.04, 5.06):
            clock[0] = now
            track.feed(np.zeros(FRAME, np.float32))
            stamps.append((await track.recv()).pts)
        assert stamps == [0, FRAME, 2 * FRAME + 5 * RATE, 3 * FRAME + 5 * RATE]

    asyncio.run(feed())
