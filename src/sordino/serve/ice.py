"""How WebRTC connections reach the server: its UDP ports, public addresses, STUN and TURN."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from ipaddress import ip_address
from random import sample
from typing import Any

from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol, server_reflexive_candidate
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpTransceiver

from sordino.serve.errors import Overloaded
from sordino.serve.settings import ServerSettings

RECEIVE_BUFFER = 1 << 20  # bytes of a socket
STUN_SECONDS = 5.0


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
