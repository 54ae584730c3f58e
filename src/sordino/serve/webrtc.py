"""`/v1/webrtc`: a microphone in and the clean sound out, for one peer or for a room.

Signalling follows WHIP (RFC 9725) and WHEP: the offer is POSTed as application/sdp, the answer
comes back with the URL of the session, PATCH adds ICE candidates, DELETE ends it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response

from sordino.serve.errors import Refusal
from sordino.serve.offer import Offer, read_offer
from sordino.serve.sessions import Answer, Sessions

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"

Model = Annotated[str, Query(description="A live model from GET /v1/models")]
Strength = Annotated[float, Query(ge=0, le=1, description="Share of the noise to take")]
RoomName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Any name")]
Session = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

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
            "headers": {"Location": {"schema": {"type": "string"}}},
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
async def clean(request: Request, model: Model = "default", strength: Strength = 1.0) -> Response:
    """Take an offer of one audio track that is sendrecv."""
    offer = await _offer(request)
    return _answered(request, await _sessions(request).clean(offer, model, strength))


@router.post("/rooms/{room}/whip", summary="Publish into a room", **_ANSWER)
async def publish(
    request: Request, room: RoomName, model: Model = "default", strength: Strength = 1.0
) -> Response:
    """Take a WHIP offer; whoever views the room hears the clean sound."""
    offer = await _offer(request)
    return _answered(request, await _sessions(request).publish(room, offer, model, strength))


@router.post("/rooms/{room}/whep", summary="Listen to a room", **_ANSWER)
async def view(request: Request, room: RoomName) -> Response:
    """Take a WHEP offer; it may come before there is anybody to hear."""
    offer = await _offer(request)
    return _answered(request, await _sessions(request).view(room, offer))


@router.patch(
    "/sessions/{session}",
    summary="Add ICE candidates",
    status_code=204,
    responses={**_REFUSALS, 404: {"description": "There is no such session"}},
    openapi_extra={
        "requestBody": {"required": True, "content": {SDP_FRAGMENT: {"schema": {"type": "string"}}}}
    },
)
async def trickle(request: Request, session: Session) -> None:
    """Take a trickle-ICE fragment (RFC 8840)."""
    body = await _body(request, SDP_FRAGMENT)
    await _sessions(request).find(session).trickle(body)


@router.put(
    "/sessions/{session}/strength",
    summary="Turn the strength",
    status_code=204,
    responses={404: {"description": "There is no such session, or nothing is cleaned in it"}},
)
async def turn(request: Request, session: Session, value: Strength) -> None:
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
async def end(request: Request, session: Session) -> None:
    """End a session; its URL is gone at once."""
    await _sessions(request).end(session)


def _sessions(request: Request) -> Sessions:
    return request.app.state.webrtc


async def _offer(request: Request) -> Offer:
    return read_offer(await _body(request, SDP))


async def _body(request: Request, media_type: str) -> bytes:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise Refusal(415, "unsupported_media", f"the body must be {media_type}")
    return await request.body()


def _answered(request: Request, answer: Answer) -> Response:
    location = f"{request.scope.get('root_path', '')}/v1/webrtc/sessions/{answer.id}"
    return Response(answer.sdp, 201, {"Location": location}, media_type=SDP)
