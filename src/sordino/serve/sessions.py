"""All WebRTC connections of one server."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from sordino.serve.clean_track import RATE, CleanTrack
from sordino.serve.errors import Draining, Refusal
from sordino.serve.intake import Intake
from sordino.serve.offer import Offer
from sordino.serve.peer import Direction, Peer
from sordino.serve.relay import Relay, listen
from sordino.serve.state import State

Work = Callable[[], Coroutine[Any, Any, None]]


class Answer(NamedTuple):
    """What a client gets for its offer."""

    id: str
    """Names the session in its URL."""
    sdp: str


class Sessions:
    """Opens, finds and ends the WebRTC connections of one server.

    Args:
        state: of the server.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._relay = Relay()
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def clean(self, offer: Offer, model: str, strength: float) -> Answer:
        """Send a client its own microphone, cleaned.

        Raises:
            Refusal: the offer is not of both directions, or there is no room.
        """
        _demand(offer.sends and offer.receives, "offer a track that is sendrecv")
        peer, track = self._cleaned(model, strength), CleanTrack()
        return await self._begin(
            peer, offer, "sendrecv", track, lambda: self._intake(peer, track.feed)
        )

    async def publish(self, room_name: str, offer: Offer, model: str, strength: float) -> Answer:
        """Take a client's microphone into a room.

        Raises:
            Refusal: the offer sends nothing, the room has a publisher, or there is no place.
        """
        _demand(offer.sends, "offer a track that is sendonly")
        peer = self._cleaned(model, strength)
        try:
            room = self._relay.publish(room_name, peer)
        except Refusal:
            await peer.close()
            raise
        return await self._begin(
            peer, offer, "recvonly", None, lambda: self._intake(peer, room.deliver), room_name
        )

    async def view(self, room_name: str, offer: Offer) -> Answer:
        """Send a client what is heard in a room.

        Raises:
            Refusal: the offer receives nothing, or there is no place.
        """
        _demand(offer.receives, "offer a track that is recvonly")
        if self._state.engine.draining_until is not None:
            raise Draining
        peer, track = Peer(self._state.settings.stun_servers), CleanTrack()
        try:
            self._relay.view(room_name, peer, track)
        except Refusal:
            await peer.close()
            raise
        idle_seconds = self._state.settings.idle_seconds
        return await self._begin(
            peer, offer, "sendonly", track, lambda: listen(track, idle_seconds), room_name
        )

    def find(self, session: str) -> Peer:
        """Return a connection by its id.

        Raises:
            Refusal: there is none.
        """
        peer = self._peers.get(session)
        if peer is None or peer.is_over:
            raise Refusal(404, "not_found", "there is no such session: it may have ended")
        return peer

    async def end(self, session: str) -> None:
        """End a connection.

        Raises:
            Refusal: there is none.
        """
        await self.find(session).close()

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cleaned(self, model: str, strength: float) -> Peer:
        """Return a peer with a place in the engine."""
        stream = self._state.engine.open(RATE, 1, model, strength)
        return Peer(self._state.settings.stun_servers, stream)

    def _intake(self, peer: Peer, deliver: Any) -> Coroutine[Any, Any, None]:
        assert peer.stream is not None
        idle_seconds = self._state.settings.idle_seconds
        return Intake(peer.remote_track, peer.stream, deliver, idle_seconds).run()

    async def _begin(
        self,
        peer: Peer,
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
        task = asyncio.create_task(self._serve(peer, work(), room_name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Answer(peer.id, sdp)

    async def _serve(
        self, peer: Peer, work: Coroutine[Any, Any, None], room_name: str | None
    ) -> None:
        code = "draining"
        try:
            code = await peer.serve(
                work, self._state.engine, self._state.settings.max_stream_seconds
            )
        finally:
            self._state.metrics.closed.labels(code).inc()
            self._forget(peer, room_name)

    def _forget(self, peer: Peer, room_name: str | None) -> None:
        del self._peers[peer.id]
        if room_name is not None:
            self._relay.leave(room_name, peer)


def _demand(is_fine: bool, message: str) -> None:
    if not is_fine:
        raise Refusal(400, "bad_offer", message)
