"""Who may use the server: the token."""

import hmac
from hashlib import sha256

from starlette.datastructures import Headers

SCHEME = "bearer "


class Auth:
    """Compares what clients present with the server's token, in constant time.

    Args:
        token: of the server; None lets everyone in.
    """

    def __init__(self, token: str | None) -> None:
        self._digest = None if token is None else _digest(token)

    def accepts(self, presented: str | None) -> bool:
        """Tell whether this is the token, or none is wanted."""
        if self._digest is None:
            return True
        return hmac.compare_digest(self._digest, _digest(presented or ""))


def bearer(headers: Headers) -> str | None:
    """Return the token of an Authorization header, or None if there is no such header."""
    value = headers.get("authorization")
    if value is None:
        return None
    return value[len(SCHEME) :] if value.lower().startswith(SCHEME) else ""


def _digest(text: str) -> bytes:
    """Hash, so that the comparison does not tell the length either."""
    return sha256(text.encode("utf-8", "surrogateescape")).digest()
