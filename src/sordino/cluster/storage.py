"""Files by their address, here or in an object store: list, read, write whole or not at all.

An address is a path, or a URL of any scheme that fsspec knows (s3://, gs://, az://, https://).
A local file is renamed into place and an object is put in one piece, so that neither is ever seen
half-written.
"""

import errno
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import fsspec  # pyright: ignore[reportMissingTypeStubs]
from braceexpand import braceexpand

from sordino.errors import SordinoError, install_command
from sordino.io.atomic import TEMPORARY, atomic_write
from sordino.io.audiofile import explain

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WEB = ("http", "https")
_EXTRAS = {"s3": "cluster", "s3a": "cluster", "http": "cluster", "https": "cluster"} | {
    "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"
}  # fmt: skip
_MAGIC = "*?["

_fsspec = cast(Any, fsspec)  # it has no types


class Found(NamedTuple):
    """A file that was found."""

    address: str
    relative: str
    """Below the folder that was given; the name alone of a file that was named."""
    size: int
    """In bytes; 0 if unknown."""


def scheme_of(address: str) -> str:
    """Return the scheme of a URL in lower case; empty for a local path.

    >>> scheme_of("s3://calls/2026/a.wav"), scheme_of("calls/a.wav")
    ('s3', '')
    """
    match = _SCHEME.match(address)
    scheme = match[1].lower() if match else ""
    return "" if scheme in ("file", "local") else scheme


def local_path(address: str) -> Path | None:
    """Return the path of a local file; None for one in an object store.

    >>> local_path("file:///calls/a.wav").as_posix(), local_path("s3://calls/a.wav")
    ('/calls/a.wav', None)
    """
    if scheme_of(address):
        return None
    return Path(_SCHEME.sub("", address))


def joined(folder: str, relative: str) -> str:
    """Return the address of a file below a folder.

    >>> joined("s3://clean/", "a/b.wav"), joined("clean", "b.wav")
    ('s3://clean/a/b.wav', 'clean/b.wav')
    """
    return f"{folder.rstrip('/')}/{relative}"


def name_of(address: str) -> str:
    """Return the file name at the end of an address, without the query of a web address.

    >>> name_of("https://example.org/calls/a.wav?token=1")
    'a.wav'
    """
    if scheme_of(address) in _WEB:
        address = re.split(r"[?#]", address, maxsplit=1)[0]
    return address.rstrip("/").rpartition("/")[2]


def expand(given: str, is_wanted: Callable[[str], bool]) -> list[Found]:
    """Find the files that an address means: itself, those of a folder, or those of a pattern.

    Args:
        given: an address; it may have {000..127}, and unless of the web, *, ? or a folder.
        is_wanted: tells by its name whether a file found in a folder or by a pattern is taken.

    Raises:
        SordinoError: there are none, or the storage cannot be read.
    """
    found: list[Found] = []
    for address in unbraced(given):
        if scheme_of(address) in _WEB:
            if not name_of(address) or "." not in name_of(address):
                raise SordinoError(f"{address}: a web address has to name one file, such as a.wav")
            found.append(Found(address, name_of(address), 0))
        else:
            with explained(address):
                found += _search(address, is_wanted)
    return found


def unbraced(given: str) -> list[str]:
    """Return the addresses that {000..127} or {a,b} in one mean.

    >>> unbraced("s3://calls/{08..10}.tar")
    ['s3://calls/08.tar', 's3://calls/09.tar', 's3://calls/10.tar']
    """
    if "{" not in given or os.path.exists(given):
        return [given]
    try:
        return list(braceexpand(given))
    except ValueError as error:
        raise SordinoError(f"{given}: a brace is not closed") from error


def _search(address: str, is_wanted: Callable[[str], bool]) -> list[Found]:
    fs, path = filesystem(address)
    fs.invalidate_cache()
    prefix = f"{scheme_of(address)}://" if scheme_of(address) else ""
    is_pattern = any(sign in address for sign in _MAGIC) and not fs.exists(path)
    if not is_pattern and fs.isfile(path):
        return [Found(prefix + path, name_of(path), fs.size(path) or 0)]
    infos: dict[str, Any] = fs.glob(path, detail=True) if is_pattern else _below(fs, path)
    if is_pattern:
        fixed = path[: min(path.index(sign) for sign in _MAGIC if sign in path)]
        base = fixed[: fixed.rfind("/") + 1]
    else:
        base = path.rstrip("/") + "/"
    found = [
        Found(prefix + name, name.removeprefix(base), info.get("size") or 0)
        for name, info in sorted(infos.items())
        if info["type"] == "file" and is_wanted(name)
    ]
    if not found:
        kind = "no file has such a name" if is_pattern else "there is no such file or folder with"
        raise SordinoError(f"{address}: {kind}" + ("" if is_pattern else " audio or video files"))
    return found


def list_files(folder: str) -> set[str]:
    """Return the addresses of all files below a folder; empty if it does not exist.

    Raises:
        SordinoError: the storage cannot be read.
    """
    root = local_path(folder)
    if root is not None:
        walk = os.walk(root)
        return {
            joined(folder, (Path(name) / file).relative_to(root).as_posix())
            for name, _, files in walk
            for file in files
            if not file.endswith(TEMPORARY)
        }
    with explained(folder):
        fs, path = filesystem(folder)
        fs.invalidate_cache()
        base = path.rstrip("/") + "/"
        return {joined(folder, name.removeprefix(base)) for name in _below(fs, path)}


def _below(fs: Any, path: str) -> dict[str, Any]:
    with suppress(FileNotFoundError):
        return fs.find(path, detail=True)
    return {}


@contextmanager
def fetched(address: str) -> Generator[Path]:
    """Give a local file with the content of an address, under its own name.

    Raises:
        Exception: it cannot be read; `reason` says why in one line.
    """
    path = local_path(address)
    if path is not None:
        yield path
        return
    with TemporaryDirectory(prefix="fetched-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / (name_of(address) or "sound")
        fs, remote = filesystem(address)
        fs.get_file(remote, str(path))
        with suppress(NotImplementedError):
            expected = fs.info(remote).get("size")
            if expected is not None and path.stat().st_size != expected:
                raise OSError(errno.EIO, f"only {path.stat().st_size:,} of {expected:,} bytes came")
        yield path


@contextmanager
def stored(address: str) -> Generator[Path]:
    """Give a file to write, which appears at the address as a whole if all goes well.

    Raises:
        Exception: it cannot be written; `reason` says why in one line.
    """
    path = local_path(address)
    if path is not None:
        with atomic_write(path) as part:
            yield part
        return
    with TemporaryDirectory(prefix="stored-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / (name_of(address) or "part")
        yield path
        upload(path, address)


def upload(path: Path, address: str) -> None:
    """Put a local file at an address in one piece."""
    fs, remote = filesystem(address)
    fs.put_file(str(path), remote)


def read_bytes(address: str) -> bytes | None:
    """Return the content of a small file; None if there is none.

    Raises:
        SordinoError: the storage cannot be read.
    """
    with explained(address):
        fs, path = filesystem(address)
        fs.invalidate_cache()
        with suppress(FileNotFoundError):
            return fs.cat_file(path)
    return None


def remove(address: str) -> None:
    """Remove a file or a folder with all that is in it, if it exists."""
    fs, path = filesystem(address)
    fs.invalidate_cache()
    with suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def filesystem(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it.

    Raises:
        SordinoError: there is no such scheme, or its package is not installed.
    """
    scheme = scheme_of(address)
    try:
        fs, path = _fsspec.core.url_to_fs(address)
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise SordinoError(
            f"{address}: there is no storage {scheme}://: use a path, s3://, gs://, az:// or "
            "https://"
        ) from error
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        hint = install_command(extra) if extra else " ".join(str(error).split())
        raise SordinoError(f"{scheme}:// needs a package that is not installed: {hint}") from error
    return fs, path


@contextmanager
def explained(address: str) -> Generator[None]:
    """Raise what goes wrong with an address as a SordinoError of one line."""
    try:
        yield
    except SordinoError:
        raise
    except Exception as error:  # every storage has exceptions of its own
        raise SordinoError(reason(error, address)) from error


def reason(error: Exception, address: str) -> str:
    """Say in one line what is wrong with an address."""
    if scheme_of(address) and isinstance(error, FileNotFoundError):
        return f"{address}: there is no such file"
    if scheme_of(address) and isinstance(error, PermissionError):
        return f"{address}: no permission: check the credentials of {scheme_of(address)}://"
    # As a path, an address loses a slash.
    return explain(error, address, address).replace(str(Path(address)), address)
