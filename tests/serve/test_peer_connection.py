"""WebRTC through firewalls: fixed UDP ports, announced addresses, and a real TURN server."""

import asyncio
import re
import socket
import subprocess
from contextlib import contextmanager

import aioice.ice
import pytest

from sordino.errors import SordinoError
from sordino.serve.settings import ServerSettings, read_ports, read_turn_credentials
from support.served import DEADLINE
from support.served import wait_until as wait_in_thread
from support.webrtc_peers import SDP, Client, Microphone, serving, until

PATH = "/v1/webrtc"


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """Machines differ in their addresses; all have this one."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def answered(http, client):
    """Send an offer; return the response."""
    return await http.post(PATH, content=await client.offer(), headers=SDP)


@pytest.mark.slow
def test_sound_comes_through_the_one_port_that_is_open():
    port = free_port()

    async def talk():
        async with serving(udp_ports=(port, port)) as (state, http):
            client, other = Client(Microphone()), Client(Microphone())
            answer = await answered(http, client)
            ports = re.findall(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+) typ", answer.text)
            assert ports == [str(port)]
            await client.accept(answer)
            await until(lambda: client.has_heard(0.1))
            refused = await answered(http, other)  # a port serves one connection
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert str(port) in refused.json()["message"]
            assert len(state.scheduler.streams) == 1
            assert (await http.delete(client.location)).status_code == 204
            await other.accept(await answered(http, other))  # it is free again
            await client.close()
            await other.close()

    asyncio.run(talk())


def test_addresses_of_a_nat_are_announced_with_the_ports_of_the_machine():
    async def talk():
        async with serving(public_addresses=("203.0.113.7", "2001:db8::7")) as (_, http):
            client = Client(Microphone())
            answer = await answered(http, client)
            found = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", answer.text)
            assert [address for address, _ in found] == ["127.0.0.1", "203.0.113.7"]
            assert len({port for _, port in found}) == 1
            await client.accept(answer)
            await until(lambda: client.has_heard(0.1))
            await client.close()

    asyncio.run(talk())


@contextmanager
def coturn(folder):
    """Run coturn, which is a STUN server, too; yield its port."""
    port = free_port(socket.SOCK_STREAM)
    command = [
        "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech",
        "--user=guest:secret", "--realm=test", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1",
        f"--listening-port={port}", "--allow-loopback-peers", f"--pidfile={folder}/pid",
        f"--userdb={folder}/db", "--log-file=stdout",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def is_listening():
        assert process.poll() is None
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_in_thread(is_listening)
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE)


@pytest.mark.tools
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("ports", [None, "fixed"])
def test_sound_comes_through_a_turn_server_alone(transport, ports, tmp_path):
    """The client learns no address of the server but that of the relay."""

    async def talk(port):
        settings = {
            "turn_server": f"turn:127.0.0.1:{port}?transport={transport}",
            "turn_credentials": "guest:secret",
            "udp_ports": (free_port(),) * 2 if ports else None,
        }
        async with serving(**settings) as (_, http):
            client = Client(Microphone())
            bare = re.sub("a=(candidate|end-of-candidates).*\r\n", "", await client.offer())
            # Without the client's own addresses, the server cannot reach it directly either.
            response = await http.post(PATH, content=bare, headers=SDP)
            relayed = re.sub("a=candidate:.*typ host.*\r\n", "", response.text)
            assert len(re.findall("typ relay", relayed)) == 1
            response._content = relayed.encode()
            await client.accept(response)
            await until(lambda: client.has_heard(0.2))
            await client.close()

    with coturn(tmp_path) as port:
        asyncio.run(talk(port))


@pytest.mark.tools
def test_a_stun_server_tells_the_address_at_fixed_ports_too(tmp_path, monkeypatch):
    seen = []
    query = aioice.ice.server_reflexive_candidate

    async def spied(*args):
        candidate, _ = await query(*args)
        seen.append((candidate.type, candidate.port))
        return candidate, None

    monkeypatch.setattr("sordino.serve.peer_connection.server_reflexive_candidate", spied)

    async def talk(port, own):
        async with serving(stun_servers=(f"stun:127.0.0.1:{port}",), udp_ports=(own, own)) as (
            _,
            http,
        ):
            client = Client(Microphone())
            assert (await answered(http, client)).status_code == 201
            await client.close()

    own = free_port()
    with coturn(tmp_path) as port:
        asyncio.run(talk(port, own))
    assert seen == [("srflx", own)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"turn_server": "turn:example.org"},
        {"turn_server": "http://example.org", "turn_credentials": "a:b"},
        {"turn_server": "turn:example.org?transport=sctp", "turn_credentials": "a:b"},
        {"udp_ports": (0, 10)},
        {"udp_ports": (50000, 40000)},
        {"udp_ports": (1, 65536)},
        {"public_addresses": ("example.org",)},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(SordinoError, match=r"write|put"):
        ServerSettings(**wrong)


def test_ports_and_credentials_are_read(tmp_path, monkeypatch):
    assert (read_ports(None), read_ports("40000")) == (None, (40000, 40000))
    assert read_ports("40000-40100") == (40000, 40100)
    for wrong in ("", "a", "1-2-3", "-1", "40000-"):
        with pytest.raises(SordinoError, match="40000-40100"):
            read_ports(wrong)
    monkeypatch.setenv("SORDINO_TURN", "guest:secret")
    assert read_turn_credentials(None) == "guest:secret"
    file = tmp_path / "turn"
    file.write_text("other:secret\n")
    assert read_turn_credentials(file) == "other:secret"
