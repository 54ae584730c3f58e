"""A folder of clips, scored: `evaluate_set`, and the walk over it that reports progress."""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip, find_clips
from sordino.evaluate.measures import FAST, MEASURES, Row, check_metrics, score
from sordino.evaluate.metrics import Signal
from sordino.evaluate.systems import Enhancer, Function, System


class Result(NamedTuple):
    """What became of a clip: its figures, or the reason why there are none."""

    system: str
    clip: str
    row: Row
    error: str = ""


def evaluate_set(
    folder: Path | str,
    enhancer: Enhancer,
    *,
    metrics: Collection[str] = FAST,
    limit: int | None = None,
    jobs: int = 1,
) -> dict[str, Row]:
    """Score any callable on a folder with ``noisy/`` and, if there are references, ``clean/``.

    Args:
        folder: The set; pairs have one file name.
        enhancer: Called here, in this process, with a mono clip and its rate in Hz.
        metrics: Names out of `sordino.evaluate.measures.MEASURES`.
        limit: Only the first so many clips, by name.
        jobs: Processes that score while this one enhances.  Above 1 the calling script
            needs the usual ``if __name__ == "__main__"``.

    Returns:
        For every clip its figures, by file name without suffix.  `means` condenses them.

    Raises:
        SordinoError: An unusable folder or clip.
    """
    system = Function("enhancer", enhancer)
    tasks = [(system, clip) for clip in find_clips(folder, limit)]
    rows: dict[str, Row] = {}
    for result in walk(tasks, metrics, jobs):
        if result.error:
            raise SordinoError(result.error)
        rows[result.clip] = result.row
    return rows


def walk(
    tasks: Iterable[tuple[System, Clip]], metrics: Collection[str] = FAST, jobs: int = 1
) -> Iterator[Result]:
    """Enhance and score clip after clip, in order; a bad clip gives a `Result` with an error.

    Systems run here, so they need not be picklable; scoring, which costs far more than a
    small network, is shared among `jobs` processes.
    """
    wanted = check_metrics(metrics)
    if jobs == 1:
        for system, clip in tasks:
            yield _result(system, clip, lambda s=system, c=clip: _measure(*_enhance(s, c, wanted)))
        return
    # A fresh interpreter per process: forking one that runs threads can lock up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting: deque[tuple[System, Clip, Future[Row]]] = deque()
        for system, clip in tasks:
            if len(waiting) > 2 * jobs:  # clips further ahead of the scorers only fill memory
                first = waiting.popleft()
                yield _result(*first[:2], first[2].result)
            try:
                future = pool.submit(_measure, *_enhance(system, clip, wanted))
            except SordinoError as error:
                future = Future[Row]()
                future.set_exception(error)
            waiting.append((system, clip, future))
        for system, clip, future in waiting:
            yield _result(system, clip, future.result)


class _Enhanced(NamedTuple):
    """A clip ready to be scored, and what only the system itself could tell."""

    clean: Signal | None
    noisy: Signal
    estimate: Signal
    rate: int
    wanted: frozenset[str]
    known: Row


def _enhance(system: System, clip: Clip, wanted: frozenset[str]) -> _Enhanced:
    clean, noisy, rate = clip.read()
    known: Row = {}
    start = time.process_time()
    estimate = system.estimate(clip, noisy, rate)
    if "rtf" in wanted:
        known["rtf"] = (time.process_time() - start) * rate / len(noisy)
    if "noise_removed" in wanted and clean is not None and len(clean) == len(noisy):
        share = system.noise_removed(noisy, noisy - clean, rate)
        known |= {} if share is None else {"noise_removed": share}
    return _Enhanced(clean, noisy, estimate, rate, wanted, known)


def _measure(
    clean: Signal | None,
    noisy: Signal,
    estimate: Signal,
    rate: int,
    wanted: frozenset[str],
    known: Row,
) -> Row:
    row = score(clean, noisy, estimate, rate, wanted) | known
    return {name: row[name] for name in MEASURES if name in row}


def _result(system: System, clip: Clip, work: Callable[[], Row]) -> Result:
    try:
        return Result(system.name, clip.name, work())
    except SordinoError as error:
        return Result(system.name, clip.name, {}, f"{system.name}, {clip.noisy.name}: {error}")
