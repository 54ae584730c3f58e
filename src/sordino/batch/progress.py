"""What a batch shows while it runs and when it ends."""

from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from time import perf_counter
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sordino.batch.plan import Job
from sordino.batch.process import FileReport
from sordino.levels import noise_taken


class BatchDisplay:
    """Progress bar, one line per file, and a closing summary, all on standard error.

    Args:
        jobs: what will be done.
        quiet: show failures only.

    Its methods may be called from several threads.
    """

    def __init__(self, jobs: Sequence[Job], quiet: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        # Sizes in bytes foretell the rest of the work without opening every file first.
        self._sizes = {job: _size(job) for job in jobs}
        self._running: dict[Job, tuple[float, float]] = {}  # bytes and seconds that are done
        self._bytes = self._seconds = 0.0  # of the jobs that have ended
        self._lock = Lock()
        self._begin = perf_counter()
        self._bar = Progress(
            TextColumn("{task.fields[count]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[name]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        total = sum(self._sizes.values()) or None
        self._task = self._bar.add_task("", total=total, count=self._count(0), speed="", name="")
        self._ended = 0

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def progress(self, job: Job, seconds: float, total: float | None) -> None:
        """Show how many seconds of a job are done."""
        with self._lock:
            share = min(1.0, seconds / total) if total else 0.0
            self._running[job] = (share * self._sizes[job], seconds)
            done = self._seconds + sum(each[1] for each in self._running.values())
            speed = done / max(1e-6, perf_counter() - self._begin)
            self._show(speed=f"{speed:.0f} x real time", name=escape(job.source.name))

    def report(self, report: FileReport) -> None:
        """Show how a job ended."""
        with self._lock:
            self._ended += 1
            self._running.pop(report.job, None)
            self._bytes += self._sizes[report.job]
            self._seconds += report.seconds
            self._show(count=self._count(self._ended))
        if report.status == "failed":
            self._line(f"[red]failed[/]  {escape(report.error)}")
        elif report.status == "done" and not self._quiet:
            target = escape(report.job.target_name)
            self._line(f"[green]done[/]    {target}  [dim]{_facts([report])}[/]")
        for note in () if self._quiet else report.notes:
            self._line(f"[yellow]note[/]    {escape(report.job.source_name)}: {escape(note)}")

    def summary(self, reports: Sequence[FileReport]) -> None:
        """Say what was done in all."""
        done = [each for each in reports if each.status == "done"]
        skipped = sum(each.status == "skipped" for each in reports)
        failed = sum(each.status == "failed" for each in reports)
        missing = len(self._sizes) - len(reports)
        parts: list[str] = []
        if done:
            elapsed = perf_counter() - self._begin
            parts.append(f"{_files(len(done))}: {_facts(done, elapsed)}")
        if skipped:
            parts.append(f"{skipped} skipped, done before (--overwrite does it again)")
        if failed:
            parts.append(f"[red]{failed} failed[/]")
        if missing:
            parts.append(f"[red]{missing} not done[/] (the same command goes on with the rest)")
        if not self._quiet and (len(self._sizes) > 1 or skipped or missing):
            self._line("; ".join(parts))

    def _count(self, ended: int) -> str:
        return f"{ended}/{_files(len(self._sizes))}"

    def _show(self, **fields: Any) -> None:
        done = self._bytes + sum(each[0] for each in self._running.values())
        self._bar.update(self._task, completed=done, **fields)

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _facts(reports: Sequence[FileReport], elapsed: float | None = None) -> str:
    """Minutes, speed and noise taken."""
    seconds = sum(each.seconds for each in reports)
    elapsed = elapsed or sum(each.elapsed for each in reports)
    taken = [each.noise_taken_db for each in reports if each.noise_taken_db is not None]
    length = f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
    facts = [f"{length} of sound", f"{seconds / max(elapsed, 1e-6):.0f} x real time"]
    if taken:
        facts.append(f"noise taken {noise_taken(sum(taken) / len(taken))}")
    return ", ".join(facts)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _size(job: Job) -> int:
    with suppress(OSError):
        return job.source.stat().st_size
    return 0
