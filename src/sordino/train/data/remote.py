"""Shards in object storage: fetched once into the cache of a machine, by whoever comes first.

Any of fsspec's file systems will do: s3://, gs://, az://, https:// and others.
"""

# fsspec has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from filelock import FileLock

from sordino.errors import SordinoError

AT_A_TIME = 4  # downloads


def fetch_shards(url: str, cache: Path) -> Path:
    """Fetch the tar shards of a folder, those that are not there yet.

    Args:
        url: address of the folder.
        cache: where decoded audio and fetched shards lie.

    Returns:
        The folder on this machine.

    Raises:
        SordinoError: there are no shards, or they cannot be read.
    """
    folder = cache / "shards" / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files: Any
        files, root = fsspec.core.url_to_fs(url)
        sizes: dict[str, int] = {
            path: files.size(path) for path in sorted(files.glob(f"{root}/*.tar"))
        }
        if not sizes:
            raise SordinoError(f"{url}: holds no tar shards: `sordino data shard` writes them")
        # Processes of one machine wait for the one that fetches.
        with FileLock(folder / ".lock"), ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(partial(_fetch, files, folder), sizes, sizes.values()))
            names = {Path(path).name for path in sizes}
            for stale in folder.glob("*.tar"):
                if stale.name not in names:
                    stale.unlink()
    except SordinoError:
        raise
    except Exception as error:  # every file system of fsspec has exceptions of its own
        raise SordinoError(f"{url}: cannot be read: {error}") from error
    return folder


def _fetch(files: Any, folder: Path, path: str, size: int) -> None:
    target = folder / Path(path).name
    if target.exists() and target.stat().st_size == size:
        return
    part = folder / f".{target.name}.{uuid4().hex}"
    try:
        files.get_file(path, str(part))
        os.replace(part, target)  # what is there is complete
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
