"""The door: what is asked of every request and WebSocket before the application sees it."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sordino.serve.auth import Auth, bearer
from sordino.serve.errors import Refusal
from sordino.serve.metrics import Metrics
from sordino.serve.rates import RateLimit
from sordino.serve.settings import LOOPBACK_NAMES, Settings

SMALL_BODY = 1 << 20  # bytes; for every route but uploads, which count their own
UPLOAD_PATH = "/v1/denoise"

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


class Guard:
    """The rules of the door.

    Args:
        settings: what is allowed.
        metrics: counts what is refused.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.metrics = metrics
        self._auth = Auth(settings.token)
        self._origins = frozenset(settings.origins)
        self._hosts: frozenset[str] | None = None
        if settings.is_loopback:  # elsewhere the token does what this does here
            own = (settings.host, f"[{settings.host}]")
            self._hosts = frozenset((*LOOPBACK_NAMES, *own, *settings.host_names))
        self._requests = RateLimit(settings.requests_per_second, settings.request_burst)
        self._failures = RateLimit(settings.failures_per_minute / 60, settings.failures_per_minute)

    def allows(self, origin: str | None) -> bool:
        """Tell whether pages of another origin may use the server."""
        return origin in self._origins

    def check(self, scope: Scope, headers: Headers) -> None:
        """Check Host, Origin, rate and token.

        Raises:
            Refusal: one of them is not as it should be.
        """
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Refusal(421, "wrong_host", f"{host!r} is not this server: see --host-name")
        origin = headers.get("origin")
        if not (origin is None or self.allows(origin) or _is_same(origin, host)):
            raise Refusal(403, "forbidden_origin", f"pages of {origin!r} may not: see --origin")
        if not _is_protected(scope["path"]):
            return
        client = scope["client"][0] if scope.get("client") else ""
        wait = self._requests.wait(client)
        if wait:
            raise Refusal(429, "too_many_requests", "too many requests: wait a little", wait)
        presented = bearer(headers)
        if presented is None and (scope["type"] == "websocket" or _is_preflight(scope, headers)):
            return  # a WebSocket may present its token in its hello
        self.authenticate(client, presented)

    def authenticate(self, client: str, presented: str | None) -> None:
        """Check a token.

        Raises:
            Refusal: it is wrong, or too many of this client's were.
        """
        wait = self._failures.wait(client, cost=0)
        if wait:
            raise Refusal(429, "too_many_requests", "too many wrong tokens: wait a little", wait)
        if not self._auth.accepts(presented):
            self._failures.wait(client)
            raise Refusal(401, "unauthorized", "the token is missing or wrong")


class GuardMiddleware:
    """ASGI middleware: lets in what a guard lets in, and gives answers safe headers."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let in."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _with_headers(send, scope["path"], self._guard.allows(headers.get("origin")))
        try:
            self._guard.check(scope, headers)
            if scope["type"] == "http" and scope["path"] != UPLOAD_PATH:
                receive = _limited(receive, headers)
        except Refusal as refusal:
            self._guard.metrics.refused.labels(refusal.code).inc()
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_protected(path: str) -> bool:
    return path.startswith("/v1/") or path == "/metrics"


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _is_same(origin: str, host: str) -> bool:
    """Tell whether an origin is the server's own; behind a proxy the scheme may differ."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _with_headers(send: Send, path: str, is_shared: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if is_shared:
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            if _is_protected(path):
                headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def _limited(receive: Receive, headers: Headers) -> Receive:
    """Limit the body of a request.

    Raises:
        Refusal: its length is given and too large.
    """
    refusal = Refusal(413, "too_large", f"the body has more than {SMALL_BODY} bytes")
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > SMALL_BODY:
        raise refusal
    received = 0

    async def receiving() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > SMALL_BODY:
            raise refusal
        return message

    return receiving
