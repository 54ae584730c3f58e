"""Clients of a server's live streams, for threads and for asyncio.

    with connect("ws://127.0.0.1:8765", sample_rate=16000) as stream:
        for block in microphone:
            loudspeaker.play(stream.process(block))

    async with connect_async("ws://127.0.0.1:8765", sample_rate=16000) as stream:
        clean = await stream.process(block)

Every block is answered by the clean samples that are ready; all answers, with that of `flush`, are
as long as all blocks and are aligned with them sample by sample.
"""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as _connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as _connect

from sordino.arrays import from_int16
from sordino.errors import SordinoError
from sordino.serve.protocol import MAX_BLOCK_BYTES, Hello
from sordino.voice import load_voices

PATH = "/v1/stream"

Sound = NDArray[np.float32]
_OPTIONS: dict[str, Any] = {"compression": None, "max_size": 2 * MAX_BLOCK_BYTES}


class StreamError(SordinoError):
    """The server refused or ended a stream.

    Args:
        code: a word for programs, see the protocol reference.
        message: one line: what is wrong and how to fix it.
        retry_after: seconds after which it may work; None is unknown.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class _Talk:
    """The messages of a stream, for either kind of connection."""

    def __init__(self, hello: Hello) -> None:
        self.hello = hello
        self.strength = hello.strength
        self.latency = 0.0
        """Of the algorithm, in seconds."""
        self.statistics: dict[str, Any] = {}
        """What the server sent last, see the protocol reference."""
        self._error: StreamError | None = None

    @property
    def opening(self) -> str:
        # Servers of an earlier version refuse fields that they do not know.
        defaults = asdict(Hello())
        given = {key: value for key, value in asdict(self.hello).items() if value != defaults[key]}
        return json.dumps({"type": "hello", **given})

    def noisy(self, block: ArrayLike) -> bytes:
        array: NDArray[Any] = np.asarray(block)
        is_pcm = array.dtype == np.int16
        return self.hello.encoded(from_int16(array) if is_pcm else array.astype(np.float32))

    def understood(self, message: str | bytes) -> Sound | str:
        """Return clean sound, or the type of a message that was noted.

        Raises:
            StreamError: the server ends the stream.
        """
        if isinstance(message, bytes):
            return self.hello.decoded(message)
        values: dict[str, Any] = json.loads(message)
        kind = str(values["type"])
        if kind == "error":
            self._error = StreamError(values["code"], values["message"], values.get("retry_after"))
            raise self._error
        if kind == "stats":
            self.statistics = values
        elif kind == "ready":
            self.latency = values["latency"]
        elif kind == "strength":
            self.strength = values["value"]
        return kind

    def ended(self, error: ConnectionClosed) -> StreamError:
        reason = error.rcvd.reason if error.rcvd else "the connection was lost"
        return self._error or StreamError(reason or "closed", f"the stream has ended: {reason}")


class Stream:
    """A live stream, one call at a time; made by `connect`."""

    def __init__(self, connection: ClientConnection, talk: _Talk) -> None:
        self._connection = connection
        self._talk = talk

    def process(self, block: ArrayLike) -> Sound:
        """Send a block of noisy sound and return the clean samples that are ready.

        Args:
            block: float at full scale +-1 or int16, shape = (samples,) or (samples, channels);
                at most a second.
        """
        return self._asked(self._talk.noisy(block))

    def flush(self) -> Sound:
        """Return the samples that are still inside; what follows is a new sound."""
        clean = self._asked('{"type": "flush"}')
        self.wait_until("flushed")
        return clean

    def reset(self) -> None:
        """Forget everything heard so far; what is inside is dropped."""
        self._sent('{"type": "reset"}')
        self.wait_until("reset")

    @property
    def strength(self) -> float:
        """Share of the noise that is removed, 0 to 1; settable."""
        return self._talk.strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._sent(json.dumps({"type": "strength", "value": value}))
        self.wait_until("strength")

    @property
    def latency(self) -> float:
        """Of the algorithm, in seconds."""
        return self._talk.latency

    @property
    def statistics(self) -> dict[str, Any]:
        """What the server sent last, about once a second; see the protocol reference."""
        return self._talk.statistics

    def _asked(self, message: str | bytes) -> Sound:
        self._sent(message)
        while isinstance(answer := self._received(), str):
            pass
        return answer

    def wait_until(self, kind: str) -> None:
        """Receive until a message of this kind has come."""
        while self._received() != kind:
            pass

    def _sent(self, message: str | bytes) -> None:
        try:
            self._connection.send(message)
        except ConnectionClosed:
            self.wait_until("")  # what the server said before it closed tells why

    def _received(self) -> Sound | str:
        try:
            return self._talk.understood(self._connection.recv())
        except ConnectionClosed as error:
            raise self._talk.ended(error) from error


class AsyncStream:
    """A live stream for asyncio; made by `connect_async`.

    `process` sends a block and waits for its answer.  `send` and `receive` do so by themselves,
    for programs that send at a steady pace; every block has one answer, in order.
    """

    def __init__(self, connection: AsyncConnection, talk: _Talk) -> None:
        self._connection = connection
        self._talk = talk

    async def process(self, block: ArrayLike) -> Sound:
        """Send a block of noisy sound and return the clean samples that are ready.

        Shape: (samples,) or (samples, channels).
        """
        await self.send(block)
        return await self.receive()

    async def send(self, block: ArrayLike) -> None:
        """Send a block of noisy sound.

        Shape: (samples,) or (samples, channels).
        """
        await self._sent(self._talk.noisy(block))

    async def receive(self) -> Sound:
        """Return the answer to the next block."""
        while isinstance(answer := await self._received(), str):
            pass
        return answer

    async def flush(self) -> Sound:
        """Return the samples that are still inside; what follows is a new sound."""
        await self._sent('{"type": "flush"}')
        clean = await self.receive()
        await self.wait_until("flushed")
        return clean

    async def reset(self) -> None:
        """Forget everything heard so far; what is inside is dropped."""
        await self._sent('{"type": "reset"}')
        await self.wait_until("reset")

    async def set_strength(self, value: float) -> None:
        """Set the share of the noise that is removed, 0 to 1."""
        await self._sent(json.dumps({"type": "strength", "value": value}))
        await self.wait_until("strength")

    @property
    def strength(self) -> float:
        """Share of the noise that is removed, 0 to 1."""
        return self._talk.strength

    @property
    def latency(self) -> float:
        """Of the algorithm, in seconds."""
        return self._talk.latency

    @property
    def statistics(self) -> dict[str, Any]:
        """What the server sent last, about once a second; see the protocol reference."""
        return self._talk.statistics

    async def wait_until(self, kind: str) -> None:
        """Receive until a message of this kind has come."""
        while await self._received() != kind:
            pass

    async def _sent(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            await self.wait_until("")  # what the server said before it closed tells why

    async def _received(self) -> Sound | str:
        try:
            return self._talk.understood(await self._connection.recv())
        except ConnectionClosed as error:
            raise self._talk.ended(error) from error


@contextmanager
def connect(url: str, sample_rate: int = 48000, **options: Any) -> Generator[Stream]:
    """Open a live stream.

    Args:
        url: of the server, such as "ws://127.0.0.1:8765" or "wss://...".
        sample_rate: in Hz, 8000 to 48000.
        options: format ("s16" or "f32"), channels, strength, model, token, others, voice_fallback;
            see `Hello`.  A voice may be a profile, its name or its file, or several.

    Raises:
        StreamError: the server cannot be reached, or refuses.
    """
    talk = _Talk(_hello(sample_rate, options))
    with ExitStack() as stack:
        try:
            opening = cast(Any, _connect)(url.rstrip("/") + PATH, **_OPTIONS)
            connection: ClientConnection = stack.enter_context(opening)
        except (InvalidHandshake, OSError) as error:
            raise _refused(url, error) from error
        stream = Stream(connection, talk)
        connection.send(talk.opening)
        stream.wait_until("ready")
        yield stream


@asynccontextmanager
async def connect_async(
    url: str, sample_rate: int = 48000, **options: Any
) -> AsyncGenerator[AsyncStream]:
    """Open a live stream in asyncio; see `connect`."""
    talk = _Talk(_hello(sample_rate, options))
    async with AsyncExitStack() as stack:
        opening = _connect_async(url.rstrip("/") + PATH, **_OPTIONS)
        try:
            connection = await stack.enter_async_context(opening)
        except (InvalidHandshake, OSError) as error:
            raise _refused(url, error) from error
        stream = AsyncStream(connection, talk)
        await connection.send(talk.opening)
        await stream.wait_until("ready")
        yield stream


def _hello(sample_rate: int, options: dict[str, Any]) -> Hello:
    given: dict[str, Any] = {"rate": sample_rate, "format": "f32"}
    if options.get("voice") is not None:
        texts = [each.to_text() for each in load_voices(options["voice"])]
        options = {**options, "voice": texts}
    return Hello(**given | options)


def _refused(url: str, error: Exception) -> StreamError:
    if isinstance(error, InvalidStatus):
        response = error.response
        after = response.headers.get("Retry-After")
        try:
            said: dict[str, Any] = json.loads(response.body or b"")
        except ValueError:
            said = {}
        message = said.get("message", f"the server answers {response.status_code}")
        retry_after = float(after) if after and after.isdigit() else None
        return StreamError(said.get("code", "refused"), message, retry_after)
    return StreamError("unreachable", f"cannot reach {url}: {error}")
