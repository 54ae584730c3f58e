"""Figures of every clip, in memory and on disk: one line per system, condition and clip."""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from sordino.errors import SordinoError
from sordino.evaluate.measures import MEASURES, Row
from sordino.evaluate.tables import read_table, write_csv, write_parquet

SYSTEM_COLUMNS = ("system", "peer")
VERSION = "version"
PARQUET = ".parquet"


class Key(NamedTuple):
    """What a row of figures is about."""

    system: str
    clip: str
    condition: str = ""


Records = dict[Key, Row]


def rows_of(records: Mapping[Key, Row], system: str, condition: str = "") -> dict[str, Row]:
    """Return the figures of one system under one condition, by clip."""
    return {
        key.clip: row
        for key, row in records.items()
        if key.system == system and key.condition == condition
    }


def write_records(
    path: Path,
    records: Mapping[Key, Row],
    traits: Mapping[str, Mapping[str, str]] | None = None,
    versions: Mapping[str, str] | None = None,
) -> None:
    """Write all figures, as Parquet if the path says so, else as CSV.

    The file is replaced at once or not at all.

    Args:
        path: Where to.
        records: The figures.
        traits: Columns of META.csv by clip, put beside the figures.
        versions: What each system was, so that a later run knows if it has changed.

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
    asked = {name for row in records.values() for name in row}
    measured = [name for name in MEASURES if name in asked]
    beside = sorted({name for row in rows for name in row} - {*_KEYS, *measured})
    write = write_parquet if path.suffix.lower() == PARQUET else write_csv
    write(path, [*_KEYS, *beside, *measured], rows)


def read_records(path: Path) -> Records:
    """Read figures per clip; the column of systems may be called ``system`` or ``peer``.

    Columns that are no measure of ours are left out, empty fields are nan.

    Raises:
        SordinoError: It cannot be read, or is no such table.
    """
    columns, rows = read_table(path)
    if "file" not in columns or not _system_column(columns):
        raise SordinoError(f"{path} has no columns 'system' and 'file': not figures per clip.")
    system = _system_column(columns)
    return {
        Key(row[system], row["file"], row.get("condition") or ""): _figures(path, row)
        for row in rows
    }


def read_versions(path: Path) -> dict[str, str]:
    """Read what each system was when its figures were written, as far as a CSV file says it.

    Raises:
        SordinoError: It cannot be read.
    """
    columns, rows = read_table(path)
    system = _system_column(columns)
    return {row[system]: row[VERSION] for row in rows if system and row.get(VERSION)}


def read_macs(folder: Path) -> dict[str, float]:
    """Read multiply-accumulates per second of sound from the summaries in a folder, by system.

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

    A file with a column ``file`` holds figures per clip, of which those on `clips` are
    taken; what a ``..._summary.csv`` knows beside them per system (the real-time factor) is
    added to every clip.

    Args:
        folder: Of the CSV files.
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


_KEYS = ("system", "file", "condition")  # in the order of Key


def _known(row: Row) -> Row:
    return {name: value for name, value in row.items() if not math.isnan(value)}


def _free(traits: Mapping[str, str]) -> dict[str, str]:
    """Leave out columns that would be taken for ours."""
    ours = {*_KEYS, VERSION, *MEASURES}
    return {name: value for name, value in traits.items() if name not in ours}


def _summary(path: Path) -> dict[str, Row]:
    """What only a summary knows: the real-time factor of each system."""
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
