"""The door: every request and WebSocket comes in here, and every answer goes out.

What the guard does not let in is answered here, bodies are limited in size and patience, and all
answers get headers that keep browsers from doing what the page does not need.
"""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sordino.serve.errors import Refusal
from sordino.serve.guard import Guard, is_protected

UPLOAD_PATH = "/v1/denoise"
SMALL_BODY = 1 << 20  # bytes; for every route but uploads, which count their own
STALL_SECONDS = 10.0  # for the next piece of such a body
LINGER_SECONDS = 2.0  # a client that is refused while it sends must get to read why

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Door:
    """ASGI middleware: lets in what a guard lets in."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let in."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        visit = _Visit(scope, headers, receive, send)
        visit.is_shared = self._guard.allows(headers.get("origin"))
        try:
            self._guard.check(scope, headers)
            visit.check_length()
        except Refusal as refusal:
            self._guard.metrics.refused.labels(refusal.code).inc()
            await refusal.response()(scope, visit.receive, visit.send)
            return
        await self._app(scope, visit.receive, visit.send)


class _Visit:
    """One request or WebSocket, from the outside."""

    def __init__(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        self.is_shared = False  # whether another origin may use the answer
        self._path = scope["path"]
        self._receive = receive
        self._send = send
        self._headers = headers
        self._is_upload = self._path == UPLOAD_PATH
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self._is_open = scope["type"] == "http" and has_body  # more of the body may come
        self._received = 0

    def check_length(self) -> None:
        """Look at the length that a body is said to have.

        Raises:
            Refusal: it is too large.
        """
        length = self._headers.get("content-length", "0")
        if not self._is_upload and length.isdigit() and int(length) > SMALL_BODY:
            raise _too_large()

    async def receive(self) -> Message:
        """Pass a message in.

        Raises:
            Refusal: the body is too large, or stalls.
        """
        if not self._is_open or self._is_upload:
            message = await self._receive()
        else:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                self._is_open = False
                raise Refusal(408, "too_slow", "the body stalled") from None
        if message["type"] == "http.request":
            self._is_open = message.get("more_body", False)
            self._received += len(message.get("body", b""))
            if not self._is_upload and self._received > SMALL_BODY:
                raise _too_large()
        return message

    async def send(self, message: Message) -> None:
        """Pass a message out."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self.is_shared:
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            if is_protected(self._path):
                headers.setdefault("Cache-Control", "no-store")
            if message["status"] >= 400 and self._is_open:
                headers["Connection"] = "close"
                await self._linger()
        await self._send(message)

    async def _linger(self) -> None:
        """Read for a little while what a refused client still sends."""
        if "expect" in self._headers and not self._received:
            return  # it waits for our word before it sends
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                message = await self._receive()
                while message["type"] == "http.request" and message.get("more_body"):
                    message = await self._receive()


def _too_large() -> Refusal:
    return Refusal(413, "too_large", f"the body has more than {SMALL_BODY} bytes")
