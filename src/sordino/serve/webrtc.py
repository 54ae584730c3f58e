"""`/v1/webrtc`: a microphone in and the clean audio out, for one client or for a room.

Signalling follows WHIP (RFC 9725) and WHEP: the offer is POSTed as application/sdp, the answer
comes back with the URL of the session, PATCH adds ICE candidates, DELETE ends it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.serve.dependencies import State, Voices
from sordino.serve.errors import Draining, Overloaded, Refusal
from sordino.serve.peer_connection import (
    Direction,
    Offer,
    PeerConnection,
    Work,
    read_offer,
)
from sordino.serve.tracks import RATE, CleanTrack, Receiver
from sordino.voice import VoiceChoice

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_VIEWERS = 100  # of one server; each costs an Opus encoder and a connection
STALLED_SECONDS = 5.0  # without audio; then a publisher may be replaced

Model = Annotated[str, Query(description="A live model from GET /v1/models")]
Strength = Annotated[float, Query(ge=0, le=1, description="Share of the noise to remove")]
RoomName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Any name")]
SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The offer cannot be used"},
    413: {"description": "The body is too large"},
    415: {"description": "The body has another type"},
}
_ANSWER: dict[str, Any] = {
    "status_code": 201,
    "response_class": Response,
    "responses": {
        201: {
            "description": "The answer; Location is the URL of the session",
            "content": {SDP: {"schema": {"type": "string"}}},
            "headers": {
                "Location": {"schema": {"type": "string"}},
                "ETag": {"schema": {"type": "string"}},
            },
        },
        **_REFUSALS,
        503: {"description": "There is no place; see Retry-After"},
    },
    "openapi_extra": {
        "requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}
    },
}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    sessions = app.state.webrtc = Sessions(app.state.sordino)
    yield
    await sessions.close()


router = APIRouter(prefix="/v1/webrtc", tags=["webrtc"], lifespan=_lifespan)


@router.post("", summary="Send a microphone, receive it clean", **_ANSWER)
async def clean(
    request: Request, voices: Voices, model: Model = "default", strength: Strength = 1.0
) -> Response:
    """Take an offer of one audio track that is sendrecv."""
    offer = await _offer(request)
    answer = await _sessions(request).clean(offer, model.lower(), strength, voices)
    return _respond(request, answer)


@router.post("/rooms/{room}/whip", summary="Publish into a room", **_ANSWER)
async def publish(
    request: Request,
    room: RoomName,
    voices: Voices,
    model: Model = "default",
    strength: Strength = 1.0,
) -> Response:
    """Take a WHIP offer; viewers of the room hear the clean audio."""
    offer = await _offer(request)
    answer = await _sessions(request).publish(room, offer, model.lower(), strength, voices)
    return _respond(request, answer)


@router.post("/rooms/{room}/whep", summary="Listen to a room", **_ANSWER)
async def view(request: Request, room: RoomName) -> Response:
    """Take a WHEP offer; it may come before there is a publisher."""
    offer = await _offer(request)
    return _respond(request, await _sessions(request).view(room, offer))


@router.patch(
    "/sessions/{session}",
    summary="Add ICE candidates",
    status_code=204,
    responses={
        **_REFUSALS,
        404: {"description": "There is no such session"},
        412: {"description": "If-Match names another ICE session"},
        422: {"description": "An ICE restart, which is not supported"},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {SDP_FRAGMENT: {"schema": {"type": "string"}}}}
    },
)
async def trickle(request: Request, session: SessionId) -> Response:
    """Take a trickle-ICE fragment (RFC 8840)."""
    body = await _body(request, SDP_FRAGMENT)
    peer = _sessions(request).find(session)
    match = request.headers.get("if-match", "*")
    if match.strip() != "*" and peer.etag not in [each.strip() for each in match.split(",")]:
        raise Refusal(412, "wrong_etag", f"the ICE session is {peer.etag}: send it as If-Match")
    await peer.trickle(body)
    return Response(status_code=204, headers={"ETag": peer.etag})


@router.put(
    "/sessions/{session}/strength",
    summary="Set the strength",
    status_code=204,
    responses={404: {"description": "There is no such session, or nothing is cleaned in it"}},
)
async def set_strength(request: Request, session: SessionId, value: Strength) -> None:
    """Change the share of the noise that is taken, from the next 10 ms on."""
    stream = _sessions(request).find(session).stream
    if stream is None:
        raise Refusal(404, "not_found", "this session only listens")
    stream.strength = value


@router.delete(
    "/sessions/{session}",
    summary="End a session",
    status_code=204,
    responses={404: {"description": "There is no such session"}},
)
async def end(request: Request, session: SessionId) -> None:
    """End a session; its URL is gone at once."""
    await _sessions(request).find(session).close()


@router.options("", include_in_schema=False)
@router.options("/rooms/{room}/whip", include_in_schema=False)
@router.options("/rooms/{room}/whep", include_in_schema=False)
async def offer_options() -> Response:
    """Say what may be POSTed, as WHIP asks for."""
    return Response(status_code=204, headers={"Allow": "OPTIONS, POST", "Accept-Post": SDP})


@router.options("/sessions/{session}", include_in_schema=False)
async def session_options() -> Response:
    """Say what may be PATCHed."""
    headers = {"Allow": "DELETE, OPTIONS, PATCH", "Accept-Patch": SDP_FRAGMENT}
    return Response(status_code=204, headers=headers)


class Answer(NamedTuple):
    """What a client gets for its offer."""

    peer: PeerConnection
    sdp: str


@dataclass
class Room:
    """A publisher and its viewers.  Either may come first, and leave and come again."""

    publisher: PeerConnection | None = None
    viewers: dict[PeerConnection, CleanTrack] = field(
        default_factory=dict[PeerConnection, CleanTrack]
    )
    heard_at: float = 0.0  # when the publisher's audio came last, or the publisher

    def deliver(self, sound: NDArray[np.float32]) -> None:
        """Send clean audio to every viewer.

        Shape: (samples,).
        """
        self.heard_at = perf_counter()
        for track in self.viewers.values():
            track.feed(sound)


class Rooms:
    """The rooms of one server by name; a room exists as long as anyone is in it."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def publish(self, name: str, peer: PeerConnection) -> Room:
        """Add a publisher; one whose audio has stalled is replaced.

        Raises:
            Refusal: the room has a publisher.
        """
        room = self._rooms.get(name, Room())
        if room.publisher is not None:
            if perf_counter() - room.heard_at < STALLED_SECONDS:
                raise Refusal(409, "room_taken", f"somebody publishes in the room {name!r}")
            room.publisher.end()
        room.publisher, room.heard_at = peer, perf_counter()
        self._rooms[name] = room
        return room

    def view(self, name: str, peer: PeerConnection, track: CleanTrack) -> None:
        """Add a viewer.

        Raises:
            Overloaded: there are too many viewers.
        """
        if sum(len(room.viewers) for room in self._rooms.values()) >= MAX_VIEWERS:
            raise Overloaded(f"all {MAX_VIEWERS} places for viewers are taken")
        self._rooms.setdefault(name, Room()).viewers[peer] = track

    def leave(self, name: str, peer: PeerConnection) -> None:
        """Remove a publisher or viewer."""
        room = self._rooms[name]
        room.viewers.pop(peer, None)
        if room.publisher is peer:
            room.publisher = None
        if room.publisher is None and not room.viewers:
            self._rooms.pop(name, None)


class Sessions:
    """Opens, finds and ends the WebRTC connections of one server.

    Args:
        state: of the server.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._rooms = Rooms()
        self._peers: dict[str, PeerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def clean(self, offer: Offer, model: str, strength: float, voices: VoiceChoice) -> Answer:
        """Send a client its own microphone, cleaned.

        Raises:
            Refusal: the offer is not of both directions, or there is no room.
        """
        _check(offer.sends and offer.receives, "offer a track that is sendrecv")
        peer, track = self._cleaning_peer(model, strength, voices), CleanTrack()
        return await self._begin(
            peer, offer, "sendrecv", track, lambda: self._receive(peer, track.feed)
        )

    async def publish(
        self, room_name: str, offer: Offer, model: str, strength: float, voices: VoiceChoice
    ) -> Answer:
        """Publish a client's microphone in a room.

        Raises:
            Refusal: the offer sends nothing, the room has a publisher, or there is no place.
        """
        _check(offer.sends, "offer a track that is sendonly")
        peer = self._cleaning_peer(model, strength, voices)
        try:
            room = self._rooms.publish(room_name, peer)
        except Refusal:
            await peer.close()
            raise
        return await self._begin(
            peer, offer, "recvonly", None, lambda: self._receive(peer, room.deliver), room_name
        )

    async def view(self, room_name: str, offer: Offer) -> Answer:
        """Send a client the audio of a room.

        Raises:
            Refusal: the offer receives nothing, or there is no place.
        """
        _check(offer.receives, "offer a track that is recvonly")
        if self._state.scheduler.draining_until is not None:
            raise Draining
        peer, track = PeerConnection(self._state.settings), CleanTrack()
        try:
            self._rooms.view(room_name, peer, track)
        except Refusal:
            await peer.close()
            raise
        idle_seconds = self._state.settings.idle_seconds
        return await self._begin(
            peer, offer, "sendonly", track, lambda: track.wait_idle(idle_seconds), room_name
        )

    def find(self, session: str) -> PeerConnection:
        """Return a connection by its id.

        Raises:
            Refusal: there is none.
        """
        peer = self._peers.get(session)
        if peer is None or peer.is_over:
            raise Refusal(404, "not_found", "there is no such session: it may have ended")
        return peer

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cleaning_peer(self, model: str, strength: float, voices: VoiceChoice) -> PeerConnection:
        try:
            stream = self._state.scheduler.open(RATE, 1, model, strength, voices)
        except SordinoError as error:
            raise Refusal(400, "bad_request", str(error)) from error
        return PeerConnection(self._state.settings, stream)

    def _receive(
        self, peer: PeerConnection, deliver: Callable[[NDArray[np.float32]], None]
    ) -> Coroutine[Any, Any, None]:
        assert peer.stream is not None
        idle_seconds = self._state.settings.idle_seconds
        return Receiver(peer.remote_track, peer.stream, deliver, idle_seconds).run()

    async def _begin(
        self,
        peer: PeerConnection,
        offer: Offer,
        direction: Direction,
        track: CleanTrack | None,
        work: Work,
        room_name: str | None = None,
    ) -> Answer:
        self._peers[peer.id] = peer
        try:
            sdp = await peer.answer(offer, direction, track)
        except BaseException:
            self._forget(peer, room_name)
            await peer.close()
            raise
        task = asyncio.create_task(self._serve(peer, work, room_name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Answer(peer, sdp)

    async def _serve(self, peer: PeerConnection, work: Work, room_name: str | None) -> None:
        code = "draining"
        try:
            code = await peer.serve(
                work, self._state.scheduler, self._state.settings.max_stream_seconds
            )
        finally:
            self._state.metrics.closed.labels(code).inc()
            self._forget(peer, room_name)

    def _forget(self, peer: PeerConnection, room_name: str | None) -> None:
        del self._peers[peer.id]
        if room_name is not None:
            self._rooms.leave(room_name, peer)


def _check(is_valid: bool, message: str) -> None:
    if not is_valid:
        raise Refusal(400, "bad_offer", message)


def _sessions(request: Request) -> Sessions:
    return request.app.state.webrtc


async def _offer(request: Request) -> Offer:
    return read_offer(await _body(request, SDP))


async def _body(request: Request, media_type: str) -> bytes:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise Refusal(415, "unsupported_media", f"the body must be {media_type}")
    return await request.body()


def _respond(request: Request, answer: Answer) -> Response:
    prefix = request.scope.get("root_path", "")
    headers = {
        "Location": f"{prefix}/v1/webrtc/sessions/{answer.peer.id}",
        "ETag": answer.peer.etag,
        "Accept-Patch": SDP_FRAGMENT,
    }
    return Response(answer.sdp, 201, headers, media_type=SDP)
