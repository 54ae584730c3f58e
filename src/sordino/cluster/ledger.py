"""The ledger of a run: what is to be done and what became of it, as Parquet files.

    run.json                 options of the run, and whether it has ended
    work.parquet             one row for each file of the work list
    results/NAME.parquet     rows of results; each file is written once, whole or not at all

Nothing is ever changed in place, so that a killed run leaves nothing half-written; what it did in
its last seconds is found by the outputs themselves.  The results of a run are merged into one
file when it begins again and when it ends.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from secrets import token_hex
from time import monotonic
from typing import Any, Literal, NamedTuple, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from sordino.cluster import storage
from sordino.cluster.plan import Work
from sordino.errors import SordinoError

Status = Literal["done", "skipped", "failed", "cut"]
WHOLE, JOIN = -1, -2
"""What stands for a section in the rows of whole files, and of those joined from sections."""

FLUSH_SECONDS, FLUSH_ROWS = 5.0, 10_000

_pa = cast(Any, pyarrow)  # it has few types
_parquet = cast(Any, pyarrow.parquet)


class Key(NamedTuple):
    """What a result is about."""

    id: str
    """Of the work."""
    section: int
    """Of a recording that is cut, from 0; else `WHOLE` or `JOIN`."""
    member: str = ""
    """Name of a recording inside a shard or a table; empty for the file itself."""


@dataclass(frozen=True)
class Result:
    """What became of a file, of a section of it, or of a recording inside it.

    Args:
        id, section, member: see `Key`.
        status: "cut" means that it is done in sections, "skipped" that the output was there.
        seconds: of sound.
        elapsed: seconds that a worker took.
        sections: how many a recording was cut into.
        noise_taken_db: by how much the pauses are quieter.
        notes: what the user should know.
        error: one line, if the status is "failed".
        attempts: how often it was tried.
        host: the machine that did it.
        time: when it was noted, UTC.
    """

    id: str
    section: int = WHOLE
    member: str = ""
    status: Status = "done"
    seconds: float = 0.0
    elapsed: float = 0.0
    sections: int = 0
    noise_taken_db: float | None = None
    notes: Sequence[str] = ()
    error: str = ""
    attempts: int = 1
    host: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> Key:
        """What it is about."""
        return Key(self.id, self.section, self.member)


_WORK = _pa.schema(
    [("id", _pa.string()), ("source", _pa.string()), ("target", _pa.string()),
     ("kind", _pa.string()), ("size", _pa.int64())]
)  # fmt: skip
_RESULTS = _pa.schema(
    [("id", _pa.string()), ("section", _pa.int32()), ("member", _pa.string()),
     ("status", _pa.string()), ("seconds", _pa.float64()), ("elapsed", _pa.float64()),
     ("sections", _pa.int32()), ("noise_taken_db", _pa.float64()),
     ("notes", _pa.list_(_pa.string())), ("error", _pa.string()), ("attempts", _pa.int32()),
     ("host", _pa.string()), ("time", _pa.timestamp("us", "UTC"))]
)  # fmt: skip


class Ledger:
    """The ledger of one run.

    Args:
        folder: its address.
        options: what decides on the content of the outputs; a run goes on with the same only.
        overwrite: start over, unless such a run was interrupted.

    Raises:
        SordinoError: it cannot be read or written, or it is of a run with other options.
    """

    def __init__(self, folder: str, options: Mapping[str, Any], overwrite: bool = False) -> None:
        self.folder = folder
        self.results: dict[Key, Result] = {}
        self._fresh: list[Result] = []
        self._flushed = monotonic()
        self._options = json.loads(json.dumps(options))
        known = storage.read_bytes(storage.joined(folder, "run.json"))
        run: dict[str, Any] = json.loads(known) if known else {}
        if run and not overwrite and run["options"] != self._options:
            raise SordinoError(
                f"the ledger {folder} is of a run with {_difference(run['options'], self._options)}"
                ": give another -o or --ledger, or --overwrite to start over"
            )
        same = bool(run) and run["options"] == self._options
        unfinished = same and not run["has_ended"]
        goes_on = same and (not overwrite or (unfinished and run["overwrites"]))
        self.overwrites: bool = overwrite or (unfinished and run["overwrites"])
        """Whether outputs that are there, but were not written by this run, are overwritten."""
        if goes_on:
            for result in self._read():
                self.results[result.key] = result
        elif run:
            storage.remove(storage.joined(folder, "results"))
            storage.remove(storage.joined(folder, "sections"))
        self._write_run(has_ended=False)
        self._merge()

    @property
    def sections(self) -> str:
        """The folder of sections that wait to be joined."""
        return storage.joined(self.folder, "sections")

    def write_work(self, works: Iterable[Work]) -> None:
        """Write down the work list."""
        rows = (
            {"id": w.id, "source": w.source, "target": w.target, "kind": w.kind, "size": w.size}
            for w in works
        )
        self._write("work.parquet", rows, _WORK)

    def add(self, result: Result) -> None:
        """Note a result; it is written within seconds."""
        result = replace(result, time=datetime.now(UTC))  # by one clock
        self.results[result.key] = result
        self._fresh.append(result)
        if len(self._fresh) >= FLUSH_ROWS or monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was noted."""
        self._flushed = monotonic()
        if self._fresh:
            self._write_results(self._fresh)
            self._fresh = []

    def end(self) -> None:
        """Note that all of the work list has been tried."""
        self.flush()
        self._merge()
        self._write_run(has_ended=True)

    def _merge(self) -> None:
        before = self._parts()
        if len(before) > 1:
            self._write_results(self.results.values())
            for part in before:
                storage.remove(part)

    def _parts(self) -> list[str]:
        return sorted(storage.list_files(storage.joined(self.folder, "results")))

    def _read(self) -> Iterator[Result]:
        found: list[Result] = []
        for part in self._parts():
            data = storage.read_bytes(part)
            if data is not None:
                with storage.explained(part):
                    rows = _parquet.read_table(BytesIO(data), schema=_RESULTS).to_pylist()
                found += [Result(**row) for row in rows]
        return iter(sorted(found, key=lambda each: each.time))

    def _write_results(self, results: Iterable[Result]) -> None:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(4)}.parquet"
        self._write(f"results/{name}", (asdict(each) for each in results), _RESULTS)

    def _write_run(self, has_ended: bool) -> None:
        run = {"options": self._options, "overwrites": self.overwrites, "has_ended": has_ended}
        address = storage.joined(self.folder, "run.json")
        with storage.explained(address), storage.stored(address) as path:
            path.write_text(json.dumps(run, indent=2), encoding="utf-8")

    def _write(self, name: str, rows: Iterator[dict[str, Any]], schema: Any) -> None:
        """Write rows, only some of which are in memory at a time."""
        address = storage.joined(self.folder, name)
        with (
            storage.explained(address),
            storage.stored(address) as path,
            _parquet.ParquetWriter(path, schema) as writer,
        ):
            while some := list(islice(rows, FLUSH_ROWS)):
                writer.write_table(_pa.Table.from_pylist(some, schema))


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name)} instead of {now.get(name)}" for name in names)
