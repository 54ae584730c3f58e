"""Archives of corpora: tar and zip files, also in parts."""

import bz2
import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from stream_unzip import UnzipError, stream_unzip

from sordino.corpora.download import storage_error
from sordino.errors import SordinoError

CHUNK = 1 << 20
SPANNED = b"PK\x07\x08"  # begins a zip file that was split
_OPENERS: dict[str, Callable[[Any], Any]] = {"gz": gzip.open, "tgz": gzip.open, "bz2": bz2.open}
_PART = re.compile(r"(?P<whole>.+)\.part[a-z]+$")
_VOLUME = re.compile(r"(?P<stem>.+)\.(?:z\d\d|zip)$")


def group_archives(names: Iterable[str]) -> dict[str, list[str]]:
    """Say which files make up one archive, in the order of their bytes.

    >>> group_archives(["a.tgz.partaa", "a.tgz.partab", "b.z01", "b.zip", "c.zip"])
    {'a.tgz': ['a.tgz.partaa', 'a.tgz.partab'], 'b.zip': ['b.z01', 'b.zip'], 'c.zip': ['c.zip']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        part, volume = _PART.match(name), _VOLUME.match(name)
        whole = part["whole"] if part else f"{volume['stem']}.zip" if volume else name
        groups.setdefault(whole, []).append(name)
    # Volumes sort as z01, z02 ... zip, which is their order.
    return {whole: sorted(members) for whole, members in groups.items()}


def unpack(name: str, parts: Sequence[Path], folder: Path) -> None:
    """Unpack an archive; no member can land outside the folder.

    Args:
        name: of the whole archive; its ending says what it is.
        parts: its files, in order.
        folder: where to.

    Raises:
        SordinoError: it is damaged, of an unknown kind, or the disk is full.
    """
    try:
        if name.endswith(".zip") and len(parts) == 1:
            with zipfile.ZipFile(parts[0]) as archive:
                archive.extractall(folder)
        elif name.endswith(".zip"):
            _unpack_volumes(parts, folder)
        elif re.search(r"\.(tar|tgz|tar\.gz|tar\.bz2)$", name):
            _unpack_tar(name, parts, folder)
        else:
            raise SordinoError(f"{name}: is neither a tar nor a zip archive")
    except (tarfile.TarError, zipfile.BadZipFile, UnzipError, EOFError) as error:
        raise SordinoError(f"{name}: is damaged ({error}): remove it and fetch it again") from error
    except OSError as error:
        raise storage_error(folder, error) from error


class _Joined(io.RawIOBase):
    """Files read one after the other as if they were one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._chunks = _chunks(parts)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._chunks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _chunks(parts: Sequence[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk


def _unpack_tar(name: str, parts: Sequence[Path], folder: Path) -> None:
    source: Any = io.BufferedReader(_Joined(parts), CHUNK)
    opener = next((o for ending, o in _OPENERS.items() if name.endswith(ending)), nullcontext)
    # tarfile's own decompression takes a stream that was cut off for a whole one.
    with opener(source) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(folder, filter="data")
        while stream.read(CHUNK):
            pass


def _unpack_volumes(parts: Sequence[Path], folder: Path) -> None:
    """Unpack a split zip file from its stream: zipfile cannot read such."""
    chunks = _chunks(parts)
    first = next(chunks)
    start = first[4:] if first.startswith(SPANNED) else first
    root = folder.resolve()
    for raw, _, content in stream_unzip(_then(start, chunks)):
        target = (root / raw.decode("utf-8", "surrogateescape")).resolve()
        if not target.is_relative_to(root):
            raise SordinoError(f"{parts[-1].name}: has a file outside its folder ({raw!r})")
        if raw.endswith(b"/"):
            target.mkdir(parents=True, exist_ok=True)
            for _ in content:
                pass
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.writelines(content)


def _then(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
