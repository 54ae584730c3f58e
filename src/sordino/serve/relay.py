"""Rooms: the sound of one publisher, cleaned once, for any number of viewers."""

import asyncio
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sordino.serve.clean_track import CleanTrack
from sordino.serve.errors import Overloaded, Refusal
from sordino.serve.peer import Peer

MOST_VIEWERS = 100  # of one server; each costs an Opus encoder and a connection
STALLED_SECONDS = 5.0  # without sound; then a publisher may be replaced


@dataclass
class Room:
    """Who speaks and who listens.  Either may come first, and leave and come again."""

    publisher: Peer | None = None
    viewers: dict[Peer, CleanTrack] = field(default_factory=dict[Peer, CleanTrack])
    heard_at: float = 0.0  # when the publisher's sound came last, or it itself

    def deliver(self, sound: NDArray[np.float32]) -> None:
        """Hand clean sound to every viewer."""
        self.heard_at = perf_counter()
        for track in self.viewers.values():
            track.feed(sound)


class Relay:
    """The rooms of one server, by name; a room exists as long as anyone is in it."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def publish(self, name: str, peer: Peer) -> Room:
        """Let a publisher into a room; one who has fallen silent gives way.

        Raises:
            Refusal: somebody is speaking there.
        """
        room = self._rooms.get(name, Room())
        if room.publisher is not None:
            if perf_counter() - room.heard_at < STALLED_SECONDS:
                raise Refusal(409, "room_taken", f"somebody publishes in the room {name!r}")
            room.publisher.end()
        room.publisher, room.heard_at = peer, perf_counter()
        self._rooms[name] = room
        return room

    def view(self, name: str, peer: Peer, track: CleanTrack) -> None:
        """Let a viewer into a room.

        Raises:
            Overloaded: there are too many viewers.
        """
        if sum(len(room.viewers) for room in self._rooms.values()) >= MOST_VIEWERS:
            raise Overloaded(f"all {MOST_VIEWERS} places for viewers are taken")
        self._rooms.setdefault(name, Room()).viewers[peer] = track

    def leave(self, name: str, peer: Peer) -> None:
        """Let a publisher or viewer go."""
        room = self._rooms[name]
        room.viewers.pop(peer, None)
        if room.publisher is peer:
            room.publisher = None
        if room.publisher is None and not room.viewers:
            self._rooms.pop(name, None)


async def listen(track: CleanTrack, idle_seconds: float) -> None:
    """Keep a viewer until there was nothing to hear for so long.

    Raises:
        Refusal: there was not.
    """
    while (left := track.fed_at + idle_seconds - perf_counter()) > 0:
        await asyncio.sleep(left)
    raise Refusal(408, "timeout", "there was nothing to hear for too long")
