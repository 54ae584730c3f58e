"""Figures on disk: one CSV line per system and clip."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sordino.errors import SordinoError
from sordino.evaluate.measures import MEASURES, Row

Records = dict[str, dict[str, Row]]  # system -> clip -> figures
SYSTEM_COLUMNS = ("system", "peer")


def write_records(path: Path, records: Mapping[str, Mapping[str, Row]]) -> None:
    """Write all figures; the file is replaced at once or not at all.

    Raises:
        SordinoError: It cannot be written.
    """
    rows = [
        {"system": system, "file": clip, **row}
        for system, clips in records.items()
        for clip, row in clips.items()
    ]
    used = {name for row in rows for name in row}
    columns = ["system", "file", *(name for name in MEASURES if name in used)]
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SordinoError(f"{path} cannot be written: {error.strerror}.") from error


def read_records(path: Path) -> Records:
    """Read figures per clip; the column of systems may be called ``system`` or ``peer``.

    Columns that are no measure of ours are left out, empty fields are nan.

    Raises:
        SordinoError: It cannot be read, or is no such table.
    """
    columns, rows = _table(path)
    if "file" not in columns or not _system_column(columns):
        raise SordinoError(f"{path} has no columns 'system' and 'file': not figures per clip.")
    records: Records = {}
    for row in rows:
        records.setdefault(row[_system_column(columns)], {})[row["file"]] = _figures(path, row)
    return records


def read_peers(folder: Path, clips: Iterable[str]) -> Records:
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
    wanted = frozenset(clips)
    peers: Records = {}
    for path in sorted(folder.glob("*.csv")):
        columns, _ = _table(path)
        if "file" not in columns or not _system_column(columns):
            continue
        summary = _summary(path.with_name(path.name.replace("per_file", "summary")))
        for system, rows in read_records(path).items():
            found = {clip: summary.get(system, {}) | row for clip, row in rows.items()}
            found = {clip: row for clip, row in found.items() if clip in wanted}
            if found:
                peers.setdefault(system, {}).update(found)
    if not peers:
        raise SordinoError(f"{folder} has no CSV file with figures on these clips.")
    return peers


def _summary(path: Path) -> dict[str, Row]:
    """What only a summary knows: the real-time factor of each system."""
    if not path.is_file():
        return {}
    columns, rows = _table(path)
    if "rtf" not in columns or "file" in columns:
        return {}
    return {row[_system_column(columns)]: _figures(path, {"rtf": row["rtf"]}) for row in rows}


def _system_column(columns: Iterable[str]) -> str:
    return next((name for name in SYSTEM_COLUMNS if name in columns), "")


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SordinoError(f"{path} cannot be read as CSV: {error}") from error
    return list(reader.fieldnames or ()), rows


def _figures(path: Path, row: Mapping[str, str]) -> Row:
    try:
        return {name: float(row[name] or "nan") for name in MEASURES if name in row}
    except (TypeError, ValueError) as error:
        raise SordinoError(f"{path} holds something that is no number: {error}") from error
