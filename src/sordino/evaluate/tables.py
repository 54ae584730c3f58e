"""CSV files in, CSV and Parquet files out; whole or not at all."""

import csv
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from sordino.errors import SordinoError, install_command
from sordino.io.atomic import atomic_write


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the names of the columns and the rows of a CSV file.

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
    """Write rows; what a row lacks is left empty.

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
    """Write rows; what a row lacks is null.

    Raises:
        SordinoError: pyarrow is missing, or the file cannot be written.
    """
    check_parquet()
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({name: [row.get(name) for row in rows] for name in columns})
    replace(path, lambda partial: parquet.write_table(table, partial))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, then put it in its place.

    Raises:
        SordinoError: It cannot be written; nothing is left behind.
    """
    try:
        with atomic_write(path) as partial:
            write(partial)
    except OSError as error:
        raise SordinoError(f"{path} cannot be written: {error.strerror or error}.") from error
