"""Tar shards of what manifests keep, in the layout of webdataset, as `sordino train` reads them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import numpy as np
import soundfile as sf
from rich.progress import Progress
from webdataset.writer import ShardWriter

from sordino.arrays import Mono
from sordino.corpora.fetch import AUDIO
from sordino.corpora.manifest import Row
from sordino.errors import SordinoError
from sordino.train.data.decode import UNREADABLE, decode, decode_pair, warn_skipped

FOLDERS = {"speech": "speech", "noise": "noise", "rir": "rir", "pair": "pairs"}


def write_shards(
    rows: Sequence[Row],
    data: Path,
    out: str,
    split: str = "train",
    megabytes: float = 500,
    progress: bool = True,
) -> dict[str, int]:
    """Pack what manifests keep of a split into `OUT/KIND/000000.tar` and so on.

    Silence at the ends is cut, sounds are mono FLAC, and their order is random but always the
    same, so that every shard has something of everything.

    Args:
        rows: of manifests.
        data: folder with a folder for each corpus.
        out: folder for the shards, also an address such as s3://bucket/shards.
        split: "train", "val" or "test".
        megabytes: size after which the next shard is begun.
        progress: show a bar.

    Returns:
        Folder of a kind -> number of its shards.

    Raises:
        SordinoError: there is nothing to pack, or there are shards already.
    """
    chosen: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.kept and row.split == split:
            chosen[FOLDERS[row.kind]].append(row)
    if not chosen:
        raise SordinoError(f"the manifests keep nothing of the split {split!r}")
    files: Any
    files, root = fsspec.core.url_to_fs(out)
    for kind in chosen:
        if files.exists(f"{root}/{kind}") and files.glob(f"{root}/{kind}/*.tar"):
            raise SordinoError(f"{out}/{kind}: holds shards already; name another folder")
    counts: dict[str, int] = {}
    with Progress(disable=not progress) as bar, TemporaryDirectory() as work:
        for kind, group in chosen.items():
            task = bar.add_task(f"packing {kind}", total=len(group))
            destination = _Destination(files, f"{root}/{kind}")
            group.sort(key=_shuffled)
            # A shard is moved to its place when it is complete.
            with ShardWriter(
                f"{work}/{kind}-%06d.tar", maxsize=megabytes * 1e6, post=destination.put, verbose=0
            ) as writer:
                for row in group:
                    for sample in _samples(row, data / row.corpus / AUDIO):
                        writer.write(sample)
                    bar.advance(task)
            counts[kind] = destination.count
    return counts


class _Destination:
    """The folder for the shards of one kind, on any file system fsspec knows."""

    def __init__(self, files: Any, folder: str) -> None:
        self.files, self.folder, self.count = files, folder, 0

    def put(self, shard: str) -> None:
        """Move a finished shard to the folder and number it."""
        name = f"{self.folder}/{self.count:06d}.tar"
        self.files.makedirs(self.folder, exist_ok=True)
        self.files.put_file(shard, f"{name}.part")
        self.files.mv(f"{name}.part", name)
        Path(shard).unlink()
        self.count += 1


def _shuffled(row: Row) -> bytes:
    return hashlib.sha256(f"{row.corpus}/{row.path}".encode()).digest()


def _samples(row: Row, root: Path) -> Iterator[dict[str, Any]]:
    """Give the sample of a row; none, with a warning, if its files cannot be read any more."""
    digest = _shuffled(row).hex()[:12]
    label = re.sub(r"[^\w+-]", "_", row.speaker or row.label or row.corpus)
    key = f"{label}-{digest}"  # training reads the label from the name
    try:
        if row.kind == "pair":
            (noisy, clean), rate = decode_pair(root / row.path, root / row.clean)
            sounds = {"noisy.flac": noisy, "clean.flac": clean}
        else:
            x, rate = decode(root / row.path)
            sounds = {"flac": x}
    except UNREADABLE as error:
        warn_skipped(row.path, error)
        return
    span = slice(round(row.start * rate), round(row.stop * rate))
    yield {
        "__key__": key,
        **{name: _flac(x[span], rate) for name, x in sounds.items()},
    }


def _flac(x: Mono, rate: int) -> bytes:
    """Encode losslessly at 24 bits; what is beyond full scale is brought down to it."""
    peak = float(np.abs(x).max(initial=0.0))
    data = io.BytesIO()
    sf.write(data, x / max(1.0, peak), rate, format="FLAC", subtype="PCM_24")
    return data.getvalue()
