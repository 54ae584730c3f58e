"""Figures of every clip, in memory and on disk: one line per system, condition and clip."""

# No types: pyarrow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import csv
import errno
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from sordino.deprecated import renamed_names
from sordino.errors import SordinoError, install_command
from sordino.evaluate.scores import MEASURES, Row
from sordino.io.atomic import atomic_write

SYSTEM_COLUMNS = ("system", "peer")
VERSION = "version"
PARQUET = ".parquet"
__getattr__ = renamed_names(__name__, {"Key": "RecordKey"})


class RecordKey(NamedTuple):
    """System, clip and condition that a row of figures belongs to."""

    system: str
    clip: str
    condition: str = ""


Records = dict[RecordKey, Row]


def rows_of(records: Mapping[RecordKey, Row], system: str, condition: str = "") -> dict[str, Row]:
    """Return the figures of one system under one condition, by clip."""
    return {
        key.clip: row
        for key, row in records.items()
        if key.system == system and key.condition == condition
    }


def write_records(
    path: Path,
    records: Mapping[RecordKey, Row],
    traits: Mapping[str, Mapping[str, str]] | None = None,
    versions: Mapping[str, str] | None = None,
) -> None:
    """Write all figures, as Parquet if the suffix is ``.parquet``, else as CSV.

    The file is replaced atomically.

    Args:
        path: Output file.
        records: The figures.
        traits: Columns of META.csv by clip, written beside the figures.
        versions: Version of each system, so that a later run notices a change.

    Raises:
        SordinoError: It cannot be written.
    """
    known = traits or {}
    versioned = {system: {VERSION: text} for system, text in (versions or {}).items() if text}
    rows: list[dict[str, object]] = [
        {
            **_free(known.get(key.clip, {})),
            **dict(zip(_KEYS, key, strict=True)),
            **versioned.get(key.system, {}),
            **_known(row),
        }
        for key, row in records.items()
    ]
    used = {name for row in records.values() for name in row}
    measured = [name for name in MEASURES if name in used]
    beside = sorted({name for row in rows for name in row} - {*_KEYS, *measured})
    write = write_parquet if path.suffix.lower() == PARQUET else write_csv
    write(path, [*_KEYS, *beside, *measured], rows)


def read_records(path: Path) -> Records:
    """Read figures per clip; the column of systems is ``system`` or ``peer``.

    Columns that are no known measure are skipped; empty fields are nan.

    Raises:
        SordinoError: It cannot be read, or is no such table.
    """
    columns, rows = read_table(path)
    if "file" not in columns or not _system_column(columns):
        raise SordinoError(f"{path} has no columns 'system' and 'file': not figures per clip.")
    system = _system_column(columns)
    return {
        RecordKey(row[system], row["file"], row.get("condition") or ""): _figures(path, row)
        for row in rows
    }


def read_versions(path: Path) -> dict[str, str]:
    """Read the version of each system at the time its figures were written, where a CSV has it.

    Raises:
        SordinoError: It cannot be read.
    """
    columns, rows = read_table(path)
    system = _system_column(columns)
    return {row[system]: row[VERSION] for row in rows if system and row.get(VERSION)}


def read_macs(folder: Path) -> dict[str, float]:
    """Read multiply-accumulates per second of audio by system from the summaries in a folder.

    Raises:
        SordinoError: A summary cannot be read.
    """
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*_summary.csv")):
        columns, rows = read_table(path)
        system = _system_column(columns)
        if system and "macs" in columns:
            found |= {row[system]: _number(path, row["macs"]) for row in rows if row["macs"]}
    return found


def read_figures(folder: Path, clips: Collection[str]) -> Records:
    """Read other systems' figures on the same clips from a folder of CSV files.

    A file with a column ``file`` holds figures per clip; rows of other clips are skipped.
    The real-time factor of each system is taken from a ``..._summary.csv`` beside it.

    Args:
        folder: With the CSV files.
        clips: Names of the clips, without suffix.

    Raises:
        SordinoError: It is no folder, or has no figures on these clips.
    """
    if not folder.is_dir():
        raise SordinoError(f"There is no folder {folder}.")
    found: Records = {}
    for path in sorted(folder.glob("*.csv")):
        columns, _ = read_table(path)
        if "file" not in columns or not _system_column(columns):
            continue
        summary = _summary(path.with_name(path.name.replace("per_file", "summary")))
        for key, row in read_records(path).items():
            if key.clip in clips:
                found[key] = summary.get(key.system, {}) | row
    if not found:
        raise SordinoError(f"{folder} has no CSV file with figures on these clips.")
    return found


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the column names and the rows of a CSV file.

    Raises:
        SordinoError: It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SordinoError(f"{path} cannot be read as CSV: {error}") from error
    return list(reader.fieldnames or ()), rows


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows; missing values are empty.

    Raises:
        SordinoError: It cannot be written.
    """

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)

    replace(path, write)


def check_parquet() -> None:
    """Raise SordinoError if Parquet cannot be written."""
    if find_spec("pyarrow") is None:
        raise SordinoError(f"Parquet needs pyarrow: {install_command('parquet')}")


def write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows; missing values are null.

    Raises:
        SordinoError: pyarrow is missing, or the file cannot be written.
    """
    check_parquet()
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({name: [row.get(name) for row in rows] for name in columns})
    replace(path, lambda partial: parquet.write_table(table, partial))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` create a file beside `path`, then move it there.

    Raises:
        SordinoError: It cannot be written; no partial file remains.
    """
    try:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with atomic_write(path) as partial:
            write(partial)
    except OSError as error:
        raise SordinoError(f"{path} cannot be written: {error.strerror or error}.") from error


_KEYS = ("system", "file", "condition")  # in the order of RecordKey


def _known(row: Row) -> Row:
    return {name: value for name, value in row.items() if not math.isnan(value)}


def _free(traits: Mapping[str, str]) -> dict[str, str]:
    """Drop columns whose names are taken by figures."""
    ours = {*_KEYS, VERSION, *MEASURES}
    return {name: value for name, value in traits.items() if name not in ours}


def _summary(path: Path) -> dict[str, Row]:
    """Return the real-time factor of each system from a summary file, if there is one."""
    if not path.is_file():
        return {}
    columns, rows = read_table(path)
    if "rtf" not in columns or "file" in columns:
        return {}
    return {row[_system_column(columns)]: _figures(path, {"rtf": row["rtf"]}) for row in rows}


def _system_column(columns: Iterable[str]) -> str:
    return next((name for name in SYSTEM_COLUMNS if name in columns), "")


def _figures(path: Path, row: Mapping[str, str]) -> Row:
    return {name: _number(path, row[name]) for name in MEASURES if name in row}


def _number(path: Path, text: str) -> float:
    try:
        return float(text or "nan")
    except (TypeError, ValueError) as error:
        raise SordinoError(f"{path} holds something that is no number: {error}") from error
