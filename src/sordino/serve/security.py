"""Access control: Host, Origin, request rate, token and request bodies.

ASGI middlewares from the outside in, with Starlette's CORSMiddleware before the last one, so that
what that one refuses carries CORS headers:

- `ForwardedMiddleware` applies what reverse proxies say of the client, the scheme and the path;
- `SecurityMiddleware` checks Host and Origin, limits request bodies and sets the headers that keep
  browsers from doing what the page does not need;
- `AccessMiddleware` checks the request rate and the token, and answers HEAD and what went wrong.
"""

import asyncio
import hmac
import re
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sordino.serve.errors import Refusal, handle_error
from sordino.serve.metrics import Metrics
from sordino.serve.settings import LOOPBACK_NAMES, ROOT_PATH, ServerSettings

UPLOAD_PATH = "/v1/denoise"
MAX_BODY_BYTES = 1 << 20  # for every route but uploads, which count their own
BODY_TIMEOUT = 10.0  # seconds for the next piece of such a body
LINGER_SECONDS = 2.0  # a client that is refused while it sends must be able to read why
MAX_CLIENTS = 10_000  # that a rate limit remembers; the longest unseen is forgotten first

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
_SCHEME = "bearer "


class RateLimit:
    """A token bucket for each client, which fills steadily and is emptied by its requests.

    Args:
        per_second: how fast a bucket fills.
        burst: what it holds.

    >>> limit = RateLimit(per_second=1, burst=2)
    >>> [limit.wait("somebody", now=0.0) for _ in range(3)]
    [0.0, 0.0, 1.0]
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # level, time

    def wait(self, client: str, now: float | None = None) -> float:
        """Take one from a client's bucket; return 0, or the seconds until there is one in it."""
        now = monotonic() if now is None else now
        level, since = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        self._buckets[client] = (level - 1 if level >= 1 else level, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if level >= 1 else (1 - level) / self._per_second


class AccessRules:
    """What is asked of every request and WebSocket.

    Args:
        settings: what is allowed.
        metrics: counts what is refused.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.metrics = metrics
        self._digest = None if settings.token is None else _digest(settings.token)
        self._origins = frozenset(each.lower() for each in settings.origins)
        self._hosts: frozenset[str] | None = None
        if settings.is_loopback:  # elsewhere the token protects against DNS rebinding
            own = (settings.host, f"[{settings.host}]", *LOOPBACK_NAMES, *settings.host_names)
            self._hosts = frozenset(each.lower() for each in own)
        self._requests = RateLimit(settings.requests_per_second, settings.request_burst)
        self._failures = RateLimit(settings.failures_per_minute / 60, settings.failures_per_minute)

    def allows(self, origin: str | None) -> bool:
        """Return whether pages of another origin may use the server."""
        return origin in self._origins

    def check_origin(self, headers: Headers) -> None:
        """Check Host and Origin.

        Raises:
            Refusal: 421 or 403.
        """
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Refusal(421, "wrong_host", f"{host!r} is not this server: see --host-name")
        origin = headers.get("origin")
        if not (origin is None or self.allows(origin) or _is_same(origin, host)):
            raise Refusal(
                403, "forbidden_origin", f"pages of {origin!r} may not use it: see --origin"
            )

    def check_request(self, scope: Scope, headers: Headers) -> None:
        """Check request rate, token, and what is said of the body.

        Raises:
            Refusal: 401, 413, 415 or 429.
        """
        path = route_path(scope)
        if is_protected(path):
            client = scope["client"][0] if scope.get("client") else ""
            token = bearer_token(headers)
            is_known = token is not None and self._is_token(token)
            wait = self._requests.wait(f"{client} with the token" if is_known else client)
            if wait:
                raise Refusal(429, "too_many_requests", "too many requests: wait a little", wait)
            # A WebSocket may present its token in its hello.
            if not is_known and not (token is None and scope["type"] == "websocket"):
                self.authenticate(client, token)
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise Refusal(
                415, "unsupported_media",
                f"the body is compressed ({coding}): send it as it is, without Content-Encoding",
                headers={"Accept-Encoding": "identity"},
            )  # fmt: skip
        length = headers.get("content-length", "0")
        if path != UPLOAD_PATH and length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise _too_large()

    def authenticate(self, client: str, token: str | None) -> None:
        """Check a token; the right one is accepted whatever others at its address have sent.

        Raises:
            Refusal: it is wrong, or too many of this client's were.
        """
        if self._is_token(token):
            return
        wait = self._failures.wait(client)
        if wait:
            raise Refusal(429, "too_many_requests", "too many wrong tokens: wait a little", wait)
        headers = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, "unauthorized", "the token is missing or wrong", headers=headers)

    def _is_token(self, token: str | None) -> bool:
        return self._digest is None or hmac.compare_digest(self._digest, _digest(token or ""))


class ForwardedMiddleware(ProxyHeadersMiddleware):
    """Applies X-Forwarded-For, -Proto and -Prefix of trusted proxies, and the root path.

    The proxy may pass the prefix of the path on or strip it.

    Args:
        app: the application.
        trusted_hosts: addresses or networks of the proxies.
        root_path: prefix of the path if the proxy does not say it.
    """

    def __init__(self, app: Any, trusted_hosts: Sequence[str], root_path: str) -> None:
        super().__init__(app, list(trusted_hosts))
        self._root_path = root_path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request or WebSocket."""
        if scope["type"] in ("http", "websocket"):
            prefix = self._root_path
            if scope.get("client") and scope["client"][0] in self.trusted_hosts:
                said = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
                prefix = said if re.fullmatch(ROOT_PATH, said) else prefix
            if prefix:
                scope["root_path"] = prefix
                if route_path(scope) == scope["path"]:
                    scope["path"] = prefix + scope["path"]
        await super().__call__(scope, receive, send)


class SecurityMiddleware:
    """Checks Host and Origin, limits request bodies, and sets headers for browsers."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_shared = self._rules.allows(headers.get("origin"))
        exchange = _Exchange(scope, headers, is_shared, receive, send)
        try:
            self._rules.check_origin(headers)
        except Refusal as refusal:
            await _refuse(refusal, self._rules, scope, exchange.receive, exchange.send)
            return
        await self._app(scope, exchange.receive, exchange.send)


class AccessMiddleware:
    """Checks request rate and token; answers HEAD as GET without a body, and every exception."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        has_started = False

        async def send_on(message: Message) -> None:
            nonlocal has_started
            has_started = True
            if is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            self._rules.check_request(scope, Headers(scope=scope))
        except Refusal as refusal:
            await _refuse(refusal, self._rules, scope, receive, send_on)
            return
        try:
            await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_on)
        except Exception as error:
            if scope["type"] == "http" and not has_started:
                response = handle_error(HTTPConnection(scope), error)
                await response(scope, receive, send_on)
            raise  # to the log


class _Exchange:
    """One request and its response, or one WebSocket."""

    def __init__(
        self, scope: Scope, headers: Headers, is_shared: bool, receive: Receive, send: Send
    ) -> None:
        self._path = route_path(scope)
        self._headers = headers
        self._is_shared = is_shared  # whether another origin may use the response
        self._receive = receive
        self._send = send
        self._is_upload = self._path == UPLOAD_PATH
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self._is_open = scope["type"] == "http" and has_body  # more of the body may come
        self._received = 0

    async def receive(self) -> Message:
        """Pass on a message of the client.

        Raises:
            Refusal: the body is too large, or stalls.
        """
        if not self._is_open or self._is_upload:
            message = await self._receive()
        else:
            try:
                async with asyncio.timeout(BODY_TIMEOUT):
                    message = await self._receive()
            except TimeoutError:
                self._is_open = False
                raise Refusal(408, "too_slow", "the body stalled") from None
        if message["type"] == "http.request":
            self._is_open = message.get("more_body", False)
            self._received += len(message.get("body", b""))
            if not self._is_upload and self._received > MAX_BODY_BYTES:
                raise _too_large()
        return message

    async def send(self, message: Message) -> None:
        """Pass on a message to the client."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._is_shared:
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
            return  # it waits for 100 Continue before it sends
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                message = await self._receive()
                while message["type"] == "http.request" and message.get("more_body"):
                    message = await self._receive()


def route_path(scope: Scope) -> str:
    """Return the path of a request without the prefix of a reverse proxy."""
    path, prefix = scope["path"], scope.get("root_path", "")
    is_prefixed = prefix and (path == prefix or path.startswith(f"{prefix}/"))
    return path.removeprefix(prefix) if is_prefixed else path


def is_protected(path: str) -> bool:
    """Return whether a route needs the token."""
    return path.startswith("/v1/") or path == "/metrics"


def bearer_token(headers: Headers) -> str | None:
    """Return the token of an Authorization header, or None if there is no such header."""
    value = headers.get("authorization")
    if value is None:
        return None
    return value[len(_SCHEME) :] if value.lower().startswith(_SCHEME) else ""


async def _refuse(
    refusal: Refusal, rules: AccessRules, scope: Scope, receive: Receive, send: Send
) -> None:
    rules.metrics.refused.labels(refusal.code).inc()
    await refusal.response()(scope, receive, send)


def _digest(token: str) -> bytes:
    """Hash, so that the comparison takes the same time whatever the length.

    JSON may hold lone surrogates, which UTF-8 cannot: a token with one is just a wrong token.
    """
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _is_same(origin: str, host: str) -> bool:
    """Return whether an origin is the server's own; behind a proxy the scheme may differ."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _too_large() -> Refusal:
    return Refusal(413, "too_large", f"the body has more than {MAX_BODY_BYTES} bytes")
