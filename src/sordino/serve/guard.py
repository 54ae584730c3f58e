"""The rules of the door: what is asked of every request and WebSocket."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from sordino.serve.auth import Auth, bearer
from sordino.serve.errors import Refusal
from sordino.serve.metrics import Metrics
from sordino.serve.rates import RateLimit
from sordino.serve.settings import LOOPBACK_NAMES, Settings


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
        if not is_protected(scope["path"]):
            return
        client = scope["client"][0] if scope.get("client") else ""
        presented = bearer(headers)
        is_known = presented is not None and self._auth.accepts(presented)
        wait = self._requests.wait(f"{client} with the token" if is_known else client)
        if wait:
            raise Refusal(429, "too_many_requests", "too many requests: wait a little", wait)
        if presented is None and (scope["type"] == "websocket" or _is_preflight(scope, headers)):
            return  # a WebSocket may present its token in its hello
        self.authenticate(client, presented)

    def authenticate(self, client: str, presented: str | None) -> None:
        """Check a token; the right one is taken whatever others behind its address have sent.

        Raises:
            Refusal: it is wrong, or too many of this client's were.
        """
        if self._auth.accepts(presented):
            return
        wait = self._failures.wait(client)
        if wait:
            raise Refusal(429, "too_many_requests", "too many wrong tokens: wait a little", wait)
        raise Refusal(401, "unauthorized", "the token is missing or wrong")


def is_protected(path: str) -> bool:
    """Tell whether a route wants the token."""
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
