"""The manifest of a corpus: one Parquet row for each recording or pair."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write

MANIFEST = "manifest.parquet"


@dataclass(frozen=True)
class Row:
    """A recording, see `Item` and `Measurement` for what the columns mean.

    Attributes:
        reason: why it is left out of training; "" where it is kept.
    """

    corpus: str
    path: str
    clean: str
    kind: str
    speaker: str
    source: str
    label: str
    language: str
    licence: str
    split: str
    seconds: float
    sample_rate: int
    start: float
    stop: float
    level_dbfs: float
    snr_db: float
    bandwidth_hz: float
    dnsmos: float
    duplicate_of: str
    reason: str

    @property
    def kept(self) -> bool:
        """Whether it is of use."""
        return not self.reason

    @property
    def hours(self) -> float:
        """Hours of sound between start and stop."""
        return (self.stop - self.start) / 3600


_TYPES: dict[type, Any] = {str: pa.string(), float: pa.float64(), int: pa.int32()}
SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in Row.__annotations__.items()])


def write_manifest(folder: Path, rows: Sequence[Row]) -> Path:
    """Write the manifest of a corpus's folder in one piece."""
    path = folder / MANIFEST
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    with atomic_write(path) as part:
        pq.write_table(table, part, compression="zstd")
    return path


def read_manifest(folder: Path) -> list[Row]:
    """Read the manifest of a corpus's folder.

    Raises:
        SordinoError: there is none, or it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise SordinoError(f"{path} is not there: `sordino data prepare {folder.name}` makes it")
    try:
        return [Row(**row) for row in pq.read_table(path, schema=SCHEMA).to_pylist()]
    except (OSError, pa.ArrowException, TypeError) as error:
        raise SordinoError(f"{path} is damaged: prepare {folder.name} again") from error
