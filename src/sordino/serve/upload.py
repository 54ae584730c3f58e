"""One recording on its way through a worker process.

The body goes to the worker as it comes, and what that writes goes to the client as it can read.
Neither side waits for the other, and memory stays constant.
"""

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from time import perf_counter

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from sordino.serve.errors import Draining, Overloaded, Refusal
from sordino.serve.spool import PIECE, Spool
from sordino.serve.state import State
from sordino.serve.worker import Task

logger = logging.getLogger("uvicorn.error")

KEPT_WORDS = 1 << 14  # bytes of what a worker says on standard error

_FORM = "multipart/"  # the other type of forms is what curl calls any body
_MEDIA_TYPES = {
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg",
    "oga": "audio/ogg", "opus": "audio/ogg", "m4a": "audio/mp4", "m4b": "audio/mp4",
    "aac": "audio/aac", "mka": "audio/x-matroska", "mkv": "video/x-matroska",
    "mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime",
}  # fmt: skip


class Upload(Response):
    """One recording on its way through a worker; as a response it sends what comes out."""

    def __init__(self, request: Request, state: State, extension: str) -> None:
        media_type = _MEDIA_TYPES.get(extension, "application/octet-stream")
        disposition = f'attachment; filename="clean.{extension}"'
        super().__init__(media_type=media_type, headers={"Content-Disposition": disposition})
        del self.headers["Content-Length"]
        self._request = request
        self._state = state
        self._settings = state.settings
        self._begin = self._heard = perf_counter()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._spool = Spool()
        self._words = b""
        self._heard_out = asyncio.Event()  # the worker has said its last word
        self._failure: Refusal | None = None

    def check(self) -> None:
        """Refuse what can be refused before the first byte.

        Raises:
            Refusal: for its type or size, or because there is no room.
        """
        headers = self._request.headers
        if headers.get("content-type", "").lower().startswith(_FORM):
            raise Refusal(
                415, "unsupported_media",
                "send the file itself as the body, not a form: curl --data-binary @noisy.wav",
            )  # fmt: skip
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._settings.max_body_bytes:
            raise self._too_large()
        if self._state.engine.draining_until is not None:
            raise Draining
        if len(self._state.uploads) >= self._settings.max_uploads:
            raise Overloaded("other recordings are being denoised: wait a little")

    async def begin(self, task: Task) -> None:
        """Start the worker, and wait until it has said its first byte or its last word.

        Raises:
            Refusal: the recording cannot be denoised.
        """
        self._state.uploads.add(self)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sordino.serve.worker", task.to_json()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        work = (self._pump(), self._collect(), self._listen(), self._time())
        self._tasks = [asyncio.create_task(each) for each in work]
        await self._spool.filled()
        if not self._spool.total:
            await self._settled()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send what the worker writes, as fast as the client reads."""
        outcome = "aborted"
        try:
            headers = self.raw_headers
            await self._sent(
                send, {"type": "http.response.start", "status": 200, "headers": headers}
            )
            while data := await self._spool.read():
                await self._sent(
                    send, {"type": "http.response.body", "body": data, "more_body": True}
                )
            await self._settled()  # if it failed late, the answer breaks off
            await self._sent(send, {"type": "http.response.body", "body": b""})
            outcome = "done"
        except Refusal as refusal:  # nothing marks the end: every client takes that as an error
            outcome = refusal.code
            logger.warning("The answer to an upload breaks off: %s", refusal.message)
        finally:
            await self.end(outcome)

    async def end(self, outcome: str) -> None:
        """Stop whatever still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._state.metrics.upload_seconds.observe(perf_counter() - self._begin)
        self._state.metrics.uploads.labels(outcome).inc()
        self._state.uploads.discard(self)
        self._spool.close()

    async def _settled(self) -> None:
        """Wait for the worker's end.

        Raises:
            Refusal: it failed.
        """
        if self._failure is None and self._process is not None:
            code = await self._process.wait()
            await self._heard_out.wait()
            if code:
                self._fail(self._explained(code))
        if self._failure is not None:
            raise self._failure

    async def _pump(self) -> None:
        """Give the body to the worker; notice when the client leaves."""
        stdin = self._process.stdin if self._process else None
        assert stdin is not None
        received = 0
        stream = self._request.stream()
        try:
            while True:
                async with asyncio.timeout(self._settings.stall_seconds):
                    data = await anext(stream, None)
                if data is None:
                    break
                self._heard = perf_counter()
                received += len(data)
                if received > self._settings.max_body_bytes:
                    self._fail(self._too_large())
                    return
                stdin.write(data)
                await stdin.drain()
        except TimeoutError:
            self._fail(Refusal(408, "too_slow", "the upload stalled"))
            return
        except ClientDisconnect:
            self._fail(Refusal(400, "bad_request", "the client left"))
            return
        except (BrokenPipeError, ConnectionResetError):
            return  # the worker has ended, and says why
        with suppress(BrokenPipeError, ConnectionResetError):
            stdin.close()
            await stdin.wait_closed()
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._fail(Refusal(400, "bad_request", "the client left"))

    async def _collect(self) -> None:
        stdout = self._process.stdout if self._process else None
        assert stdout is not None
        while data := await stdout.read(PIECE):
            await self._spool.write(data)
            if self._spool.total > self._settings.max_output_bytes:
                self._fail(self._too_large())
                return
        self._spool.end()

    async def _listen(self) -> None:
        stderr = self._process.stderr if self._process else None
        assert stderr is not None
        while data := await stderr.read(PIECE):
            self._words = (self._words + data)[-KEPT_WORDS:]
        self._heard_out.set()

    async def _time(self) -> None:
        await asyncio.sleep(self._settings.upload_seconds)
        self._fail(Refusal(413, "too_large", "it takes longer than is allowed"))

    def _fail(self, refusal: Refusal) -> None:
        """End the worker, for the first reason that there is."""
        if self._failure is None:
            self._failure = refusal
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._spool.end()

    def _explained(self, code: int) -> Refusal:
        for line in reversed(self._words.decode("utf-8", "replace").splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                said = json.loads(line)
                status = 413 if said["code"] == "too_large" else 422
                return Refusal(status, str(said["code"]), str(said["message"]))
        if code < 0:  # ended by a signal: over a limit, or a decoder's mistake
            return Refusal(413, "too_large", "it takes more time or memory than is allowed")
        return Refusal(422, "unreadable_media", "it cannot be decoded")

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "too_large", f"recordings of up to {self._settings.max_body_bytes} bytes are taken"
        )

    async def _sent(self, send: Send, message: dict[str, object]) -> None:
        """Send a message to a client that may still be busy with sending its own."""
        sending = asyncio.ensure_future(send(message))
        begin = perf_counter()
        try:
            while not sending.done():
                patience = self._settings.stall_seconds - perf_counter() + max(begin, self._heard)
                if patience <= 0:
                    raise Refusal(408, "too_slow", "the client does not read the answer")
                await asyncio.wait({sending}, timeout=patience)
            sending.result()
        finally:
            sending.cancel()


def _environment() -> dict[str, str]:
    """Return what a worker may know: where programs and libraries are, and no secrets."""
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")
    return {name: os.environ[name] for name in kept if name in os.environ}
