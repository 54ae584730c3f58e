"""One WebRTC connection, from its offer to its end, whichever side ends it."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from secrets import token_urlsafe
from time import perf_counter
from typing import Any, Literal

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import get_capabilities
from aiortc.mediastreams import MediaStreamTrack

from sordino.serve.clean_track import CleanTrack
from sordino.serve.engine import Engine, Stream
from sordino.serve.errors import Refusal
from sordino.serve.offer import MOST_CANDIDATES, Offer, read_candidates

ANSWER_SECONDS = 10.0  # for gathering the server's own addresses
CONNECT_SECONDS = 30.0  # from the answer to the first encrypted packet
TICK_SECONDS = 1.0

Direction = Literal["sendrecv", "recvonly", "sendonly"]

_log = logging.getLogger(__name__)


class Peer:
    """A connection to one client.

    Args:
        stun_servers: to ask for the server's own public address; none on one's own network.
        stream: place in the engine that is given back at the end, if the client's sound is
            cleaned.
    """

    def __init__(self, stun_servers: Sequence[str], stream: Stream | None = None) -> None:
        self.id = token_urlsafe(18)
        """Names the connection in its URL; whoever knows it may end it."""
        self.stream = stream
        self._pc = RTCPeerConnection(RTCConfiguration([RTCIceServer(url) for url in stun_servers]))
        self._is_connected = asyncio.Event()
        self._is_over = asyncio.Event()
        self._candidates = 0
        self._pc.on("connectionstatechange", self._note_state)

    async def answer(self, offer: Offer, direction: Direction, track: CleanTrack | None) -> str:
        """Answer an offer.

        Args:
            offer: of the client.
            direction: of the server.
            track: what is sent; None sends nothing.

        Returns:
            The SDP, with all addresses of the server in it.

        Raises:
            Refusal: the offer cannot be answered.
        """
        self._candidates = offer.candidates
        try:
            transceiver = self._pc.addTransceiver(track or "audio", direction=direction)
            opus = [each for each in get_capabilities("audio").codecs if each.name == "opus"]
            transceiver.setCodecPreferences(opus)
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                await self._pc.setLocalDescription()
        except Exception as error:  # aiortc raises whatever it stumbles over
            _log.info("an offer could not be answered: %r", error)
            raise Refusal(400, "bad_offer", "the offer cannot be answered") from error
        return self._pc.localDescription.sdp

    @property
    def is_over(self) -> bool:
        """Whether one side has ended the connection."""
        return self._is_over.is_set()

    @property
    def remote_track(self) -> MediaStreamTrack:
        """What the client sends."""
        return self._pc.getReceivers()[0].track

    async def trickle(self, body: bytes) -> None:
        """Take more addresses of the client.

        Raises:
            Refusal: they cannot be read, or are too many.
        """
        candidates = read_candidates(body)
        self._candidates += len(candidates)
        if self._candidates > MOST_CANDIDATES:
            raise Refusal(400, "bad_offer", f"there are more than {MOST_CANDIDATES} candidates")
        for candidate in candidates:
            await self._pc.addIceCandidate(candidate)

    async def serve(
        self, work: Coroutine[Any, Any, None], engine: Engine, longest_seconds: float
    ) -> str:
        """Do the peer's work until one side ends it; return in a word how it ended.

        Args:
            work: begins when the client is connected.
            engine: says when the server ends.
            longest_seconds: that the connection may last.
        """
        task = asyncio.create_task(self._work(work))
        over = asyncio.create_task(self._is_over.wait())
        end = perf_counter() + longest_seconds
        try:
            while True:
                done, _ = await asyncio.wait(
                    (task, over), timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if task in done:
                    return _outcome(task)
                if over in done:
                    return "closed"
                if engine.draining_until is not None and perf_counter() >= engine.draining_until:
                    return "draining"
                if perf_counter() >= end:
                    return "too_long"
        finally:
            for each in (task, over):
                each.cancel()
            await asyncio.gather(task, over, return_exceptions=True)
            work.close()  # in case it never began
            await self.close()

    def end(self) -> None:
        """Have `serve` end the connection soon."""
        self._is_over.set()

    async def close(self) -> None:
        """End the connection now; a second call does nothing."""
        self._is_over.set()
        if self.stream is not None:
            self.stream.close()
        await self._pc.close()

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._is_connected.wait()
        except TimeoutError:
            raise Refusal(408, "timeout", "the peer did not connect") from None
        await work

    def _note_state(self) -> None:
        if self._pc.connectionState == "connected":
            self._is_connected.set()
        elif self._pc.connectionState in ("failed", "closed"):
            self._is_over.set()


def _outcome(task: "asyncio.Task[None]") -> str:
    if task.cancelled():
        return "draining"  # the engine has been closed
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Refusal):
        return error.code
    if error is not None:
        _log.error("a peer's work failed", exc_info=error)
        return "internal"
    return "closed"
