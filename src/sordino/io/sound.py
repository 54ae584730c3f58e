"""What is known of a sound, and the blocks that it comes in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Shape = (samples, channels), full scale +-1."""


class Readable(Protocol):
    """Where bytes come from; it need not be seekable."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102


@dataclass(frozen=True)
class SoundInfo:
    """What is to be kept of a sound when it is written again.

    Args:
        sample_rate: in Hz.
        channels: number of channels.
        subtype: of the samples, in soundfile's words ("PCM_16", "PCM_24", "FLOAT", "VORBIS"),
            or the name of a lossy codec ("mp3", "aac").
        layout: meaning of the channels in FFmpeg's words ("stereo", "5.1"); "" is unknown.
        bit_rate: of lossy codecs, bits per second; None is unknown.
        seconds: duration; None is unknown.
        tags: title, artist and so on.
    """

    sample_rate: int
    channels: int
    subtype: str
    layout: str = ""
    bit_rate: int | None = None
    seconds: float | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])


class RawFormat(NamedTuple):
    """How headerless samples lie in a stream of bytes."""

    encoding: str = "s16le"
    """FFmpeg's name: s16le, s24le, s32le, f32le, f64le, u8, alaw, mulaw, or ...be."""
    sample_rate: int = 48000
    """In Hz."""
    channels: int = 1
    """Interleaved."""


def in_seconds(parts: Iterable[Samples], sample_rate: int) -> Iterator[Samples]:
    """Join small blocks into blocks of at least a second, which the network takes faster."""
    waiting: list[Samples] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= sample_rate:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)


def cut_short(reached: float, promised: float | None) -> list[str]:
    """Compare the seconds that were there with those that the header promises.

    Some headers only estimate, so less than a second is not worth a word.
    """
    if promised is None or reached >= promised - max(1.0, 0.03 * promised):
        return []
    return [f"the file is cut short: only {reached:.1f} s of {promised:.1f} s are there"]
