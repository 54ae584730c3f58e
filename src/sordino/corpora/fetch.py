"""Fetching a corpus: download, check, unpack tar and zip files, and a record of what was done."""

import bz2
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from stream_unzip import UnzipError, stream_unzip

from sordino.corpora.download import (
    check_space,
    download,
    remote_size,
    storage_error,
)
from sordino.corpora.registry import CorpusEntry, CorpusPart, RemoteFile
from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write

CHUNK = 1 << 20
SPANNED = b"PK\x07\x08"  # begins a zip file that was split
_OPENERS: dict[str, Callable[[Any], Any]] = {"gz": gzip.open, "tgz": gzip.open, "bz2": bz2.open}
_PART = re.compile(r"(?P<whole>.+)\.part[a-z]+$")
_VOLUME = re.compile(r"(?P<stem>.+)\.(?:z\d\d|zip)$")
RECORD = "fetched.json"
AUDIO = "audio"
RECORDED = "recorded at the first fetch"


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


@dataclass
class Record:
    """What was fetched into a folder.

    Attributes:
        licence: that was accepted, and when.
        files: name -> address, size, checksum and where that comes from.
        unpacked: archives that are unpacked whole.
        parts: names of the parts that are complete.
    """

    licence: str = ""
    accepted: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    unpacked: list[str] = field(default_factory=list[str])
    parts: list[str] = field(default_factory=list[str])

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read the record of a corpus's folder; an empty one where there is none.

        Raises:
            SordinoError: it is damaged.
        """
        path = folder / RECORD
        try:
            return cls(**json.loads(path.read_text())) if path.exists() else cls()
        except (OSError, ValueError, TypeError) as error:
            raise SordinoError(
                f"{path} is damaged: remove it and fetch the corpus again"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the record in one piece."""
        with atomic_write(folder / RECORD) as part:
            part.write_text(json.dumps(asdict(self), indent=2))


def fetch(
    corpus: CorpusEntry,
    parts: Sequence[CorpusPart],
    folder: Path,
    *,
    jobs: int = 2,
    mirror: str = "",
    archives: Sequence[Path] = (),
    keep_archives: bool = False,
    progress: bool = True,
) -> Record:
    """Fetch and unpack parts of a corpus whose licence was accepted.

    What is there already is not fetched again, and what was interrupted goes on.

    Args:
        corpus: of the registry.
        parts: of it.
        folder: of this corpus; its audio comes to lie under `audio/`.
        jobs: downloads at a time.
        mirror: address of a folder that holds the corpus's files, in place of its own.
        archives: files that the user has, in place of a download.
        keep_archives: leave the archives there once they are unpacked.
        progress: show a bar.

    Raises:
        SordinoError: a download fails, or the disk is full.
    """
    if corpus.manual and not archives:
        raise SordinoError(
            f"{corpus.name}: {corpus.manual} ({corpus.home}), and give it with --archive FILE"
        )
    try:
        (folder / AUDIO).mkdir(parents=True, exist_ok=True)
        record = Record.read(folder)
        record.licence = corpus.licence
        record.accepted = record.accepted or datetime.now(UTC).isoformat(timespec="seconds")
        record.write(folder)
        for path in archives:
            _unpack(path.name, [path], folder, record)
        for part in parts:
            wanted = part.files if not mirror else _mirrored(part.files, mirror)
            _fetch_part(wanted, folder, record, jobs, keep_archives, progress)
            if part.name not in record.parts:
                record.parts.append(part.name)
            record.write(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    return record


def _mirrored(files: Sequence[RemoteFile], mirror: str) -> tuple[RemoteFile, ...]:
    return tuple(replace(file, url=f"{mirror.rstrip('/')}/{file.name}") for file in files)


def _fetch_part(
    files: Sequence[RemoteFile],
    folder: Path,
    record: Record,
    jobs: int,
    keep_archives: bool,
    progress: bool,
) -> None:
    by_name = {file.name: file for file in files}
    groups = {
        whole: members
        for whole, members in group_archives(by_name).items()
        if whole not in record.unpacked
    }
    todo = [by_name[name] for members in groups.values() for name in members]
    if not todo:
        return
    sizes = [size for file in todo if (size := remote_size(file.url)) is not None]
    have = sum(path.stat().st_size for file in todo for path in _there(folder, file.name))
    check_space(folder, sum(sizes) - have)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not progress) as bar, ThreadPoolExecutor(jobs) as pool:
        task = bar.add_task(folder.name, total=sum(sizes) if len(sizes) == len(todo) else None)

        def one(file: RemoteFile) -> None:
            known = record.files.get(file.name, {}).get("checksum", "")
            fetched = download(
                file, folder, file.checksum or known, lambda count: bar.advance(task, count)
            )
            record.files[file.name] = {
                "url": file.url,
                "bytes": fetched.path.stat().st_size,
                "checksum": fetched.checksum,
                "source": "registry" if file.checksum else RECORDED,
            }

        for whole, members in groups.items():
            list(pool.map(one, [by_name[name] for name in members]))
            record.write(folder)
            _unpack(whole, [folder / name for name in members], folder, record)
            if not keep_archives:
                for name in members:
                    (folder / name).unlink()


def _there(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / f"{name}.part") if path.exists()]


def _unpack(whole: str, parts: Sequence[Path], folder: Path, record: Record) -> None:
    if whole in record.unpacked:
        return
    for path in parts:
        if not path.is_file():
            raise SordinoError(f"{path}: no such file")
    check_space(folder, sum(path.stat().st_size for path in parts))
    unpack(whole, parts, folder / AUDIO)
    record.unpacked.append(whole)
    record.write(folder)


def describe(corpus: CorpusEntry, parts: Sequence[CorpusPart]) -> str:
    """Return the licence of a corpus and what would be fetched, to be shown before it is."""
    count = sum(len(part.files) for part in parts)
    names = ", ".join(part.name for part in parts)
    return (
        f"{corpus.title}\nhome: {corpus.home}\nlicence: {corpus.licence}\n"
        f"parts: {names} ({count} files)"
    )
