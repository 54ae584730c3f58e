"""Preparation of a corpus: measure every recording, and choose what is of use.

Measurements are kept in pieces as they are made: a run that was interrupted goes on, and parts
that are fetched later are added.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from sordino.corpora.fetch import AUDIO
from sordino.corpora.fingerprint import find_duplicates
from sordino.corpora.layout import Item, find_items
from sordino.corpora.manifest import Row, write_manifest
from sordino.corpora.measure import Measurement, measure
from sordino.corpora.registry import CorpusEntry
from sordino.io.atomic import atomic_write

MEASURED = "measured"  # folder of the pieces
PIECE = 2000  # recordings in a piece: what is lost at most when a run is killed
AHEAD = 8  # recordings that wait for a worker, for each worker


@dataclass(frozen=True)
class Choice:
    """What is kept.

    Attributes:
        min_dnsmos: predicted opinion that clean speech needs, 1 to 5; 0 rates none.  The
            clean clips of the package have 2.8 to 3.2.
        min_seconds: shorter recordings are left out; rooms may be of any length.
        licences: of clips that are taken; none given takes all.
    """

    min_dnsmos: float = 2.7
    min_seconds: float = 0.5
    licences: tuple[str, ...] = ()


def prepare(
    corpus: CorpusEntry, folder: Path, choice: Choice, jobs: int = 1, progress: bool = True
) -> list[Row]:
    """Measure a corpus and write its manifest.

    Args:
        corpus: of the registry.
        folder: of this corpus.
        choice: what is kept.
        jobs: processes that measure.
        progress: show a bar.

    Raises:
        SordinoError: nothing is there.
    """
    items = find_items(corpus, folder)
    measured = _measure_all(items, folder, choice.min_dnsmos > 0, jobs, progress)
    pairs = [(item, measured[item.path]) for item in items]
    duplicates = find_duplicates(
        [m.digest or item.path for item, m in pairs],
        [np.frombuffer(m.fingerprint, np.uint32) for _, m in pairs],
    )
    rows = [
        _row(corpus, item, found, choice, items[duplicates[n]].path if n in duplicates else "")
        for n, (item, found) in enumerate(pairs)
    ]
    write_manifest(folder, rows)
    return rows


def _row(
    corpus: CorpusEntry, item: Item, found: Measurement, choice: Choice, duplicate_of: str
) -> Row:
    return Row(
        corpus=corpus.name,
        path=item.path,
        clean=item.clean,
        kind=item.kind,
        speaker=item.speaker,
        source=item.source,
        label=item.label,
        language=item.language if item.kind in ("speech", "pair") else "",
        licence=item.licence,
        split=item.split,
        seconds=found.seconds,
        sample_rate=found.sample_rate,
        start=found.start,
        stop=found.stop,
        level_dbfs=found.level_dbfs,
        snr_db=found.snr_db,
        bandwidth_hz=found.bandwidth_hz,
        dnsmos=found.dnsmos,
        duplicate_of=duplicate_of,
        reason=_reason(item, found, choice, duplicate_of),
    )


def _reason(item: Item, found: Measurement, choice: Choice, duplicate_of: str) -> str:
    """Say why a recording is left out; "" where it is kept."""
    if item.excluded:
        return item.excluded
    if found.error:
        return f"unreadable: {found.error}"
    if choice.licences and item.licence not in choice.licences:
        return f"licence {item.licence}"
    if item.kind != "rir" and found.stop - found.start < choice.min_seconds:
        return "too short" if found.stop > found.start else "silent"
    if item.split == "test":  # a test set stays what it is
        return ""
    if duplicate_of:
        return "duplicate"
    if not math.isnan(found.dnsmos) and found.dnsmos < choice.min_dnsmos:
        return "DNSMOS"
    return ""


def _measure_all(
    items: Sequence[Item], folder: Path, rate_speech: bool, jobs: int, progress: bool
) -> dict[str, Measurement]:
    """Return the measurement of each item by its path, from the pieces where it is there."""
    root, pieces = folder / AUDIO, folder / MEASURED
    keys = {item.path: _key(root, item, rate_speech) for item in items}
    known = {
        row.pop("path"): (row.pop("key"), Measurement(**row))
        for piece in sorted(pieces.glob("*.parquet"))
        for row in pq.read_table(piece).to_pylist()
    }
    done = {path: m for path, (key, m) in known.items() if keys.get(path) == key}
    todo = [item for item in items if item.path not in done]
    fresh: dict[str, Measurement] = {}
    with Progress(disable=not progress or not todo) as bar:
        task = bar.add_task(f"measuring {folder.name}", total=len(todo))
        for item, found in _measured(root, todo, rate_speech, jobs):
            fresh[item.path] = found
            bar.advance(task)
            if len(fresh) == PIECE:
                _keep(pieces, fresh, keys)
                done, fresh = done | fresh, {}
    _keep(pieces, fresh, keys)
    return done | fresh


def _key(root: Path, item: Item, rate_speech: bool) -> str:
    """Return what a measurement depends on."""
    stat = (root / item.path).stat()
    return f"{item.kind} {item.clean} {stat.st_size} {stat.st_mtime_ns} {rate_speech}"


def _keep(pieces: Path, found: dict[str, Measurement], keys: dict[str, str]) -> None:
    if found:
        rows = [{"path": p, "key": keys[p], **asdict(m)} for p, m in found.items()]
        with atomic_write(pieces / f"{uuid4().hex}.parquet") as part:
            pq.write_table(pa.Table.from_pylist(rows), part, compression="zstd")


def _measured(
    root: Path, items: Sequence[Item], rate_speech: bool, jobs: int
) -> Iterator[tuple[Item, Measurement]]:
    if jobs == 1:
        for item in items:
            yield item, measure(root, item, rate_speech)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = iter(items)
        running = {
            pool.submit(measure, root, item, rate_speech): item
            for item in islice(waiting, jobs * AHEAD)
        }
        while running:
            future = next(as_completed(running))
            item = running.pop(future)
            for following in islice(waiting, 1):
                running[pool.submit(measure, root, following, rate_speech)] = following
            yield item, future.result()
