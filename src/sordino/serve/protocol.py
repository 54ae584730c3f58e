"""The WebSocket protocol of live streams, see docs/reference/protocol.md: messages and samples."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Literal, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import from_int16, to_int16
from sordino.voice import VoiceChoice, voices_from_texts
from sordino.voice.stream import FALLBACK_SECONDS

VERSION = 1
MIN_RATE, MAX_RATE = 8000, 48000  # Hz
MAX_CHANNELS = 8
MAX_TEXT = 4096  # characters of a JSON message
FORMATS: dict[str, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}
MAX_BLOCK_BYTES = MAX_RATE * MAX_CHANNELS * 4  # a second of 8 channels at 48 kHz in 32 bits

CLOSE_CODES = {
    "unauthorized": 1008,
    "too_large": 1009,
    "internal": 1011,
    "draining": 1012,
    "overloaded": 1013,
    "too_many_requests": 1013,
    "bad_request": 4400,
    "unknown_model": 4404,
    "timeout": 4408,
    "too_slow": 4409,
    "too_long": 4413,
}


class ProtocolError(Exception):
    """A message that breaks the protocol; the stream ends.

    Args:
        code: a key of `CLOSE_CODES`.
        message: one line: what is wrong and how to fix it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Hello:
    """The first message of a client.

    Args:
        rate: sample rate in Hz.
        format: of the samples both ways.
        channels: interleaved.
        strength: share of the noise to take, 0 to 1.
        model: name of a packaged one.
        voice: profile of the only voice to keep, as `sordino.voice.Voice.to_text` writes it, or
            several; [] keeps everybody, None is what the server keeps.
        others: the maximum attenuation of other voices, in dB; None is no limit.
        voice_fallback: seconds of speech without the voice after which everybody is kept until it
            is heard again; None is never.
        token: of the server, if it has one.
    """

    rate: int = 48000
    format: Literal["s16", "f32"] = "s16"
    channels: int = 1
    strength: float = 1.0
    model: str = "default"
    voice: str | Sequence[str] | None = None
    others: float | None = None
    voice_fallback: float | None = FALLBACK_SECONDS
    token: str | None = None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * FORMATS[self.format].itemsize

    def voices(self, default: VoiceChoice) -> VoiceChoice:
        """Return which voices are to be kept.

        Args:
            default: of the server, for clients that send none.

        Raises:
            SordinoError: a voice is no profile.
        """
        if self.voice is None:
            return default
        texts = [self.voice] if isinstance(self.voice, str) else self.voice
        return VoiceChoice(voices_from_texts(texts), self.others, self.voice_fallback)

    @property
    def max_block_bytes(self) -> int:
        """Largest block: a second of sound."""
        return self.rate * self.frame_bytes

    def decoded(self, data: bytes) -> NDArray[np.float32]:
        """Return a block at full scale +-1, shape = (samples,) or (samples, channels).

        Raises:
            ProtocolError: it is too large, or not a whole number of samples.
        """
        if len(data) > self.max_block_bytes:
            raise ProtocolError(
                "too_large", f"a block has {len(data)} bytes: at most {self.max_block_bytes}"
            )
        if len(data) % self.frame_bytes:
            raise ProtocolError(
                "bad_request",
                f"a block has {len(data)} bytes, which is no multiple of {self.frame_bytes}: send "
                f"whole samples of {self.channels} channel(s) in {self.format}",
            )
        samples = np.frombuffer(data, FORMATS[self.format])
        samples = from_int16(samples) if self.format == "s16" else samples.astype(np.float32)
        return samples if self.channels == 1 else samples.reshape(-1, self.channels)

    def encoded(self, sound: NDArray[np.float32]) -> bytes:
        """Return clean samples as bytes; 16 bit ones are rounded and held to full scale.

        Shape: (samples,) or (samples, channels).
        """
        if self.format == "f32":
            return sound.astype("<f4", copy=False).tobytes()
        return to_int16(sound).astype("<i2", copy=False).tobytes()


def read_hello(text: str) -> Hello:
    """Read the first message.

    Raises:
        ProtocolError: it is not a valid hello.
    """
    message = read_message(text)
    if message.pop("type") != "hello":
        raise ProtocolError("bad_request", 'the first message must be {"type": "hello", ...}')
    known = [each.name for each in fields(Hello)]
    unknown = sorted(message.keys() - set(known))
    if unknown:
        raise ProtocolError(
            "bad_request", f"hello has the unknown field {unknown[0]!r}: known are {known}"
        )
    for name in ("format", "model"):
        if isinstance(message.get(name), str):
            message[name] = message[name].lower()
    model, token = message.get("model", ""), message.get("token")
    _check(isinstance(model, str), "model", model, "a name")
    _check(isinstance(token, str | None), "token", "...", "a text")
    hello = Hello(**message)
    _check(_is_integer(hello.rate, MIN_RATE, MAX_RATE), "rate", hello.rate, "8000 to 48000")
    _check(hello.format in ("s16", "f32"), "format", hello.format, "'s16' or 'f32'")
    _check(_is_integer(hello.channels, 1, MAX_CHANNELS), "channels", hello.channels, "1 to 8")
    _check(is_share(hello.strength), "strength", hello.strength, "0 to 1")
    _check(_are_texts(hello.voice), "voice", "...", "a voice profile as a text, or a list of them")
    for name, lowest in (("others", 0), ("voice_fallback", 1)):
        value = getattr(hello, name)
        expected = f"a number of {lowest} or more, or null"
        _check(value is None or _is_number(value, lowest), name, value, expected)
    return hello


def read_message(text: str) -> dict[str, Any]:
    """Read a JSON message; it has a `type`.

    Raises:
        ProtocolError: it is not one.
    """
    if len(text) > MAX_TEXT:
        raise ProtocolError("too_large", f"a text message is longer than {MAX_TEXT} characters")
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("bad_request", "a text message is not JSON") from None
    fields = cast(dict[str, Any], message) if isinstance(message, dict) else {}
    if not isinstance(fields.get("type"), str):
        raise ProtocolError("bad_request", 'a text message is not {"type": "...", ...}')
    return fields


def is_share(value: object) -> TypeGuard[float]:
    """Return whether a value is a number from 0 to 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_texts(value: object) -> bool:
    each = cast(list[object], value if isinstance(value, list) else [value])
    return value is None or all(isinstance(text, str) for text in each)


def _is_number(value: object, lowest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value < inf


def _is_integer(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _check(is_valid: bool, name: str, value: object, expected: str) -> None:
    if not is_valid:
        raise ProtocolError("bad_request", f"{name} is {value!r}: expected {expected}")
