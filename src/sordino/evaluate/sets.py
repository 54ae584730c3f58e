"""A folder of clips, scored: `evaluate_set`, and the walk over it that reports progress."""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip, find_clips
from sordino.evaluate.conditions import AS_IS, Condition
from sordino.evaluate.measures import FAST, MEASURES, Row, check_metrics, score
from sordino.evaluate.metrics import RATE, Signal
from sordino.evaluate.recogniser import word_error_rate
from sordino.evaluate.records import Key
from sordino.evaluate.resampling import resample
from sordino.evaluate.systems import Enhancer, Function, Process, System
from sordino.evaluate.traits import TRANSCRIPT


class Task(NamedTuple):
    """A clip to be given to a system under a condition."""

    system: System
    clip: Clip
    condition: Condition = AS_IS

    @property
    def key(self) -> Key:
        """What its row is about."""
        return Key(self.system.name, self.clip.name, self.condition.name)


class Result(NamedTuple):
    """What became of a task: its figures, or the reason why there are none."""

    key: Key
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
    tasks = [Task(system, clip) for clip in find_clips(folder, limit)]
    rows: dict[str, Row] = {}
    for result in walk(tasks, metrics, jobs):
        if result.error:
            raise SordinoError(result.error)
        rows[result.key.clip] = result.row
    return rows


def walk(tasks: Iterable[Task], metrics: Collection[str] = FAST, jobs: int = 1) -> Iterator[Result]:
    """Enhance and score task after task, in order; a bad clip gives a `Result` with an error.

    Systems run here, one at a time and on one thread each, so they need not be picklable
    and their times compare; scoring, which costs far more than a small network, is shared
    among `jobs` processes.  `metrics` are taken where a task's condition names none.
    """
    wanted = check_metrics(metrics)
    with threadpool_limits(1):
        if jobs == 1:
            for task in tasks:
                yield _result(task, lambda each=task: _measure(*_enhance(each, wanted)))
            return
        # A fresh interpreter per process: forking one that runs threads can lock up.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, threadpool_limits, (1,)) as pool:
            waiting: deque[tuple[Task, Future[Row]]] = deque()
            for task in tasks:
                if len(waiting) > 2 * jobs:  # clips further ahead of the scorers fill memory
                    done, future = waiting.popleft()
                    yield _result(done, future.result)
                try:
                    future = pool.submit(_measure, *_enhance(task, wanted))
                except SordinoError as error:
                    future = Future[Row]()
                    future.set_exception(error)
                waiting.append((task, future))
            for done, future in waiting:
                yield _result(done, future.result)


class _Enhanced(NamedTuple):
    """A clip ready to be scored, and what only the system itself could tell."""

    clean: Signal | None
    noisy: Signal
    estimate: Signal
    rate: int
    wanted: frozenset[str]
    transcript: str
    known: Row


def _enhance(task: Task, wanted: frozenset[str]) -> _Enhanced:
    system, clip, condition = task
    wanted = frozenset(condition.metrics) or wanted
    reference, recording, rate = clip.read()
    heard = condition.hear(reference, recording, rate)
    clean, noisy, given = heard.clean, heard.noisy, heard.given
    known: Row = {}
    output, seconds = _timed(system.opened(clip, rate), given)
    if "rtf" in wanted and system.runs:
        known["rtf"] = seconds * rate / len(given)
    if "rtf_live" in wanted and (process := system.opened_live(clip, rate)):
        known["rtf_live"] = _timed(process, given)[1] * rate / len(given)
    if "noise_removed" in wanted and clean is not None and len(clean) == len(noisy):
        noise = np.pad((noisy - clean) * heard.gain, (len(heard.lead), 0))
        share = system.noise_removed(given, noise, rate)
        known |= {} if share is None else {"noise_removed": share}
    transcript = clip.traits.get(TRANSCRIPT, "")
    return _Enhanced(clean, noisy, heard.brought_back(output), rate, wanted, transcript, known)


def _timed(process: Process, noisy: Signal) -> tuple[Signal, float]:
    """Return the estimate and the seconds of processor time that it took, over all threads."""
    start = time.process_time()
    estimate = process(noisy)
    return estimate, time.process_time() - start


def _measure(
    clean: Signal | None,
    noisy: Signal,
    estimate: Signal,
    rate: int,
    wanted: frozenset[str],
    transcript: str,
    known: Row,
) -> Row:
    row = score(clean, noisy, estimate, rate, wanted) | known
    if "wer" in wanted and transcript:
        row["wer"] = word_error_rate(transcript, resample(estimate, rate, RATE))
    return {name: row[name] for name in MEASURES if name in row}


def _result(task: Task, work: Callable[[], Row]) -> Result:
    try:
        return Result(task.key, work())
    except SordinoError as error:
        return Result(task.key, {}, f"{task.system.name}, {task.clip.noisy.name}: {error}")
