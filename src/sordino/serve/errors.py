"""Refusals, and the one JSON shape that every error response has."""

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Mount

RETRY_SECONDS = 5  # what a client is told to wait; nobody knows when a stream will end


class Refusal(HTTPException):
    """A request that the server does not fulfil.

    Args:
        status: HTTP status.
        code: a word for programs, see docs/reference/protocol.md.
        message: one line for people: what is wrong and how to fix it.
        retry_after: seconds, for what may work later.
        headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        all_headers = dict(headers or {})
        if retry_after is not None:
            all_headers["Retry-After"] = str(max(1, round(retry_after)))
        super().__init__(status, message, all_headers or None)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """Return the error response."""
        return error_response(self.status_code, self.code, self.message, self.headers)


class Overloaded(Refusal):
    """There is no room for one more."""

    def __init__(self, message: str, retry_after: float = RETRY_SECONDS) -> None:
        super().__init__(503, "overloaded", message, retry_after)


class Draining(Refusal):
    """The server is about to end."""

    def __init__(self) -> None:
        message = "the server is about to end: connect to another one, or again in a moment"
        super().__init__(503, "draining", message, RETRY_SECONDS)


def error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error as JSON."""
    return JSONResponse({"code": code, "message": message}, status, headers)


def handle_error(connection: HTTPConnection, error: Exception) -> Response:
    """Turn any exception of a route into a JSON response; answer OPTIONS on every path."""
    if isinstance(error, Refusal):
        return error.response()
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _wrong_method(connection)
    if isinstance(error, HTTPException):
        code = "not_found" if error.status_code == 404 else "bad_request"
        return error_response(error.status_code, code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"][1:])
        return error_response(400, "bad_request", f"{where}: {first['msg']}")
    return error_response(500, "internal", "the server made a mistake: its log says which")


def _wrong_method(connection: HTTPConnection) -> Response:
    allow = {"Allow": ", ".join(sorted(_methods(connection)))}
    if connection.scope["method"] == "OPTIONS":
        return Response(status_code=204, headers=allow)
    message = f"this path takes {allow['Allow']}"
    return error_response(405, "not_allowed", message, allow)


def _methods(connection: HTTPConnection) -> set[str]:
    """Return what the path takes; each method of a path may have a route of its own."""
    routes: list[BaseRoute] = connection.app.router.routes
    methods = {"OPTIONS"}
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**connection.scope, "method": method}
        for route in routes:
            is_static = isinstance(route, Mount)  # which matches whatever the method
            if route.matches(scope)[0] is Match.FULL and (method == "GET" or not is_static):
                methods.add(method)
    return methods | ({"HEAD"} if "GET" in methods else set())
