"""`POST /v1/denoise`: a recording in, the clean one out, both as streams.

The body goes to a worker process as it comes, and what that writes goes to the client as it can
read.  Neither side waits for the other, and memory stays constant.
"""

import asyncio
import json
import logging
import sys
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from sordino.denoiser import HIGHEST_RATE, LOWEST_RATE, MAX_WARM_UP
from sordino.io.formats import EXTENSIONS, RAW_ENCODINGS
from sordino.model import LIVE_MODEL, RECORDING_MODEL, available_models
from sordino.serve.admission import Pace
from sordino.serve.dependencies import State, Voices, state_of
from sordino.serve.errors import Draining, Refusal
from sordino.serve.worker import ENROL, MAX_CHANNELS, UploadTask

MAX_STDERR = 1 << 14  # bytes of a worker's standard error that are kept
PIECE_BYTES = 1 << 16
SPOOL_MEMORY = 1 << 20  # bytes of an answer that wait in memory; the rest waits in a file

_FORM = "multipart/"  # curl calls any body by the other form type
_MEDIA_TYPES = {
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg",
    "oga": "audio/ogg", "opus": "audio/ogg", "m4a": "audio/mp4", "m4b": "audio/mp4",
    "aac": "audio/aac", "mka": "audio/x-matroska", "mkv": "video/x-matroska",
    "mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime",
    "json": "application/json",
}  # fmt: skip
_ERRORS: dict[int | str, dict[str, object]] = {
    400: {"description": "A parameter is wrong"},
    404: {"description": "There is no such model"},
    408: {"description": "The upload stalled, or was too slow"},
    413: {"description": "The body, or the audio in it, is larger than allowed"},
    415: {"description": "A form or a compressed body instead of the file itself"},
    422: {"description": "This is not audio, or it is damaged"},
    503: {"description": "No room now; see Retry-After"},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}

logger = logging.getLogger("uvicorn.error")
router = APIRouter(tags=["recordings"])


@router.post(
    "/v1/denoise",
    summary="Take the noise out of a recording",
    response_class=Response,
    responses={
        200: {"description": "The clean recording", "content": {"*/*": _BINARY}},
        **_ERRORS,
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}
    },
)
async def denoise(
    request: Request,
    voices: Voices,
    extension: Annotated[
        str,
        Query(
            alias="format",
            description="Format to write, as the command line's --format",
            json_schema_extra={"enum": sorted(EXTENSIONS)},
        ),
    ] = "wav",
    model: Annotated[
        str | None,
        Query(
            description="A name from /v1/models; if left out, studio, which looks 11 s ahead, and "
            "default for samples without a header, which may be live"
        ),
    ] = None,
    strength: Annotated[float, Query(ge=0, le=1, description="Share of the noise to remove")] = 1.0,
    attenuation_limit: Annotated[
        float | None, Query(ge=0, le=200, description="Attenuate nothing by more, in dB")
    ] = None,
    warm_up: Annotated[
        float,
        Query(
            ge=0,
            le=MAX_WARM_UP,
            description="Seconds from its start that the model adapts to before it begins",
        ),
    ] = 0.0,
    listen: Annotated[
        float | None,
        Query(ge=0, le=MAX_WARM_UP, deprecated=True, description="Old name of warm_up"),
    ] = None,
    raw_rate: Annotated[
        int | None,
        Query(
            ge=LOWEST_RATE,
            le=HIGHEST_RATE,
            description="The body has no header, but samples at this rate in Hz",
        ),
    ] = None,
    raw_format: Annotated[
        str, Query(description="Of those samples", json_schema_extra={"enum": list(RAW_ENCODINGS)})
    ] = "s16le",
    raw_channels: Annotated[
        int, Query(ge=1, le=MAX_CHANNELS, description="Of those samples, interleaved")
    ] = 1,
) -> Response:
    """Take the noise out of a recording.

    The body is the file itself, in any format that the command line reads.  The answer begins
    while the body is still coming, for formats that can be streamed.
    """
    state = state_of(request)
    settings = state.settings
    extension, raw_format = extension.lower(), raw_format.lower()
    model = (model or (RECORDING_MODEL if raw_rate is None else LIVE_MODEL)).lower()
    upload = UploadResponse(request, state, extension)
    try:
        if extension not in EXTENSIONS:
            raise Refusal(400, "bad_request", f"there is no format {extension!r}: see /docs")
        if raw_format not in RAW_ENCODINGS:
            raise Refusal(400, "bad_request", f"there are no samples {raw_format!r}: see /docs")
        if model not in available_models():
            choice = ", ".join(available_models())
            raise Refusal(404, "not_found", f"no model is called {model!r}: choose one of {choice}")
        upload.check()
        task = UploadTask(
            extension=extension,
            model=model,
            strength=strength,
            attenuation_limit_db=attenuation_limit,
            warm_up=warm_up if listen is None else listen,
            raw=None if raw_rate is None else (raw_format, raw_rate, raw_channels),
            **settings.decoder_limits,
            voices=tuple(each.to_text() for each in voices.voices),
            others_db=voices.others_db,
            voice_fallback=voices.fallback_seconds,
        )
        await upload.start(task)
    except BaseException as error:
        await upload.refuse(error)
        raise
    return upload


@router.post(
    "/v1/voices",
    tags=["voices"],
    summary="Make a voice profile of a recording",
    response_class=Response,
    responses={
        200: {
            "description": "The profile",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "voice": {"type": "string", "description": "For `Sordino-Voice`"},
                            "encoder": {"type": "string"},
                            "seconds": {"type": "number", "description": "Of speech in it"},
                        },
                    }
                }
            },
        },
        **_ERRORS,
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}
    },
)
async def enrol(request: Request) -> Response:
    """Make a voice profile of a recording of one person.

    The answer is the only copy: the server keeps neither the recording nor the profile.
    """
    state = state_of(request)
    settings = state.settings
    upload = UploadResponse(request, state, "json")
    try:
        upload.check()
        task = UploadTask(
            extension=ENROL,
            model="default",
            strength=1.0,
            attenuation_limit_db=None,
            warm_up=0.0,
            raw=None,
            **settings.decoder_limits,
        )
        await upload.start(task)
    except BaseException as error:
        await upload.refuse(error)
        raise
    return upload


class UploadResponse(Response):
    """One recording on its way through a worker; as a response it sends what comes out.

    Args:
        request: its body is the recording.
        state: of the server.
        extension: of the format to write.
    """

    def __init__(self, request: Request, state: State, extension: str) -> None:
        media_type = _MEDIA_TYPES.get(extension, "application/octet-stream")
        is_file = extension in EXTENSIONS
        headers = {"Content-Disposition": f'attachment; filename="clean.{extension}"'}
        super().__init__(media_type=media_type, headers=headers if is_file else None)
        del self.headers["Content-Length"]
        self.client = request.client.host if request.client else ""
        self.pace = Pace(state.settings)
        self._request = request
        self._state = state
        self._settings = state.settings
        self._started = perf_counter()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._spool = Spool()
        self._stderr = b""
        self._stderr_ended = asyncio.Event()
        self._body_ended = asyncio.Event()
        self._failure: Refusal | None = None

    def check(self) -> None:
        """Refuse what can be refused before the first byte.

        Raises:
            Refusal: for its type or size, or because the server ends.
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
        if self._state.scheduler.draining_until is not None:
            raise Draining

    async def start(self, task: UploadTask) -> None:
        """Take a place, start the worker, and wait for its first byte or its end.

        Raises:
            Refusal: there is no place, or the recording cannot be denoised.
        """
        await self._state.uploads.take(self)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sordino.serve.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=task.environment(),
        )
        work = (
            self._pump_body(), self._collect_output(), self._collect_stderr(), self._limit_time(),
        )  # fmt: skip
        self._tasks = [asyncio.create_task(each) for each in work]
        await self._spool.wait_filled()
        if not self._spool.total:
            await self._check_outcome()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send what the worker writes, as fast as the client reads."""
        outcome = "aborted"
        try:
            headers = self.raw_headers
            await self._send(
                send, {"type": "http.response.start", "status": 200, "headers": headers}
            )
            while data := await self._spool.read():
                await self._send(
                    send, {"type": "http.response.body", "body": data, "more_body": True}, len(data)
                )
            await self._check_outcome()  # if it failed late, the answer breaks off
            await self._send(send, {"type": "http.response.body", "body": b""})
            outcome = "done"
        except Refusal as refusal:  # without the end of the body, every client sees an error
            outcome = refusal.code
            logger.warning("The answer to an upload breaks off: %s", refusal.message)
        finally:
            await self.end(outcome)

    async def refuse(self, error: BaseException) -> None:
        """End it before its answer has begun."""
        if isinstance(error, Refusal):
            await self.end(error.code)
            self._state.metrics.refused.labels(error.code).inc()
        else:
            await self.end("aborted")

    async def end(self, outcome: str) -> None:
        """Stop whatever still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._state.metrics.upload_seconds.observe(perf_counter() - self._started)
        self._state.metrics.uploads.labels(outcome).inc()
        self._state.uploads.give_back(self)
        self._spool.close()

    def fail(self, refusal: Refusal) -> None:
        """End the worker; the first reason counts."""
        if self._failure is None:
            self._failure = refusal
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._body_ended.set()
        self._spool.end()

    async def _check_outcome(self) -> None:
        """Wait for the worker's end.

        Raises:
            Refusal: it failed.
        """
        if self._failure is None and self._process is not None:
            code = await self._process.wait()
            await self._stderr_ended.wait()
            if code:
                self.fail(self._explain(code))
        if self._failure is not None:
            raise self._failure

    async def _pump_body(self) -> None:
        """Pass the body to the worker; notice when the client leaves."""
        stdin = self._process.stdin if self._process else None
        assert stdin is not None
        received = 0
        stream = self._request.stream()
        try:
            while True:
                with self.pace.waiting() as waiting:
                    async with asyncio.timeout(self.pace.seconds_left):
                        data = await anext(stream, b"")
                    waiting.moved = len(data)
                if not data:
                    break
                received += len(data)
                if received > self._settings.max_body_bytes:
                    self.fail(self._too_large())
                    return
                stdin.write(data)
                await stdin.drain()
        except TimeoutError:
            self.fail(Refusal(408, "too_slow", f"the upload is too slow: {self.pace.least}"))
            return
        except ClientDisconnect:
            self.fail(Refusal(400, "bad_request", "the client left"))
            return
        except (BrokenPipeError, ConnectionResetError):
            return  # the worker has ended, and says why
        finally:
            self._body_ended.set()
        with suppress(BrokenPipeError, ConnectionResetError):
            stdin.close()
            await stdin.wait_closed()
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.fail(Refusal(400, "bad_request", "the client left"))

    async def _collect_output(self) -> None:
        stdout = self._process.stdout if self._process else None
        assert stdout is not None
        while data := await stdout.read(PIECE_BYTES):
            await self._spool.write(data)
            if self._spool.total > self._settings.max_output_bytes:
                self.fail(self._too_large())
                return
        self._spool.end()

    async def _collect_stderr(self) -> None:
        stderr = self._process.stderr if self._process else None
        assert stderr is not None
        while data := await stderr.read(PIECE_BYTES):
            self._stderr = (self._stderr + data)[-MAX_STDERR:]
        self._stderr_ended.set()

    async def _limit_time(self) -> None:
        await asyncio.sleep(self._settings.upload_seconds)
        self.fail(Refusal(413, "too_large", "it takes longer than is allowed"))

    def _explain(self, code: int) -> Refusal:
        for line in reversed(self._stderr.decode("utf-8", "replace").splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                error = json.loads(line)
                status = 413 if error["code"] == "too_large" else 422
                return Refusal(status, str(error["code"]), str(error["message"]))
        if code < 0:  # ended by a signal: over a limit, or a decoder's mistake
            return Refusal(413, "too_large", "it takes more time or memory than is allowed")
        return Refusal(422, "unreadable_media", "it cannot be decoded")

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "too_large", f"recordings of up to {self._settings.max_body_bytes} bytes are taken"
        )

    async def _send(self, send: Send, message: dict[str, object], size: int = 0) -> None:
        """Send a message; a client may send its whole recording before it reads."""
        sending = asyncio.ensure_future(send(message))
        body_ended = asyncio.ensure_future(self._body_ended.wait())
        try:
            await asyncio.wait({sending, body_ended}, return_when=asyncio.FIRST_COMPLETED)
            with self.pace.waiting() as waiting:
                await asyncio.wait({sending}, timeout=self.pace.seconds_left)
                waiting.moved = size
            if not sending.done():
                raise Refusal(408, "too_slow", f"the answer is read too slowly: {self.pace.least}")
            sending.result()
        finally:
            sending.cancel()
            body_ended.cancel()


class Spool:
    """A first-in first-out store of bytes whose writer never waits for its reader.

    So a client that sends its whole recording before it reads any of the answer, as most do, is
    served with constant memory.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=SPOOL_MEMORY)  # noqa: SIM115
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._ended = False
        self._read = self._written = 0
        self.total = 0
        """Bytes written so far."""

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        async with self._lock:
            await asyncio.to_thread(self._append, data)
        self.total += len(data)
        self._changed.set()

    def end(self) -> None:
        """Mark the end: nothing more will come."""
        self._ended = True
        self._changed.set()

    async def wait_filled(self) -> None:
        """Wait until there is something to read, or nothing more will come."""
        while not self._ended and self._read == self._written:
            self._changed.clear()
            await self._changed.wait()

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        await self.wait_filled()
        async with self._lock:
            return await asyncio.to_thread(self._take)

    def close(self) -> None:
        """Delete everything."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)

    def _take(self) -> bytes:
        self._file.seek(self._read)
        data = self._file.read(min(PIECE_BYTES, self._written - self._read))
        self._read += len(data)
        if self._read == self._written:  # the reader keeps up: reuse the file from its start
            self._read = self._written = 0
            self._file.seek(0)
            self._file.truncate()
        return data
