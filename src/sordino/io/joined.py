"""Recordings that were joined end to end in one file, as `cat a.ogg b.ogg` does.

Chained Ogg and joined FLAC, WavPack, TTA, AMR, VOC, RF64, W64, NIST SPHERE, IRCAM, AVR, PAF, PVF
and SoX are read recording by recording, so that each may have a rate and channels of its own.  What
cannot be read behind a first recording is said.
"""

import mmap
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np

from sordino.arrays import Interleaved
from sordino.errors import SordinoError
from sordino.io.decoder import ContainerSource
from sordino.io.formats import SoundInfo
from sordino.resample import Resampler

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")  # of its header
_FLV, _FLV_TAGS = b"FLV\1", (8, 9, 18)  # sound, pictures, data
_CHUNKED = (b"WAVE", b"AIFF", b"AIFC", b"8SVX", b"16SV", b"MAUD")
_LEAST_BYTES = 64  # of another recording
_WAVPACK_INITIAL = 0x800  # flag of the first block of some samples; others add channels


class Part(NamedTuple):
    """Where a recording lies in a file, in bytes."""

    begin: int
    end: int


def recordings_in(file: BinaryIO, head: bytes, size: int) -> list[Part]:
    """Find the recordings that follow each other of the formats in `_FOLLOWING`.

    Args:
        file: opened for reading.
        head: its first bytes.
        size: of the file in bytes.

    Returns:
        One part, the whole file, where it is of another format or nothing is joined to it.
    """
    begins = [0]
    if following := _FOLLOWING.get(head[:4]):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            while (begin := following(data, begins[-1])) > 0:
                begins.append(begin)
    return [Part(*each) for each in zip(begins, [*begins[1:], size], strict=True)]


def size_notes(file: BinaryIO, head: bytes, size: int) -> list[str]:
    """Compare the size that a header promises with the size of the file.

    Args:
        file: opened for reading.
        head: its first bytes.
        size: of the file in bytes.
    """
    if head[:4] in (b"RIFF", b"FORM") and head[8:12] in _CHUNKED:
        promised = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big") + 8
        if promised >= 1 << 32 or promised <= len(head):  # written to a pipe, size unknown
            return []
        if size < promised:
            return [f"the file is cut short: only {size:,} of {promised:,} bytes"]
        begin = file.seek(promised + promised % 2)
        end = begin if file.read(4) == head[:4] else 0
    elif size > _LEAST_BYTES:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = _second_header(data, head)
    else:
        return []
    if not 0 < end <= size - _LEAST_BYTES:
        return []
    return [
        f"another recording is joined to it after {end:,} bytes, which is left out: "
        "split the file there"
    ]


def _second_header(data: mmap.mmap, head: bytes) -> int:
    """Return where another recording begins of which FFmpeg reads the first only; 0 if nowhere."""
    if head[4:8] == b"ftyp":
        return _next_box(data)
    if head[:4] == b"caff":
        return _next_caf(data)
    if head[:4] == b".snd":
        begin = int.from_bytes(data[4:8], "big") + int.from_bytes(data[8:12], "big")
        return begin if data[begin : begin + 4] == b".snd" else 0
    if data[:16] == _ASF:
        return max(data.find(_ASF, 16), 0)
    if head[:4] == _FLV:
        return _next_flv(data)
    return 0


def _next_box(data: mmap.mmap) -> int:
    """Walk the boxes of an mp4 file to the second one that begins a file."""
    begin, has_sound = 0, False
    while begin + 8 <= len(data):
        length, kind = int.from_bytes(data[begin : begin + 4], "big"), data[begin + 4 : begin + 8]
        if length == 1:
            length = int.from_bytes(data[begin + 8 : begin + 16], "big")
        if kind == b"ftyp" and has_sound:
            return begin
        has_sound = has_sound or kind == b"mdat"
        if length < 8:  # to the end of the file, or damage
            return 0
        begin += length
    return 0


def _next_caf(data: mmap.mmap) -> int:
    begin = 8
    while begin + 12 <= len(data):
        if data[begin : begin + 4] == b"caff":
            return begin
        length = int.from_bytes(data[begin + 4 : begin + 12], "big", signed=True)
        if length < 0:  # to the end of the file
            return 0
        begin += 12 + length
    return 0


def _next_flv(data: mmap.mmap) -> int:
    begin = 13
    while begin + 11 <= len(data):
        if data[begin : begin + 4] == _FLV:
            return begin
        if data[begin] not in _FLV_TAGS:  # damage
            return 0
        begin += 15 + int.from_bytes(data[begin + 1 : begin + 4], "big")
    return 0


def _next_ogg(data: mmap.mmap, begin: int) -> int:
    while data[begin : begin + 6] == b"OggS\0\2":  # one page for each track
        segments = data[begin + 26] if begin + 26 < len(data) else 0
        begin += 27 + segments + sum(data[begin + 27 : begin + 27 + segments])
    return data.find(b"OggS\0\2", begin)


def _next_flac(data: mmap.mmap, begin: int) -> int:
    found = [data.find(mark, begin + 4) for mark in (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")]
    return min((each for each in found if each > 0), default=-1)


def _next_wavpack(data: mmap.mmap, begin: int) -> int:
    """Walk over the blocks; the first one of a recording has the index 0."""
    position = begin
    while (position := data.find(b"wvpk", position)) >= 0:
        header = data[position : position + 32]
        if len(header) < 32 or not 0x402 <= int.from_bytes(header[8:10], "little") <= 0x410:
            position += 4  # these letters by chance, or a cut block
            continue
        index, samples, flags = (int.from_bytes(header[n : n + 4], "little") for n in (16, 20, 24))
        if position > begin and samples and index == 0 and flags & _WAVPACK_INITIAL:
            return position
        position += 8 + int.from_bytes(header[4:8], "little")
    return -1


def _next_rf64(data: mmap.mmap, begin: int) -> int:
    size = int.from_bytes(data[begin + 20 : begin + 28], "little") + 8
    return _same_mark(data, begin, begin + size + size % 2)


def _next_w64(data: mmap.mmap, begin: int) -> int:
    size = int.from_bytes(data[begin + 16 : begin + 24], "little")
    return _same_mark(data, begin, begin + size + -size % 8)


def _same_mark(data: mmap.mmap, begin: int, end: int) -> int:
    """Return the end of a recording where another one of the same format begins there."""
    return end if end > begin and data[end : end + 4] == data[begin : begin + 4] else -1


def _finder(header: bytes) -> Callable[[mmap.mmap, int], int]:
    """Search for a regular expression, long enough not to occur in sound by chance."""
    pattern = re.compile(header, re.DOTALL)

    def following(data: mmap.mmap, begin: int) -> int:
        found = pattern.search(data, begin + 4)
        return found.start() if found else -1

    return following


_next_ircam = _finder(
    b"(?:\x64\xa3[\1-\4]\0|\0[\1-\4]\xa3\x64).{4}(?:[\1-\x40]\0{3}|\0{3}[\1-\x40])"
)
_FOLLOWING = {
    b"OggS": _next_ogg,
    b"fLaC": _next_flac,
    b"wvpk": _next_wavpack,
    b"TTA1": _finder(b"TTA1\1\0"),
    b"#!AM": _finder(b"#!AMR"),
    b"Crea": _finder(b"Creative Voice File\x1a"),
    b"RF64": _next_rf64,
    b"riff": _next_w64,
    **{bytes([0x64, 0xA3, number, 0]): _next_ircam for number in range(1, 5)},
    **{bytes([0, number, 0xA3, 0x64]): _next_ircam for number in range(1, 5)},
    b"NIST": _finder(b"NIST_1A\n *[0-9]+\n"),
    b"2BIT": _finder(b"2BIT.{8}(?:\0\0|\xff\xff)\0[\x08\x10](?:\0\0|\xff\xff)"),
    b" paf": _finder(b" paf\0{7}[\0\1]"),
    b"fap ": _finder(b"fap \0{4}[\0\1]\0{3}"),
    b"PVF1": _finder(b"PVF1\n[0-9]+ [0-9]+ [0-9]+\n"),
    b".SoX": _finder(b"[.]SoX.{2}\0\0.{5}\0{3}"),
    b"XoS.": _finder(b"XoS[.]\0\0.{2}\0{3}"),
}
"""First bytes -> function that finds the recording after the one that begins at an offset."""


class JoinedSource:
    """Several recordings of one file as one sound, with the rate and channels of the first.

    Args:
        path: of the file.
        parts: where the recordings lie in it.

    Raises:
        SordinoError, av.error.FFmpegError: the first recording cannot be read, or has pictures.
    """

    def __init__(self, path: Path, parts: list[Part]) -> None:
        self._path, self._parts = path, parts
        self._open = _OpenPart(path, parts[0])
        if self._open.source.has_pictures:
            self.close()
            raise SordinoError("only recordings without pictures are read one by one")
        self.notes: list[str] = []
        # How long the others are is known only when they have been read.
        self.info: SoundInfo = replace(self._open.source.info, seconds=None)

    def blocks(self) -> Iterator[Interleaved]:
        """Yield the samples in blocks of about a second."""
        count = 0
        for number, part in enumerate(self._parts):
            if number:
                self.close()
                self._open = _OpenPart(self._path, part)
            for block in self._fitted(count / self.info.sample_rate):
                count += len(block)
                yield block
            self.notes += self._open.source.notes

    def _fitted(self, at: float) -> Iterator[Interleaved]:
        """Yield the open recording, which begins after `at` seconds, in the first one's form."""
        source = self._open.source
        rate, channels = self.info.sample_rate, self.info.channels
        if source.info.channels != channels:
            self.notes.append(
                f"its channels change from {channels} to {source.info.channels} after {at:.1f} s: "
                f"that part was mixed to {channels}"
            )
        if source.info.sample_rate == rate:
            for block in source.blocks():
                yield _mixed(block, channels)
            return
        self.notes.append(
            f"its sample rate changes to {source.info.sample_rate} Hz after {at:.1f} s: that "
            f"part was resampled to {rate} Hz"
        )
        resampler = Resampler(source.info.sample_rate, rate, channels)
        for block in source.blocks():
            yield resampler.process(_mixed(block, channels).T).T
        yield resampler.flush().T

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _OpenPart:
    """A part of a file as a file of its own, and what decodes it."""

    name = "a part of a file"

    def __init__(self, path: Path, part: Part) -> None:
        self._part, self._position = part, 0
        self._file = path.open("rb")
        try:
            self.source = ContainerSource(self)
        except BaseException:
            self._file.close()
            raise

    def read(self, size: int, /) -> bytes:
        begin, end = self._part
        self._file.seek(begin + self._position)
        data = self._file.read(max(0, min(size, end - begin - self._position)))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin, end = self._part
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: end - begin}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.source.close()
        self._file.close()


def _mixed(block: Interleaved, channels: int) -> Interleaved:
    """Give a block other channels: all of them the mean where their number differs."""
    if block.shape[1] == channels:
        return block
    mean: Interleaved = block.mean(axis=1, keepdims=True)
    return np.repeat(mean, channels, axis=1)
