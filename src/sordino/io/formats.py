"""What is known of a sound, and the formats that can be written, by file extension."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from sordino.arrays import Interleaved

SOUNDFILE_FORMATS = {
    "wav": "WAV",
    "flac": "FLAC",
    "ogg": "OGG",
    "oga": "OGG",
    "aiff": "AIFF",
    "aif": "AIFF",
    "aifc": "AIFF",
    "au": "AU",
    "snd": "AU",
    "caf": "CAF",
    "w64": "W64",
    "rf64": "RF64",
}
"""Extension -> libsndfile's name of the format."""

CONTAINERS = {
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("ipod", "aac"),
    "m4b": ("ipod", "aac"),
    "m4r": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "opus": ("opus", "libopus"),
    "weba": ("webm", "libopus"),
    "mka": ("matroska", "flac"),
    "wv": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
    "wma": ("asf", "wmav2"),
    "ac3": ("ac3", "ac3"),
    "eac3": ("eac3", "eac3"),
    "mp2": ("mp2", "mp2"),
}
"""Extension -> FFmpeg's names of the format and of its usual encoder; sound only."""

LOSSLESS_CODECS = ("pcm_", "flac", "alac", "wavpack", "tta", "ape", "mlp", "truehd")
"""What FFmpeg's names of lossless codecs begin with."""

VIDEOS = {
    "mp4": ("mp4", "aac"),
    "m4v": ("mp4", "aac"),
    "mov": ("mov", "aac"),
    "mkv": ("matroska", "libopus"),
    "webm": ("webm", "libopus"),
    "avi": ("avi", "libmp3lame"),
    "ts": ("mpegts", "aac"),
    "mts": ("mpegts", "aac"),
    "m2t": ("mpegts", "aac"),
    "m2ts": ("mpegts", "aac"),
    "mpg": ("mpeg", "mp2"),
    "mpeg": ("mpeg", "mp2"),
    "vob": ("vob", "mp2"),
    "flv": ("flv", "aac"),
    "f4v": ("f4v", "aac"),
    "3gp": ("3gp", "aac"),
    "3g2": ("3g2", "aac"),
    "wmv": ("asf", "wmav2"),
    "asf": ("asf", "wmav2"),
    "ogv": ("ogg", "libopus"),
}
"""Extension -> FFmpeg's names of the format and of its usual audio encoder; with pictures."""

EXTENSIONS = (*SOUNDFILE_FORMATS, *CONTAINERS, *VIDEOS)
"""All that can be written."""

READ_ONLY = (
    *("amr", "awb", "3ga", "ape", "mpc", "mp1", "mpa", "m2a", "shn", "tak", "spx", "voc", "oma"),
    *("aa3", "ra", "dts", "dtshd", "thd", "mlp", "ec3", "dss", "qcp", "sph", "nist", "gsm"),
    *("mxf", "dv", "rm", "rmvb", "ogm", "divx", "mk3d", "mj2", "trp", "wtv", "nut"),
)
"""What a folder is searched for besides; sound from these is written as wav."""

INPUT_EXTENSIONS = (*EXTENSIONS, *READ_ONLY)

RAW_ENCODINGS = (
    *("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "u8", "s8"),
    *("f32le", "f32be", "f64le", "f64be", "alaw", "mulaw"),
)
"""FFmpeg's names for samples without a header."""


RIFF_BYTES = 1 << 32
"""What the size of a wav file stays below."""


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


def one_second_blocks(parts: Iterable[Interleaved], sample_rate: int) -> Iterator[Interleaved]:
    """Join small blocks into blocks of at least a second, which the network takes faster."""
    waiting: list[Interleaved] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= sample_rate:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)


def outgrows_header(head: bytes, size: int) -> bool:
    """Tell a wav file of 4 GiB or more, of which the header cannot say how long it is.

    Args:
        head: its first 12 bytes or more.
        size: of the file in bytes.
    """
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE" and size >= RIFF_BYTES


def truncation_notes(reached: float, promised: float | None) -> list[str]:
    """Compare the seconds that were there with those that the header promises.

    Some headers only estimate, so less than a second is not worth a word.
    """
    if promised is None or reached >= promised - max(1.0, 0.03 * promised):
        return []
    return [f"the file is cut short: only {reached:.1f} s of {promised:.1f} s are there"]
