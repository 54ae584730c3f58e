"""What the server refuses, in the one shape that every answer has."""

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

RETRY_SECONDS = 5  # what a client is told to wait; nobody knows when a stream will end


class Refusal(HTTPException):
    """An answer that is not what the client hoped for.

    Args:
        status: HTTP status.
        code: a word for programs, see docs/reference/protocol.md.
        message: one line for people: what is wrong and what mends it.
        retry_after: seconds, for what may work later.
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after: float | None = None
    ) -> None:
        headers = None if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
        super().__init__(status, message, headers)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """Return the answer."""
        return answer(self.status_code, self.code, self.message, self.headers)


class Overloaded(Refusal):
    """There is no room for one more."""

    def __init__(self, message: str, retry_after: float = RETRY_SECONDS) -> None:
        super().__init__(503, "overloaded", message, retry_after)


class Draining(Refusal):
    """The server ends."""

    def __init__(self) -> None:
        message = "the server is about to end: connect to another one, or again in a moment"
        super().__init__(503, "draining", message, RETRY_SECONDS)


def answer(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error as JSON."""
    return JSONResponse({"code": code, "message": message}, status, headers)


def answer_http(_: HTTPConnection, error: Exception) -> JSONResponse:
    """Turn any HTTP error into the one shape."""
    if isinstance(error, Refusal):
        return error.response()
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "not_allowed"}.get(error.status_code, "bad_request")
        return answer(error.status_code, code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"][1:])
        return answer(400, "bad_request", f"{where}: {first['msg']}")
    return answer(500, "internal", "the server made a mistake: its log says which")
