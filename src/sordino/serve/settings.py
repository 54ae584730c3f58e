"""Settings of the server, and which of them it refuses as unsafe."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sordino.deprecated import renamed_names
from sordino.errors import SordinoError
from sordino.voice import EVERYBODY, VoiceChoice, check_voice_options

DEFAULT_PORT = 8765
MIN_TOKEN_LENGTH = 16  # characters; shorter ones can be guessed
ROOT_PATH = r"(/[A-Za-z0-9._~-]+)+"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
__getattr__ = renamed_names(__name__, {"Settings": "ServerSettings"})


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server.

    Args:
        host, port: address to listen on; port 0 takes a free one.
        token: what clients must present; None accepts everyone who reaches the address, which
            only a loopback address may.
        origins: web origins besides the server's own that may use it, such as
            "https://meet.example.org".
        host_names: names in the `Host` header that are accepted on a loopback address, besides
            its own.
        tls_certificate, tls_key: files for HTTPS, which browsers want before they give a
            microphone to any page but one of this machine.
        trusted_proxies: addresses or networks of reverse proxies whose X-Forwarded-For, -Proto and
            -Prefix are believed.
        root_path: prefix of the path behind a reverse proxy, such as "/sordino".
        stun_servers: that WebRTC asks for the server's own public address, such as
            "stun:stun.example.org:3478"; none are needed on one's own network.
        turn_server: that relays WebRTC where nothing else gets through, such as
            "turn:turn.example.org:3478?transport=tcp".
        turn_credentials: "user:password" for it.
        udp_ports: first and last UDP port for WebRTC, of which each connection takes one for
            each address of the machine; None takes any.
        public_addresses: that a NAT maps to this machine, port by port, announced to WebRTC
            clients besides its own.
        threads: for inference; None takes one for each processor.
        max_streams: live streams at a time; None takes as many as the machine was measured to hold.
        calibrate: measure the machine when the server starts.
        late_share: share of the blocks of the last seconds that may have taken longer than 10 ms
            before no more streams are accepted; 1 accepts any number.
        max_uploads: recordings at a time, each in a process of its own.
        max_body_bytes: of an upload.
        max_sound_seconds: of the audio in an upload.
        max_output_bytes: of what is made of an upload.
        upload_seconds: that an upload may take from its first byte to its last.
        decoder_memory_bytes: address space of a decoder's process.
        decoder_cpu_seconds: processor time of a decoder's process.
        upload_wait_seconds: that an upload waits for a place before it is refused.
        stall_seconds: that a client may take to send or to read the next piece.
        min_upload_rate: bytes a second that a client must send of an upload, or read of its
            answer, after `stall_seconds`.
        fair_upload_rate: bytes a second below which an upload is dropped when others wait for
            its place.
        hello_seconds: that a client may take to say hello.
        idle_seconds: that a live stream may be silent on the wire.
        max_stream_seconds: of a live stream, of its audio and by the clock.
        drain_seconds: that live streams get to end in when the server is told to.
        requests_per_second, request_burst: limit for each client address, and for the control
            messages of each live stream.
        failures_per_minute: wrong tokens for each client address.
        voices: what clients that send no voice of their own are to keep: voices, and how; see
            `sordino.denoiser.Denoiser`.

    Raises:
        SordinoError: the settings are unsafe or make no sense.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    origins: tuple[str, ...] = ()
    host_names: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    root_path: str = ""
    stun_servers: tuple[str, ...] = ()
    turn_server: str | None = None
    turn_credentials: str | None = None
    udp_ports: tuple[int, int] | None = None
    public_addresses: tuple[str, ...] = ()
    threads: int | None = None
    max_streams: int | None = None
    calibrate: bool = True
    late_share: float = 0.01
    max_uploads: int = 2
    max_body_bytes: int = 1 << 30
    max_sound_seconds: float = 4 * 3600
    max_output_bytes: int = 8 << 30
    upload_seconds: float = 3600
    decoder_memory_bytes: int = 2 << 30
    decoder_cpu_seconds: int = 1800
    upload_wait_seconds: float = 5
    stall_seconds: float = 10
    min_upload_rate: float = 1000
    fair_upload_rate: float = 16_000
    hello_seconds: float = 5
    idle_seconds: float = 60
    max_stream_seconds: float = 4 * 3600
    drain_seconds: float = 30
    requests_per_second: float = 20
    request_burst: int = 100
    failures_per_minute: float = 10
    voices: VoiceChoice = EVERYBODY

    @property
    def decoder_limits(self) -> dict[str, Any]:
        """The limits on a `sordino.serve.worker.UploadTask`."""
        return {
            "max_sound_seconds": self.max_sound_seconds,
            "max_output_bytes": self.max_output_bytes,
            "memory_bytes": self.decoder_memory_bytes,
            "cpu_seconds": self.decoder_cpu_seconds,
        }

    def __post_init__(self) -> None:
        if not self.is_loopback and self.token is None:
            raise SordinoError(
                f"{self.host} can be reached from other machines, so clients need a token: put "
                "one into a file and give it with --token-file, or into SORDINO_TOKEN"
            )
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise SordinoError(
                f"the token has {len(self.token)} characters: take at least {MIN_TOKEN_LENGTH}, "
                'for instance from python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise SordinoError("the token must be printable ASCII, on one line")
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise SordinoError(
                    f"{origin!r} is no origin: write it as browsers do, https://meet.example.org"
                )
        for url in self.stun_servers:
            if not re.fullmatch(r"stun:[^/?#@:\s]+(:[0-9]+)?", url):
                raise SordinoError(f"{url!r} is no STUN server: write stun:host:port")
        if self.turn_server is not None:
            if not re.fullmatch(
                r"turns?:[^/?#@:\s]+(:[0-9]+)?(\?transport=(udp|tcp))?", self.turn_server
            ):
                raise SordinoError(
                    f"{self.turn_server!r} is no TURN server: write turn:host:port, or "
                    "turn:host:port?transport=tcp"
                )
            if ":" not in (self.turn_credentials or ""):
                raise SordinoError(
                    "a TURN server needs credentials: put user:password into "
                    "SORDINO_TURN, or into a file for --turn-file"
                )
        if self.udp_ports is not None and not 0 < self.udp_ports[0] <= self.udp_ports[1] <= 65535:
            raise SordinoError("the UDP ports are not from 1 to 65535: write 40000 or 40000-40100")
        for address in self.public_addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise SordinoError(f"{address!r} is no IP address: write 203.0.113.7") from None
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SordinoError("HTTPS needs both, --tls-certificate and --tls-key")
        if self.root_path and not re.fullmatch(ROOT_PATH, self.root_path):
            raise SordinoError(f"the root path is {self.root_path!r}: write it as /sordino")
        check_voice_options(self.voices.others_db, self.voices.fallback_seconds)
        if not 0 <= self.port <= 65535:
            raise SordinoError(f"the port is {self.port}: expected 0 to 65535")

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def inference_threads(self) -> int:
        """Threads for inference."""
        if self.threads is not None:
            return max(1, self.threads)
        try:
            return len(os.sched_getaffinity(0))  # not all processors may be ours
        except AttributeError:  # macOS, Windows
            return os.cpu_count() or 1


def read_token(file: Path | None) -> str | None:
    """Return the token in a file, or in the variable SORDINO_TOKEN, or None.

    Raises:
        SordinoError: the file cannot be read, or is empty.
    """
    return _read_secret(file, "SORDINO_TOKEN", "token")


def read_turn_credentials(file: Path | None) -> str | None:
    """Return "user:password" from a file, or from the variable SORDINO_TURN, or None.

    Raises:
        SordinoError: the file cannot be read, or is empty.
    """
    return _read_secret(file, "SORDINO_TURN", "TURN credentials")


def read_ports(text: str | None) -> tuple[int, int] | None:
    """Return the first and last port of "40000" or "40000-40100"; None stays None.

    Raises:
        SordinoError: it is neither.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", text):
        raise SordinoError(f"{text!r} are no UDP ports: write 40000 or 40000-40100")
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _read_secret(file: Path | None, variable: str, what: str) -> str | None:
    """Secrets never come from the command line, which every user of the machine can read."""
    if file is None:
        return os.environ.get(variable) or None
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SordinoError(f"cannot read the {what} from {file}: {error}") from error
    if not secret:
        raise SordinoError(f"{file} holds no {what}: write one line into it")
    return secret
