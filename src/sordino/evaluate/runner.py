"""Runs systems over a set under conditions, and scores their outputs in several processes."""

# No types: soundfile.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import math
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.evaluate.asr import word_error_rate
from sordino.evaluate.conditions import AS_IS, CONDITIONS, Condition, Goal
from sordino.evaluate.dataset import (
    CLEAN,
    HIGH_VOICE,
    MIXTURE,
    NOISE,
    TRANSCRIPT,
    Clip,
    Traits,
    find_clips,
)
from sordino.evaluate.metrics import RATE, resample
from sordino.evaluate.results import RecordKey, Records, rows_of, write_records
from sordino.evaluate.scores import FAST, MEASURES, Row, check_metrics, score
from sordino.evaluate.statistics import Interval, Summary, summarize
from sordino.evaluate.systems import Enhancer, Function, Process, System

SAVE_SECONDS = 2.0  # a killed run loses no more
SPEECH = frozenset({"pesq", "estoi", "sisdr", "att_db", "level_loss_db"})
PART_MEASURES = {NOISE: frozenset({"level_db"}), CLEAN: SPEECH, HIGH_VOICE: SPEECH}
"""What is worth measuring in the parts of a set; everything in mixtures."""


class ScoringTask(NamedTuple):
    """A clip to be processed by a system under a condition."""

    system: System
    clip: Clip
    condition: Condition = AS_IS

    @property
    def key(self) -> RecordKey:
        """Key of its row of figures."""
        return RecordKey(self.system.name, self.clip.name, self.condition.name)


class ScoringResult(NamedTuple):
    """Figures of a task, or the reason why there are none."""

    key: RecordKey
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
        folder: The set; the files of a pair have the same name.
        enhancer: Called in this process with a mono clip, shape = (samples,), and its rate
            in Hz; returns the estimate.
        metrics: Names from `sordino.evaluate.MEASURES`.
        limit: Only the first clips, by name.
        jobs: Processes that score.  Above 1 the calling script needs the usual
            ``if __name__ == "__main__"``.

    Returns:
        The figures of every clip, by file name without suffix.  `means` condenses them.

    Raises:
        SordinoError: An unusable folder or clip.
    """
    system = Function("enhancer", enhancer)
    tasks = [ScoringTask(system, clip) for clip in find_clips(folder, limit)]
    rows: dict[str, Row] = {}
    for result in run_tasks(tasks, metrics, jobs):
        if result.error:
            raise SordinoError(result.error)
        rows[result.key.clip] = result.row
    return rows


RunTasks = Callable[[Sequence[ScoringTask], Collection[str], int], Iterable[ScoringResult]]
"""Runs tasks, given the measures where a condition names none, and the number of processes."""


def run_tasks(
    tasks: Iterable[ScoringTask], metrics: Collection[str] = FAST, jobs: int = 1
) -> Iterator[ScoringResult]:
    """Enhance and score tasks in order; a bad clip gives a `ScoringResult` with an error.

    Systems run in this process, one at a time and on one thread each, so that they need not
    be picklable and their times compare.  Scoring costs far more than a small network and is
    shared among `jobs` processes; a clip whose scoring crashes one gives an error, too.

    Args:
        tasks: What to do.
        metrics: Measures taken where the condition of a task names none.
        jobs: Processes that score; 1 scores in this process.
    """
    wanted = check_metrics(metrics)
    with one_thread():
        if jobs == 1:
            for task in tasks:
                yield _result(task, lambda each=task: measured(each, wanted))
        else:
            yield from _run_in_processes(tasks, wanted, jobs)


def measured(task: ScoringTask, wanted: frozenset[str]) -> Row:
    """Enhance and score one task in this process.

    Raises:
        SordinoError: its clip cannot be read or scored.
    """
    return _measure(*_enhance(task, wanted))


def _run_in_processes(
    tasks: Iterable[ScoringTask], wanted: frozenset[str], jobs: int
) -> Iterator[ScoringResult]:
    waiting: deque[tuple[ScoringTask, Future[Row]]] = deque()
    pool = _pool(jobs)
    try:
        for task in tasks:
            if len(waiting) > 2 * jobs:  # clips further ahead of the scorers fill the memory
                yield _finished(*waiting.popleft(), wanted)
            future = Future[Row]()
            try:
                enhanced = _enhance(task, wanted)
                try:
                    future = pool.submit(_measure, *enhanced)
                except BrokenProcessPool:
                    pool.shutdown()
                    pool = _pool(jobs)
                    future = pool.submit(_measure, *enhanced)
            except SordinoError as error:
                future.set_exception(error)
            waiting.append((task, future))
        while waiting:
            yield _finished(*waiting.popleft(), wanted)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(task: ScoringTask, future: Future[Row], wanted: frozenset[str]) -> ScoringResult:
    try:
        return _result(task, future.result)
    except BrokenProcessPool:
        # A crash ends all clips in the pool: the one that caused it crashes again when alone.
        return _result(task, lambda: _measure_alone(task, wanted))


def _measure_alone(task: ScoringTask, wanted: frozenset[str]) -> Row:
    with _pool(1) as pool:
        try:
            return pool.submit(_measure, *_enhance(task, wanted)).result()
        except BrokenProcessPool as error:
            raise SordinoError("the process that scored it crashed") from error


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Fresh interpreters: a fork of a process that runs threads can deadlock.
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker)


def _start_worker() -> None:
    one_thread()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with its parent: a killed run would leave it waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def one_thread() -> AbstractContextManager[Any]:
    """Limit the linear algebra of this process to one thread."""
    threadpoolctl: Any = import_module("threadpoolctl")
    return threadpoolctl.threadpool_limits(1)


class _Enhanced(NamedTuple):
    """A clip ready to be scored, and the figures that only the system can tell."""

    clean: Mono | None
    noisy: Mono
    estimate: Mono
    rate: int
    wanted: frozenset[str]
    transcript: str
    known: Row


def _enhance(task: ScoringTask, wanted: frozenset[str]) -> _Enhanced:
    system, clip, condition = task
    wanted = frozenset(condition.metrics) or wanted
    wanted &= PART_MEASURES.get(clip.part, wanted)
    reference, recording, rate = clip.read()
    stimulus = condition.apply(reference, recording, rate)
    clean, noisy, given = stimulus.clean, stimulus.noisy, stimulus.given
    known: Row = {}
    output, seconds = _timed(system.opened(clip, rate, condition), given)
    if "rtf" in wanted and system.runs:
        known["rtf"] = seconds * rate / len(given)
    if "rtf_live" in wanted and (process := system.opened_live(clip, rate)):
        known["rtf_live"] = _timed(process, given)[1] * rate / len(given)
    if "noise_removed" in wanted and clean is not None and len(clean) == len(noisy):
        noise = np.pad((noisy - clean) * stimulus.gain, (len(stimulus.lead), 0))
        share = system.noise_removed(given, noise, rate)
        known |= {} if share is None else {"noise_removed": share}
    transcript = clip.traits.get(TRANSCRIPT, "")
    return _Enhanced(clean, noisy, stimulus.undo(output), rate, wanted, transcript, known)


def _timed(process: Process, noisy: Mono) -> tuple[Mono, float]:
    """Return the estimate and the processor time that it took over all threads, in seconds."""
    start = time.process_time()
    estimate = process(noisy)
    return estimate, time.process_time() - start


def _measure(
    clean: Mono | None,
    noisy: Mono,
    estimate: Mono,
    rate: int,
    wanted: frozenset[str],
    transcript: str,
    known: Row,
) -> Row:
    row = score(clean, noisy, estimate, rate, wanted) | known
    if "wer" in wanted and transcript:
        row["wer"] = word_error_rate(transcript, resample(estimate, rate, RATE))
    return {name: row[name] for name in MEASURES if name in row}


def _result(task: ScoringTask, work: Callable[[], Row]) -> ScoringResult:
    try:
        return ScoringResult(task.key, work())
    except SordinoError as error:
        return ScoringResult(task.key, {}, f"{task.system.name}, {task.clip.noisy.name}: {error}")


@dataclass
class Evaluation:
    """Systems over a set, and the figures so far.

    Args:
        title: Folder of the set.
        clips: Of the set.
        systems: What is measured, in the order of the report.
        conditions: Test conditions with their measures; the first one is that of the summary.
        records: Figures known already; `run` adds to them.
        beside: Names of systems that are in the records only.
        errors: One line for each output that could not be measured.
        macs: Multiply-accumulates per second of audio of the systems in `beside`, if known.
    """

    title: str
    clips: Sequence[Clip]
    systems: Sequence[System]
    conditions: Sequence[Condition]
    records: Records = field(default_factory=Records)
    beside: Sequence[str] = ()
    errors: list[str] = field(default_factory=list[str])
    macs: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def traits(self) -> dict[str, Traits]:
        """Columns of META.csv by clip."""
        return {clip.name: clip.traits for clip in self.clips}

    @property
    def summarized(self) -> list[Clip]:
        """Clips that means are taken over: the mixtures of the set, or all if it has none."""
        return [clip for clip in self.clips if clip.part == MIXTURE] or list(self.clips)

    @property
    def versions(self) -> dict[str, str]:
        """What tells each system from others of its name."""
        return {system.name: system.version for system in self.systems}

    @property
    def names(self) -> list[str]:
        """The systems in the order of the report."""
        return list(dict.fromkeys([*(system.name for system in self.systems), *self.beside]))

    @property
    def subject(self) -> str:
        """The system that the report is about: the first after the unprocessed input."""
        return self.names[min(1, len(self.names) - 1)]

    @property
    def checked(self) -> list[str]:
        """The systems that are measured under other conditions than the first one."""
        others = self.conditions[1:]
        return [each.name for each in self.systems if any(map(each.supports, others))]

    def rows(
        self, system: str, clips: Collection[str] | None = None, condition: str | None = None
    ) -> dict[str, Row]:
        """Return the figures of a system, by clip.

        Args:
            system: Its name.
            clips: Names of the clips; by default those in `summarized`.
            condition: Name of the condition; the first one by default.
        """
        name = self.conditions[0].name if condition is None else condition
        found = rows_of(self.records, system, name)
        chosen = {clip.name for clip in self.summarized} if clips is None else clips
        return {clip: found[clip] for clip in self.traits if clip in found and clip in chosen}

    def summaries(self, clips: Collection[str] | None = None) -> dict[str, Summary]:
        """Return the statistics of every system under the first condition."""
        rows = {name: self.rows(name, clips) for name in self.names}
        return {name: summarize(found.values()) for name, found in rows.items() if found}

    def check(self, check: Goal, system: str) -> Interval | None:
        """Return the figure of a check over the mixtures; None if nothing was measured."""
        clips = {clip.name for clip in self.summarized}
        records = {key: row for key, row in self.records.items() if key.clip in clips}
        return check.result(records, system)

    def run(self, jobs: int, saved_to: Path | None = None, run_tasks: RunTasks = run_tasks) -> None:
        """Score what is not scored yet, and save it every few seconds and at the end.

        Args:
            jobs: Processes that score.
            saved_to: CSV file, or None.
            run_tasks: What does it; here in processes of this machine.

        Raises:
            SordinoError: The figures cannot be saved.
        """
        tasks = [task for task in self.tasks() if not self._is_done(task)]
        saved = time.monotonic()
        if saved_to:
            self._save(saved_to)  # an unwritable path is reported now and not hours later
        try:
            for task, result in _with_progress(tasks, run_tasks(tasks, FAST, jobs)):
                if result.error:
                    self.errors.append(result.error)
                    continue
                # Measures that a system or a clip does not have are nan and not tried again.
                undefined = dict.fromkeys(task.condition.metrics, math.nan)
                self.records[result.key] = undefined | result.row
                if saved_to and time.monotonic() - saved > SAVE_SECONDS:
                    self._save(saved_to)
                    saved = time.monotonic()
        finally:
            if saved_to:
                self._save(saved_to)

    def tasks(self) -> Iterator[ScoringTask]:
        """Return everything that is to be measured, done or not."""
        for condition in self.conditions:
            for system in self.systems:
                if system.supports(condition):
                    for clip in self.clips:
                        if condition.fits(clip):
                            yield ScoringTask(system, clip, condition)

    def _is_done(self, task: ScoringTask) -> bool:
        return set(task.condition.metrics) <= self.records.get(task.key, {}).keys()

    def _save(self, path: Path) -> None:
        write_records(path, self.records, self.traits, self.versions)


def _with_progress(
    tasks: Sequence[ScoringTask], results: Iterable[ScoringResult]
) -> Iterator[tuple[ScoringTask, ScoringResult]]:
    """Show a progress bar on a terminal."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as progress:
        bar = progress.add_task("evaluate", total=len(tasks))
        for task, result in zip(tasks, results, strict=True):
            label = ", ".join(filter(None, (result.key.system, result.key.condition)))
            progress.update(bar, advance=1, description=label)
            yield task, result


def export_inputs(evaluation: Evaluation, folder: Path) -> None:
    """Write what systems get under each condition, for systems that run elsewhere.

    Files are 32-bit float WAV in ``folder/noisy/`` for the set as it is and in a subfolder with
    the name of each other condition, where `Recorded` looks for the outputs.

    Args:
        evaluation: With the clips and the conditions.
        folder: It is created.

    Raises:
        SordinoError: A clip cannot be read, or a file cannot be written.
    """
    names = {condition.name: name for name, condition in CONDITIONS.items()}
    for condition in evaluation.conditions:
        target = folder / names.get(condition.name, "noisy")
        try:
            target.mkdir(parents=True, exist_ok=True)
            for clip in filter(condition.fits, evaluation.clips):
                reference, recording, rate = clip.read()
                given = condition.apply(reference, recording, rate).given
                sf.write(target / f"{clip.name}.wav", given, rate, "FLOAT")
        except (OSError, sf.SoundFileError) as error:
            raise SordinoError(f"{target} cannot be written: {error}.") from error
