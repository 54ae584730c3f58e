"""The server as a process: sockets, timeouts, and an orderly shutdown."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sordino.serve.app import create_app
from sordino.serve.dependencies import State
from sordino.serve.errors import Overloaded, error_response
from sordino.serve.protocol import MAX_BLOCK_BYTES
from sordino.serve.settings import ServerSettings

REQUEST_TIMEOUT = 10  # seconds for the head of a request
CLOSE_TIMEOUT = 5  # seconds for the last bytes of a connection
PING_SECONDS = 20
MAX_CONNECTIONS = 1000

logger = logging.getLogger("uvicorn.error")


class HttpProtocol(H11Protocol):
    """HTTP with timeouts for the head of a request and for a client that does not read.

    Its own refusals are JSON as all others are.  uvicorn has no setting for any of this, and no
    public class to build on: this is its h11 protocol.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _received_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """Start the timeout for the head of a request; refuse one connection too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self.app: Any = Overloaded("too many connections are open: try again later").response()
        transport.set_write_buffer_limits(0)  # so that `pause_writing` tells of any byte that waits
        self._update_head_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timeout if the head is complete."""
        self._received_at = self.loop.time()
        super().data_received(data)
        self._update_head_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and close the connection."""
        refusal = error_response(400, "bad_request", msg, {"Connection": "close"})
        head = h11.Response(status_code=400, headers=refusal.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(refusal.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def pause_writing(self) -> None:
        """Start the timeout for reading a response."""
        super().pause_writing()
        self._start_read_timer()

    def resume_writing(self) -> None:
        """Stop the timeout for reading a response."""
        super().resume_writing()
        self._stop_read_timer()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over without timeouts: WebSockets have their own."""
        self._stop_read_timer()
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timeouts."""
        super().connection_lost(exc)
        self._stop_read_timer()
        if self._head_timer is not None:
            self._head_timer.cancel()

    def _start_read_timer(self) -> None:
        """Disconnect a client that neither reads nor sends; uploads are ended before that.

        An orderly close would wait for the client to read what is left.
        """
        app: Any = self.config.app
        seconds = app.state.sordino.settings.stall_seconds + CLOSE_TIMEOUT
        since, left = self.loop.time(), self.transport.get_write_buffer_size()

        def check() -> None:
            if self._received_at > since or self.transport.get_write_buffer_size() < left:
                self._start_read_timer()
            else:
                self.transport.abort()

        self._read_timer = self.loop.call_later(seconds, check)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _update_head_timer(self) -> None:
        is_waiting = self.conn.their_state is h11.IDLE
        if is_waiting and self._head_timer is None:
            self._head_timer = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)
        elif not is_waiting and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket with a timeout for its last bytes to be read, which uvicorn has no setting for."""

    async def send(self, message: Any) -> None:
        """Note that a refusal completes the handshake, or uvicorn logs an error."""
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Disconnect a client that does not read."""
        super().on_task_complete(task)
        self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Disconnect a client that does not answer pings."""
        super().keepalive_timeout()
        self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)


class Server(uvicorn.Server):
    """A uvicorn server that lets live streams end before it does.

    Args:
        settings: see `ServerSettings`.
        on_started: called when it accepts connections.
        options: further arguments of `uvicorn.Config`.
    """

    def __init__(
        self,
        settings: ServerSettings,
        on_started: Callable[["Server"], None] = lambda _: None,
        **options: Any,
    ) -> None:
        app = create_app(settings)
        self._on_started = on_started
        self._state: State = app.state.sordino
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=HttpProtocol,
                ws=WebSocketProtocol,
                ws_max_size=MAX_BLOCK_BYTES,
                ws_per_message_deflate=False,  # audio does not shrink, and zip bombs would grow
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                timeout_graceful_shutdown=CLOSE_TIMEOUT,
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
                proxy_headers=False,  # the application has its own, with the path prefix
                server_header=False,
                **options,
            )
        )

    async def startup(self, sockets: Any = None) -> None:
        """Open the sockets; call `on_started`."""
        await super().startup(sockets)
        if self.started:
            self._on_started(self)

    @property
    def url(self) -> str:
        """Address of the page once it has started, such as "http://127.0.0.1:8765/"."""
        scheme = "https" if self._state.settings.tls_certificate else "http"
        return f"{scheme}://{self.address}{self._state.settings.root_path}/"

    @property
    def address(self) -> str:
        """Address and port once it has started, such as "127.0.0.1:8765"."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no new streams, give the open ones time to end, then end."""
        state = self._state
        state.scheduler.drain(state.settings.drain_seconds)
        if state.scheduler.streams or state.uploads:
            logger.info("Waiting for %d live stream(s)", len(state.scheduler.streams))
        until = self._now() + state.settings.drain_seconds + 2  # streams are told, and close
        while (state.scheduler.streams or state.uploads) and self._now() < until:
            if self.force_exit:
                break
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
