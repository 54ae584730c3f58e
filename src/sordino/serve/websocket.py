"""`WS /v1/stream`: live audio over a WebSocket, see docs/reference/protocol.md."""

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from sordino.errors import SordinoError
from sordino.serve.dependencies import state_of
from sordino.serve.errors import Refusal
from sordino.serve.metrics import BlockTimes, LevelMeter
from sordino.serve.protocol import (
    CLOSE_CODES,
    VERSION,
    Hello,
    ProtocolError,
    is_share,
    read_hello,
    read_message,
)
from sordino.serve.scheduler import LiveStream, Scheduler
from sordino.serve.security import AccessRules, RateLimit, bearer_token
from sordino.serve.settings import ServerSettings

TICK_SECONDS = 1.0

router = APIRouter()


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Refuse the handshake, or serve a live stream to its end."""
    state = state_of(websocket)
    try:
        state.scheduler.check()
    except Refusal as refusal:
        state.metrics.refused.labels(refusal.code).inc()
        await websocket.send_denial_response(refusal.response())
        return
    await websocket.accept()
    connection = _Connection(websocket)
    code = await connection.serve()
    state.metrics.closed.labels(code).inc()


class _Connection:
    """One client, from its hello to the end of its stream."""

    def __init__(self, websocket: WebSocket) -> None:
        state = state_of(websocket)
        self._websocket = websocket
        self._rules: AccessRules = state.rules
        self._scheduler: Scheduler = state.scheduler
        self._settings: ServerSettings = state.settings
        self._input, self._output, self._times = LevelMeter(), LevelMeter(), BlockTimes()
        self._started = self._received_at = perf_counter()
        self._controls = RateLimit(self._settings.requests_per_second, self._settings.request_burst)

    async def serve(self) -> str:
        """Serve the stream; return the code of its end."""
        try:
            hello = await self._receive_hello()
            with await self._open(hello) as stream:
                await self._stream(hello, stream)
        except WebSocketDisconnect:
            return "closed"
        except ProtocolError as error:
            await self._close(error.code, error.message)
            return error.code
        except Refusal as error:
            await self._close(error.code, error.message, error.retry_after)
            return error.code
        except SordinoError as error:
            await self._close("bad_request", str(error))
            return "bad_request"
        return "closed"

    async def _receive_hello(self) -> Hello:
        try:
            async with asyncio.timeout(self._settings.hello_seconds):
                message = await self._receive()
        except TimeoutError:
            raise ProtocolError("timeout", "no hello came") from None
        text = message.get("text")
        if text is None:
            raise ProtocolError("bad_request", "the first message must be a hello, in JSON")
        hello = read_hello(text)
        if bearer_token(self._websocket.headers) is None:
            client = self._websocket.client
            self._rules.authenticate(client.host if client else "", hello.token)
        return hello

    async def _open(self, hello: Hello) -> LiveStream:
        voices = hello.voices(self._settings.voices)
        return await self._scheduler.open_in_thread(
            hello.rate, hello.channels, hello.model, hello.strength, voices
        )

    async def _stream(self, hello: Hello, stream: LiveStream) -> None:
        await self._send(
            {
                "type": "ready",
                "version": VERSION,
                "rate": hello.rate,
                "format": hello.format,
                "channels": hello.channels,
                "strength": hello.strength,
                "model": stream.denoiser.model.info.name if stream.voices else hello.model,
                "voices": stream.voices,
                "latency": round(stream.latency, 6),
                "max_block_bytes": hello.max_block_bytes,
            }
        )
        self._started = self._received_at = perf_counter()
        tasks = {
            asyncio.create_task(self._process(hello, stream)),
            asyncio.create_task(self._watch(stream)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _process(self, hello: Hello, stream: LiveStream) -> None:
        """Answer what the client sends, one message at a time."""
        while True:
            message = await self._receive()
            data = message.get("bytes")
            if data is None:
                await self._control(message["text"], hello, stream)
                continue
            begin = perf_counter()
            noisy = hello.decoded(data)
            if len(noisy):  # empty blocks do not keep a stream alive
                self._received_at = begin
            clean = await stream.process(noisy)
            self._input.add(noisy)
            self._output.add(clean)
            self._times.add(perf_counter() - begin)
            await self._send(hello.encoded(clean))
            self._check_length(stream.seconds)

    def _check_length(self, seconds: float) -> None:
        limit = self._settings.max_stream_seconds
        if seconds > limit:
            raise ProtocolError("too_long", f"a stream ends after {limit:g} s: start a new one")

    async def _control(self, text: str, hello: Hello, stream: LiveStream) -> None:
        while wait := self._controls.wait(""):  # a flood would hold up the event loop
            await asyncio.sleep(wait)
        message = read_message(text)
        kind = message["type"]
        if kind == "strength":
            value = message.get("value")
            if not is_share(value):
                raise ProtocolError("bad_request", f"strength is {value!r}: expected 0 to 1")
            stream.strength = float(value)
            await self._send({"type": "strength", "value": stream.strength})
        elif kind == "flush":
            clean = await stream.flush()
            self._output.add(clean)
            await self._send(hello.encoded(clean))
            await self._send({"type": "flushed"})
        elif kind == "reset":
            await asyncio.to_thread(stream.reset)
            await self._send({"type": "reset"})
        else:
            raise ProtocolError("bad_request", f"no control message is called {kind!r}")

    async def _watch(self, stream: LiveStream) -> None:
        """Send statistics, and end the stream when it is idle, too long, or the server ends."""
        has_told = False
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now, until = perf_counter(), self._scheduler.draining_until
            if until is not None and now >= until:
                raise ProtocolError("draining", "the server is shutting down: connect again")
            if until is not None and not has_told:
                has_told = True
                await self._send({"type": "draining", "seconds": round(until - now, 1)})
            if now - self._received_at > self._settings.idle_seconds:
                raise ProtocolError("timeout", f"no sound for {self._settings.idle_seconds:g} s")
            self._check_length(now - self._started)
            await self._send(self._statistics(stream))

    def _statistics(self, stream: LiveStream) -> dict[str, Any]:
        p50, p99 = self._times.read()
        speech, voice = stream.speech_probability, stream.voice_probability
        return {
            "type": "stats",
            "seconds": round(stream.seconds, 3),
            "speech": None if speech is None else round(speech, 3),
            "voice": None if voice is None else round(voice, 3),
            "voice_missing": stream.voice_missing,
            "strength": stream.strength,
            "input_dbfs": self._input.read(),
            "output_dbfs": self._output.read(),
            "p50_ms": p50,
            "p99_ms": p99,
            "load": round(self._scheduler.admission.load, 3),
        }

    async def _receive(self) -> Any:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return message

    async def _send(self, message: bytes | dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._settings.stall_seconds):
                if isinstance(message, bytes):
                    await self._websocket.send_bytes(message)
                else:
                    await self._websocket.send_json(message)
        except TimeoutError:
            raise ProtocolError("too_slow", "the client does not read its answers") from None

    async def _close(self, code: str, message: str, retry_after: float | None = None) -> None:
        """Say why, if the client is still connected, and close."""
        error: dict[str, Any] = {"type": "error", "code": code, "message": message}
        if retry_after is not None:
            error["retry_after"] = retry_after
        if self._websocket.client_state is WebSocketState.DISCONNECTED:
            return
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(1):
                await self._websocket.send_json(error)
                await self._websocket.close(CLOSE_CODES[code], code)
