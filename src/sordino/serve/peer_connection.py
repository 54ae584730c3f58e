"""One WebRTC connection: its addresses (STUN, TURN), its offer, and its service to the end."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import sample
from secrets import token_urlsafe
from time import perf_counter
from typing import Any, Literal, cast

from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol, server_reflexive_candidate
from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.codecs import get_capabilities
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from sordino.serve.errors import Overloaded, Refusal
from sordino.serve.scheduler import LiveStream, Scheduler
from sordino.serve.settings import ServerSettings
from sordino.serve.tracks import CleanTrack

RECEIVE_BUFFER = 1 << 20  # bytes of a socket
STUN_SECONDS = 5.0
MAX_SDP_BYTES = 32 << 10  # browsers send 2 to 6 kB
MAX_SDP_LINES = 200  # browsers write 60 to 100
MAX_CODECS = 30  # browsers name 10; aiortc's parser takes each with each line of feedback
MAX_CANDIDATES = 32  # addresses that the server tries to reach, however many are named
ANSWER_SECONDS = 10.0  # for gathering the server's own addresses
CONNECT_SECONDS = 30.0  # from the answer to the first encrypted packet
TICK_SECONDS = 1.0

Direction = Literal["sendrecv", "recvonly", "sendonly"]
Work = Callable[[], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)


def new_connection(settings: ServerSettings) -> RTCPeerConnection:
    """Return a connection that asks the STUN and TURN servers of the settings, and no others."""
    servers = [RTCIceServer(url) for url in settings.stun_servers]
    if settings.turn_server is not None:
        user, _, password = (settings.turn_credentials or "").partition(":")
        servers.append(RTCIceServer(settings.turn_server, user, password))
    return RTCPeerConnection(RTCConfiguration(servers))


def set_addresses(transceiver: RTCRtpTransceiver, settings: ServerSettings) -> None:
    """Let a connection use the UDP ports and announce the public addresses of the settings.

    aiortc has no option for either, so this replaces the one method of its ICE connection that
    opens sockets; what it does about TURN stays as it is.
    """
    if settings.udp_ports is None and not settings.public_addresses:
        return
    gatherer: Any = transceiver.sender.transport.transport.iceGatherer
    connection: Any = gatherer._connection
    gather = connection.get_component_candidates

    async def get_component_candidates(
        component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        candidates: list[Candidate] = []
        for address in addresses:
            protocol = await _bind(connection, component, address, settings.udp_ports)
            connection._protocols.append(protocol)
            candidates.append(protocol.local_candidate)
            if connection.stun_server and ip_address(address).version == 4:
                with suppress(Exception):  # it may be out of reach, like any network
                    async with asyncio.timeout(STUN_SECONDS):
                        found, _ = await server_reflexive_candidate(
                            protocol, connection.stun_server
                        )
                    candidates.append(found)
        candidates += _announced(candidates, settings.public_addresses)
        return candidates + await gather(component, [], timeout)

    connection.get_component_candidates = get_component_candidates


async def _bind(
    connection: Connection, component: int, address: str, ports: tuple[int, int] | None
) -> StunProtocol:
    """Open a socket at an address, at one of the ports that are free.

    Raises:
        Overloaded: none is.
    """
    loop = asyncio.get_running_loop()
    first, last = ports or (0, 0)
    for port in sample(range(first, last + 1), last + 1 - first):
        with suppress(OSError):
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: StunProtocol(connection), local_addr=(address, port)
            )
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER
            )
            host, port = transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            return protocol
    raise Overloaded(f"all UDP ports from {first} to {last} are in use")


def _announced(candidates: Sequence[Candidate], addresses: Sequence[str]) -> list[Candidate]:
    """Return the host candidates once more, at the addresses that a NAT maps to them."""
    announced: list[Candidate] = []
    for each in candidates:
        for address in addresses:
            is_same_family = ip_address(each.host).version == ip_address(address).version
            if each.type == "host" and is_same_family:
                mapped = copy(each)
                mapped.host = address
                mapped.foundation = candidate_foundation("host", "udp", address)
                announced.append(mapped)
    return announced


@dataclass(frozen=True)
class Offer:
    """An SDP offer of one audio track.

    Args:
        sdp: as it came.
        sends, receives: what the client wants to do.
        candidates: number of addresses in it.
        credentials: ICE user name fragment and password.
    """

    sdp: str
    sends: bool
    receives: bool
    candidates: int
    credentials: tuple[str, str]


@dataclass
class Fragment:
    """A trickle-ICE fragment (RFC 8840).

    Args:
        candidates: addresses of the client; None stands for the end of candidates.
        credentials: ICE user name fragment and password; None if the fragment lacks one.
    """

    candidates: list[RTCIceCandidate | None] = field(default_factory=list[RTCIceCandidate | None])
    credentials: tuple[str, str] | None = None


class PeerConnection:
    """A connection to one client.

    Args:
        settings: of the server.
        stream: live stream that is closed at the end, if the client's audio is cleaned.
    """

    def __init__(self, settings: ServerSettings, stream: LiveStream | None = None) -> None:
        self.id = token_urlsafe(18)
        """Identifies the connection in its URL; anybody who knows it may end it."""
        self.stream = stream
        self._settings = settings
        self._pc = new_connection(settings)
        self._is_connected = asyncio.Event()
        self._is_over = asyncio.Event()
        self._offer: Offer | None = None
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
        self._offer, self._candidates = offer, offer.candidates
        try:
            transceiver = self._pc.addTransceiver(track or "audio", direction=direction)
            opus = [each for each in get_capabilities("audio").codecs if each.name == "opus"]
            transceiver.setCodecPreferences(opus)
            set_addresses(transceiver, self._settings)
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                await self._pc.setLocalDescription()
        except Refusal:
            raise
        except Exception as error:  # aiortc raises all kinds of exceptions for bad offers
            _log.info("an offer could not be answered: %r", error)
            raise Refusal(400, "bad_offer", "the offer cannot be answered") from error
        return self._pc.localDescription.sdp

    @property
    def is_over(self) -> bool:
        """Whether one side has ended the connection."""
        return self._is_over.is_set()

    @property
    def etag(self) -> str:
        """Entity tag of the ICE session (RFC 9725), which never restarts."""
        return f'"{self.id[:8]}"'

    @property
    def remote_track(self) -> MediaStreamTrack:
        """What the client sends."""
        return self._pc.getReceivers()[0].track

    async def trickle(self, body: bytes) -> None:
        """Take more addresses of the client.

        Raises:
            Refusal: they cannot be read, are too many, or are of a new ICE session.
        """
        fragment = read_fragment(body)
        if self._offer and fragment.credentials not in (None, self._offer.credentials):
            raise Refusal(
                422, "no_ice_restart", "ICE restarts are not supported: end this session, "
                "and POST a new offer",
            )  # fmt: skip
        self._candidates += len(fragment.candidates)
        if self._candidates > MAX_CANDIDATES:
            raise _bad(f"there are more than {MAX_CANDIDATES} candidates")
        for candidate in fragment.candidates:
            await self._pc.addIceCandidate(candidate)

    async def serve(self, work: Work, scheduler: Scheduler, max_seconds: float) -> str:
        """Run the connection until one side ends it; return the code of its end.

        Args:
            work: is called when the client is connected.
            scheduler: says when the server ends.
            max_seconds: that the connection may last.
        """
        task = asyncio.create_task(self._run(work))
        over = asyncio.create_task(self._is_over.wait())
        end = perf_counter() + max_seconds
        try:
            while True:
                done, _ = await asyncio.wait(
                    (task, over), timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if task in done:
                    return _outcome(task)
                if over in done:
                    return "closed"
                if (
                    scheduler.draining_until is not None
                    and perf_counter() >= scheduler.draining_until
                ):
                    return "draining"
                if perf_counter() >= end:
                    return "too_long"
        finally:
            for each in (task, over):
                each.cancel()
            await asyncio.gather(task, over, return_exceptions=True)
            await self.close()

    def end(self) -> None:
        """Make `serve` end the connection soon."""
        self._is_over.set()

    async def close(self) -> None:
        """End the connection now; a second call does nothing."""
        self._is_over.set()
        if self.stream is not None:
            self.stream.close()
        await self._pc.close()

    async def _run(self, work: Work) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._is_connected.wait()
        except TimeoutError:
            raise Refusal(408, "timeout", "the client did not connect") from None
        await work()

    def _note_state(self) -> None:
        if self._pc.connectionState == "connected":
            self._is_connected.set()
        elif self._pc.connectionState in ("failed", "closed"):
            self._is_over.set()


def read_offer(body: bytes) -> Offer:
    """Check an offer before any connection is made of it.

    Raises:
        Refusal: it is not an SDP offer of one Opus track.
    """
    _check_size(body)
    try:
        sdp = body.decode("utf-8")
        description = SessionDescription.parse(sdp)
    except Exception as error:  # the parser raises all kinds of exceptions
        raise _bad("the body is not an SDP offer that can be read") from error
    media = description.media
    if len(media) != 1 or media[0].kind != "audio" or not media[0].port:
        raise _bad("offer one audio track and nothing else")
    return _checked(sdp, media[0])


def read_fragment(body: bytes) -> Fragment:
    """Read a trickle-ICE fragment (RFC 8840).

    Raises:
        Refusal: it is not one.
    """
    _check_size(body)
    fragment, credentials = Fragment(), dict[str, str]()
    try:
        for line in body.decode("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "a=candidate":
                candidate = candidate_from_sdp(value)
                candidate.sdpMLineIndex = 0  # there is one track
                fragment.candidates.append(candidate)
            elif name == "a=end-of-candidates":
                fragment.candidates.append(None)
            elif name in ("a=ice-ufrag", "a=ice-pwd"):
                credentials[name] = value.strip()
    except Exception as error:  # the parser raises all kinds of exceptions
        raise _bad("the body is not a trickle-ICE fragment that can be read") from error
    _check_ports([each for each in fragment.candidates if each is not None])
    if len(credentials) == 2:
        fragment.credentials = credentials["a=ice-ufrag"], credentials["a=ice-pwd"]
    return fragment


def _checked(sdp: str, media: MediaDescription) -> Offer:
    if not any(codec.mimeType.lower() == "audio/opus" for codec in media.rtp.codecs):
        raise _bad("offer the codec Opus")
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise _bad("the offer lacks a=ice-ufrag or a=ice-pwd")
    if not (media.dtls and media.dtls.fingerprints):
        raise _bad("the offer lacks a=fingerprint or a=setup")
    if not media.rtcp_mux or not media.rtp.muxId:
        raise _bad("the offer lacks a=rtcp-mux or a=mid")
    _check_ports(media.ice_candidates)
    if len(media.ice_candidates) > MAX_CANDIDATES:
        raise _bad(f"the offer names more than {MAX_CANDIDATES} candidates")
    direction = media.direction or "sendrecv"
    return Offer(
        sdp,
        sends=direction in ("sendrecv", "sendonly"),
        receives=direction in ("sendrecv", "recvonly"),
        candidates=len(media.ice_candidates),
        credentials=(media.ice.usernameFragment, media.ice.password),
    )


def _check_size(body: bytes) -> None:
    lines = body[: MAX_SDP_BYTES + 1].decode("utf-8", "replace").splitlines()  # as the parser does
    codecs = sum(line.startswith("a=rtpmap") for line in lines)
    if len(body) > MAX_SDP_BYTES or len(lines) > MAX_SDP_LINES or codecs > MAX_CODECS:
        raise Refusal(
            413,
            "too_large",
            f"at most {MAX_SDP_BYTES} bytes, {MAX_SDP_LINES} lines and {MAX_CODECS} codecs "
            "are taken",
        )


def _check_ports(candidates: Sequence[RTCIceCandidate]) -> None:
    if not all(0 <= each.port <= 0xFFFF for each in candidates):
        raise _bad("a candidate has a port outside 0 to 65535")


def _bad(message: str) -> Refusal:
    return Refusal(400, "bad_offer", message)


def _outcome(task: "asyncio.Task[None]") -> str:
    if task.cancelled():
        return "draining"  # the scheduler has been closed
    error: BaseException | None = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    if isinstance(error, Refusal):
        return error.code
    if error is not None:
        _log.error("a WebRTC connection failed", exc_info=error)
        return "internal"
    return "closed"
