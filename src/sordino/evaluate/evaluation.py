"""One evaluation: systems over a set under conditions, with what is known already left out."""

import math
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sordino.evaluate.clips import Clip
from sordino.evaluate.conditions import Condition
from sordino.evaluate.measures import Row
from sordino.evaluate.records import Records, rows_of, write_records
from sordino.evaluate.sets import Result, Task, walk
from sordino.evaluate.summary import Summary, summarize
from sordino.evaluate.systems import System
from sordino.evaluate.traits import Traits

SECONDS_BETWEEN_SAVES = 2.0  # at most so much work is lost by a kill


@dataclass
class Evaluation:
    """Systems over a set, and the figures so far.

    Args:
        title: Name of the set.
        clips: Of the set.
        systems: What is measured, in the order of the report.
        conditions: Under which, and what is measured; the first one is that of the summary.
        records: Figures known already; `run` adds to them.
        beside: Names of systems that are in the records only.
        errors: One line for each output that could not be measured.
        macs: Multiply-accumulates per second of sound of those, as far as known.
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
        """What META.csv says of the clips."""
        return {clip.name: clip.traits for clip in self.clips}

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

    def rows(self, system: str, clips: Collection[str] | None = None) -> dict[str, Row]:
        """Figures of a system under the first condition, by clip; of some clips or all."""
        chosen = {clip.name for clip in self.clips} if clips is None else clips
        found = rows_of(self.records, system, self.conditions[0].name)
        return {clip: found[clip] for clip in self.traits if clip in found and clip in chosen}

    def summaries(self, clips: Collection[str] | None = None) -> dict[str, Summary]:
        """Condensed figures of every system under the first condition."""
        rows = {name: self.rows(name, clips) for name in self.names}
        return {name: summarize(found.values()) for name, found in rows.items() if found}

    def run(self, jobs: int, saved_to: Path | None = None) -> None:
        """Score what is not scored yet, and save it every few seconds and at the end.

        Raises:
            SordinoError: The figures cannot be saved.
        """
        tasks = [task for task in self.tasks() if not self._is_done(task)]
        saved = time.monotonic()
        if saved_to:
            self._save(saved_to)  # a path that cannot be written shows now, not hours later
        try:
            for task, result in _with_progress(tasks, walk(tasks, jobs=jobs)):
                if result.error:
                    self.errors.append(result.error)
                    continue
                # What a system or a clip does not have is known to be none, and not asked again.
                none = dict.fromkeys(task.condition.metrics, math.nan)
                self.records[result.key] = none | result.row
                if saved_to and time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                    self._save(saved_to)
                    saved = time.monotonic()
        finally:
            if saved_to:
                self._save(saved_to)

    def tasks(self) -> Iterator[Task]:
        """Name everything that is to be measured, done or not."""
        for condition in self.conditions:
            for system in self.systems:
                if system.runs or condition.name == "":
                    for clip in self.clips:
                        if condition.fits(clip):
                            yield Task(system, clip, condition)

    def _is_done(self, task: Task) -> bool:
        return set(task.condition.metrics) <= self.records.get(task.key, {}).keys()

    def _save(self, path: Path) -> None:
        write_records(path, self.records, self.traits, self.versions)


def _with_progress(
    tasks: Sequence[Task], results: Iterable[Result]
) -> Iterator[tuple[Task, Result]]:
    """Show a bar on a terminal while results come in."""
    with Progress(
        TextColumn("{task.description}"),
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
