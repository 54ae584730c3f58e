"""Downloads that go on where they were interrupted, checked against a checksum."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pooch
import requests
from urllib3.exceptions import HTTPError

from sordino.corpora.registry import RemoteFile
from sordino.errors import SordinoError

CHUNK = 1 << 20  # bytes between two reports of progress
TIMEOUT = (10.0, 60.0)  # s, to connect and between two packets
RETRIES = 6  # failures in a row, without a byte in between
PAUSE = 0.2  # s before the second attempt; it doubles with each failure
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Report = Callable[[int], object]


class Fetched(NamedTuple):
    """A downloaded file: its path, and the checksum that it has."""

    path: Path
    checksum: str


class _InterruptedError(Exception):
    """The transfer broke; another request may go on from where it stopped."""


def download(file: RemoteFile, folder: Path, checksum: str, report: Report) -> Fetched:
    """Fetch a file into a folder, or go on with one that was interrupted.

    Args:
        file: what to fetch.
        folder: where to; the unfinished file is beside it as `NAME.part`.
        checksum: that it has to have; "" where none is known yet.
        report: called with the number of further bytes that are there.

    Raises:
        SordinoError: the server refuses, the disk is full, or the file is another one.
    """
    pooch.get_logger().setLevel("WARNING")
    known = checksum or None
    fetcher: Any = _Resuming(folder / f"{file.name}.part", report)
    try:
        path = Path(pooch.retrieve(file.url, known, file.name, folder, downloader=fetcher))
    except ValueError as error:  # pooch has thrown away what has another checksum
        raise SordinoError(
            f"{file.url}: the file is damaged, or was changed at its source: it does not have the "
            f"checksum {checksum}. It was removed; fetch it again"
        ) from error
    except OSError as error:
        raise storage_error(folder, error) from error
    return Fetched(path, checksum or f"sha256:{pooch.file_hash(str(path))}")


def remote_size(url: str) -> int | None:
    """Return the size in bytes that a server states for a file; None where it does not."""
    try:
        answer = requests.head(url, timeout=TIMEOUT, allow_redirects=True, headers=_PLAIN)
        return int(answer.headers["Content-Length"]) if answer.ok else None
    except (requests.RequestException, KeyError, ValueError):
        return None


def check_space(folder: Path, wanted: int) -> None:
    """Refuse a download that the disk has no room for.

    Raises:
        SordinoError: it says what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise SordinoError(
            f"{folder}: {gigabytes(wanted)} are needed and {gigabytes(free)} are free: make room, "
            "or fetch single parts (--part)"
        )


def storage_error(folder: Path, error: OSError) -> SordinoError:
    """Return what to tell a user about a write that failed."""
    if error.errno in FULL:
        return SordinoError(
            f"{folder}: the disk is full: make room and run the command again; it goes on from here"
        )
    return SordinoError(f"{folder}: cannot write there: {error.strerror or error}")


def gigabytes(size: int) -> str:
    """Write a number of bytes for people.

    >>> gigabytes(2_500_000_000), gigabytes(12_000)
    ('2.5 GB', '0.01 MB')
    """
    return f"{size / 1e9:.1f} GB" if size > 1e8 else f"{size / 1e6:.2f} MB"


_PLAIN = {"Accept-Encoding": "identity"}  # sizes and offsets count the bytes of the file itself


class _Resuming:
    """A downloader for pooch that continues with range requests.

    The server's ETag or date is kept beside the unfinished file: if the file was changed in the
    meantime, If-Range makes the server send the new one from its beginning.
    """

    def __init__(self, part: Path, report: Report) -> None:
        self.part, self.report = part, report
        self.notes = part.with_suffix(".part.json")

    def __call__(self, url: str, output_file: str, _pooch: Any, check_only: bool = False) -> bool:
        """Fetch `url` into `output_file`, as pooch asks for it."""
        if check_only:
            return remote_size(url) is not None
        self.report(self._have())
        failures = 0
        while True:
            before = self._have()
            try:
                self._request(url)
                break
            except _InterruptedError as error:
                failures = 1 if self._have() > before else failures + 1
                if failures == RETRIES:
                    raise SordinoError(
                        f"{url}: {error}; gave up after {RETRIES} attempts. Run the command again: "
                        "it goes on from here"
                    ) from error
                time.sleep(PAUSE * 2 ** (failures - 1))
        os.replace(self.part, output_file)
        self.notes.unlink(missing_ok=True)
        return True

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _request(self, url: str) -> None:
        headers, have = dict(_PLAIN), self._have()
        version = self._version(url)
        if have and version:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                self._receive(url, answer, have)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _InterruptedError("the connection broke or could not be made") from error
        except HTTPError as error:  # of urllib3, while the body arrives
            raise _InterruptedError("the connection broke") from error
        except requests.RequestException as error:
            raise SordinoError(f"{url}: {error}") from error

    def _receive(self, url: str, answer: requests.Response, have: int) -> None:
        if answer.status_code >= 500 or answer.status_code == 429:
            raise _InterruptedError(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 416:  # the unfinished file is longer than the one there
            self.part.unlink()
            raise _InterruptedError("the unfinished file was of no use")
        if not answer.ok:
            raise SordinoError(
                f"{url}: the server answers {answer.status_code} {answer.reason}: see the corpus's "
                "home page, or give another address (--mirror)"
            )
        resumed = answer.status_code == 206 and have > 0
        if not resumed:
            self.report(-have)
        self._note_version(url, answer)
        with self.part.open("ab" if resumed else "wb") as out:
            self._copy(answer, out)

    def _copy(self, answer: requests.Response, out: BinaryIO) -> None:
        # read1 gives what has arrived: iter_content would lose a chunk that breaks off.
        while chunk := answer.raw.read1(CHUNK, decode_content=False):
            out.write(chunk)
            self.report(len(chunk))

    def _version(self, url: str) -> str:
        with suppress(OSError, ValueError, KeyError):
            notes = json.loads(self.notes.read_text())
            return notes["version"] if notes["url"] == url else ""
        return ""

    def _note_version(self, url: str, answer: requests.Response) -> None:
        tag = answer.headers.get("ETag", "")
        version = answer.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        version = version or answer.headers.get("Last-Modified", "")
        self.notes.write_text(json.dumps({"url": url, "version": version}))
