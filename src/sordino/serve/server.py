"""The server as a process: sockets, patience, and an end in order."""

import asyncio
import logging
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sordino.serve.app import create_app
from sordino.serve.protocol import MOST_BLOCK_BYTES
from sordino.serve.settings import Settings
from sordino.serve.state import State

REQUEST_SECONDS = 10  # that a client may take to say what it wants
LINGER_SECONDS = 5  # that a closed connection may take to deliver its last bytes
PING_SECONDS = 20
MOST_CONNECTIONS = 1000

logger = logging.getLogger("uvicorn.error")


class PatientHttp(H11Protocol):
    """HTTP that waits forever neither for a request to come nor for an answer to be read."""

    _patience: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _heard = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that `pause_writing` tells of any byte that waits
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting if this is only the beginning of a request."""
        self._heard = self.loop.time()
        super().data_received(data)
        self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for a client that has an answer to read."""
        super().pause_writing()
        self._expect_progress()

    def resume_writing(self) -> None:
        """Wait no longer: it has been read."""
        super().resume_writing()
        self._expect_nothing()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection as it came: WebSockets have a patience of their own."""
        self._expect_nothing()
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._expect_nothing()
        if self._patience is not None:
            self._patience.cancel()

    def _expect_progress(self) -> None:
        """Let go of a client that neither reads nor sends; uploads are ended before that.

        An orderly close would not do: it waits for the client to read what is left.
        """
        app: Any = self.config.app
        seconds = app.state.sordino.settings.stall_seconds + LINGER_SECONDS
        since, left = self.loop.time(), self.transport.get_write_buffer_size()

        def judge() -> None:
            if self._heard > since or self.transport.get_write_buffer_size() < left:
                self._expect_progress()
            else:
                self.transport.abort()

        self._stall = self.loop.call_later(seconds, judge)

    def _expect_nothing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _wait(self) -> None:
        is_waiting = self.conn.their_state is h11.IDLE
        if is_waiting and self._patience is None:
            self._patience = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)
        elif not is_waiting and self._patience is not None:
            self._patience.cancel()
            self._patience = None


class PatientWebSocket(WebSocketsSansIOProtocol):
    """WebSocket that does not wait forever for its last bytes to be read."""

    async def send(self, message: Any) -> None:
        """Note that a refusal completes the handshake, which uvicorn would miss in its log."""
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Let go of a peer that does not listen."""
        super().on_task_complete(task)
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Let go of a peer that does not answer."""
        super().keepalive_timeout()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


class Server(uvicorn.Server):
    """A server that lets live streams end before it does.

    Args:
        settings: see `Settings`.
        options: further ones of `uvicorn.Config`.
    """

    def __init__(self, settings: Settings, **options: Any) -> None:
        app = create_app(settings)
        self._state: State = app.state.sordino
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=PatientHttp,
                ws=PatientWebSocket,
                ws_max_size=MOST_BLOCK_BYTES,
                ws_per_message_deflate=False,  # sound does not shrink, and bombs would grow
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=LINGER_SECONDS,
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
                forwarded_allow_ips=list(settings.trusted_proxies),
                server_header=False,
                **options,
            )
        )

    @property
    def address(self) -> str:
        """Where it listens, once it has started, such as "127.0.0.1:8765"."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no new streams, give those that are there time to end, then end."""
        state = self._state
        state.engine.drain(state.settings.drain_seconds)
        if state.engine.streams or state.uploads:
            logger.info("Waiting for %d live stream(s)", len(state.engine.streams))
        until = self._now() + state.settings.drain_seconds + 2  # streams are told, and close
        while (state.engine.streams or state.uploads) and self._now() < until:
            if self.force_exit:
                break
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
