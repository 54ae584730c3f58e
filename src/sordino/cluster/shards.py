"""Shards and tables of recordings: each recording in them is denoised, all else is copied.

A tar shard is as webdataset and Hugging Face have them: recordings are members beside others,
such as transcripts.  A Parquet table has recordings as bytes in a column, on their own or in a
struct with the fields `bytes` and `path`.
"""

import tarfile
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from sordino.batch.plan import extension_of, is_recording
from sordino.batch.process import FileReport
from sordino.errors import SordinoError
from sordino.io.formats import EXTENSIONS, INPUT_EXTENSIONS

Denoise = Callable[[Path, Path, str], FileReport]
"""(source, target, format) -> report."""

_BATCH_BYTES = 64 << 20
_MAGIC = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"\xff\xfb": "mp3"}

_pa = cast(Any, pyarrow)  # it has few types
_parquet = cast(Any, pyarrow.parquet)


class Member(NamedTuple):
    """What became of a recording in a shard."""

    name: str
    report: FileReport


def denoise_tar(source: Path, target: Path, extension: str, denoise: Denoise) -> Iterator[Member]:
    """Write a shard with its recordings denoised; those that fail are left out.

    Args:
        source, target: tar files.
        extension: format to write; empty keeps that of each recording.
        denoise: what does it.
    """
    with tarfile.open(source) as shard, tarfile.open(target, "w") as clean:
        taken: set[str] = set()
        for member in shard:
            content = shard.extractfile(member) if member.isfile() else None
            if content is None or not is_recording(Path(member.name)):
                clean.addfile(member, content)
                continue
            with TemporaryDirectory(prefix="member-", ignore_cleanup_errors=True) as folder:
                noisy = Path(folder) / Path(member.name).name
                with noisy.open("wb") as file:
                    while data := content.read(1 << 20):
                        file.write(data)
                ending = extension or _own(extension_of(noisy))
                out = Path(folder) / f"clean.{ending}"
                report = denoise(noisy, out, ending)
                if report.status != "failed":
                    written = copy(member)
                    written.name = _renamed(member.name, ending, taken)
                    written.size = out.stat().st_size
                    taken.add(written.name)
                    with out.open("rb") as file:
                        clean.addfile(written, file)
            yield Member(member.name, report)


def _renamed(name: str, ending: str, taken: set[str]) -> str:
    """Return the name of a member in another format; two of one name keep their endings."""
    path = Path(name)
    if extension_of(path) == ending:
        return name
    renamed = path.with_suffix(f".{ending}").as_posix()
    return f"{name}.{ending}" if renamed in taken else renamed


def denoise_table(source: Path, target: Path, extension: str, denoise: Denoise) -> Iterator[Member]:
    """Write a table with its recordings denoised; of those that fail, the bytes become null.

    Args:
        source, target: Parquet files.
        extension: format to write; empty keeps that of each recording.
        denoise: what does it.

    Raises:
        SordinoError: no column has recordings.
    """
    with _parquet.ParquetFile(source) as table:
        schema = table.schema_arrow
        column = audio_column(schema)
        rows = table.metadata.num_rows
        per_row = source.stat().st_size / max(1, rows)
        size = int(min(100, max(1, _BATCH_BYTES // max(1, per_row))))
        done = 0
        with _parquet.ParquetWriter(target, schema) as clean:
            for batch in table.iter_batches(batch_size=size):
                cells: list[Any] = []
                for cell in batch.column(column).to_pylist():
                    fresh, member = _denoised_cell(cell, f"row {done}", extension, denoise)
                    done += 1
                    cells.append(fresh)
                    if member is not None:
                        yield member
                index = schema.get_field_index(column)
                array = _pa.array(cells, schema.field(index).type)
                columns = batch.columns
                columns[index] = array
                clean.write_table(_pa.Table.from_arrays(columns, schema=schema))


def audio_column(schema: Any) -> str:
    """Return the name of the column that has recordings.

    It is a struct with a field `bytes`, or else the column "audio" or the only one of bytes.

    Raises:
        SordinoError: there is none.
    """
    structs = [
        field.name
        for field in schema
        if _pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    binary = [
        field.name
        for field in schema
        if _pa.types.is_binary(field.type) or _pa.types.is_large_binary(field.type)
    ]
    if "audio" in (*structs, *binary):
        return "audio"
    if len(structs) == 1 or (not structs and len(binary) == 1):
        return (structs or binary)[0]
    raise SordinoError(
        f"it is not clear which column has the recordings ({', '.join(schema.names)}): call it "
        "audio, of bytes or of a struct with bytes and path"
    )


def _denoised_cell(
    cell: Any, row: str, extension: str, denoise: Denoise
) -> tuple[Any, Member | None]:
    is_struct = isinstance(cell, dict)
    values = cast(dict[str, Any], cell) if is_struct else {"bytes": cell}
    data: bytes | None = values["bytes"]
    path = str(values.get("path") or "")
    if data is None:
        return cell, None
    own = extension_of(Path(path)) or next(
        (name for magic, name in _MAGIC.items() if data.startswith(magic)), ""
    )
    ending = extension or _own(own)
    with TemporaryDirectory(prefix="row-", ignore_cleanup_errors=True) as folder:
        suffix = own if own in INPUT_EXTENSIONS else "wav"
        noisy, out = Path(folder) / f"sound.{suffix}", Path(folder) / f"clean.{ending}"
        noisy.write_bytes(data)
        report = denoise(noisy, out, ending)
        fresh = None if report.status == "failed" else out.read_bytes()
    if is_struct and path and extension:
        values = values | {"path": Path(path).with_suffix(f".{ending}").as_posix()}
    name = f"{row} ({path})" if path else row
    return (values | {"bytes": fresh} if is_struct else fresh), Member(name, report)


def _own(extension: str) -> str:
    return extension if extension in EXTENSIONS else "wav"
