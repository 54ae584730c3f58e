"""What a run on a cluster shows while it runs and when it ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from sordino.cluster.ledger import Result
from sordino.cluster.plan import Work
from sordino.levels import noise_taken

LINE_SECONDS = 30.0  # between lines where there is no terminal


@dataclass
class Tally:
    """What a run has done so far.

    Args:
        total, total_bytes: of the whole work list.
        price: of a worker for an hour, in any currency; None shows no costs.
    """

    total: int
    total_bytes: int
    price: float | None = None
    done: int = 0
    before: int = 0
    """Files that were done before this run began."""
    failed: int = 0
    seconds: float = 0.0
    bytes: int = 0
    taken_db: list[float] = field(default_factory=list[float])
    worker_seconds: float = 0.0
    """Time of all workers together, at work or not."""
    begin: float = field(default_factory=perf_counter)

    @property
    def ended(self) -> int:
        """Files that need nothing more."""
        return self.done + self.before + self.failed

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return max(1e-6, perf_counter() - self.begin)

    @property
    def throughput(self) -> float:
        """Hours of sound in an hour on the clock."""
        return self.seconds / self.elapsed

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take, by the bytes of what is done; None if unknown."""
        rest = self.total - self.ended
        if not self.done or not rest:
            return None
        share = self.bytes / self.total_bytes if self.total_bytes else self.done / self.total
        before = self.before / self.total  # their bytes are not known to be like the others'
        missing = max(0.0, 1 - share - before)
        return self.elapsed * missing / share if share else None

    def costs(self) -> str:
        """Say what it costs so far, and in all."""
        if self.price is None:
            return ""
        so_far = self.worker_seconds / 3600 * self.price
        if self.left is None:
            return f"cost {so_far:.2f}"
        return f"cost {so_far:.2f} of about {so_far * (1 + self.left / self.elapsed):.2f}"


class ClusterDisplay:
    """Progress on standard error: a bar on a terminal, else a line now and then.

    Args:
        works: the work list.
        quiet: show failures only.
        price: see `Tally`.
    """

    def __init__(self, works: Sequence[Work], quiet: bool = False, price: float | None = None):
        self.tally = Tally(len(works), sum(work.size for work in works), price)
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._workers = 0
        self._ticked = perf_counter()
        self._line_due = perf_counter() + LINE_SECONDS
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=max(1, len(works)))

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def tick(self, workers: int) -> None:
        """Show the progress, with the number of workers that are ready or at work."""
        now = perf_counter()
        self.tally.worker_seconds += (now - self._ticked) * workers
        self._ticked, self._workers = now, workers
        if not self._bar.disable:
            self._bar.update(self._task, completed=self.tally.ended, description=self._state())
        elif now > self._line_due and not self._quiet:
            self._line_due = now + LINE_SECONDS
            self._line(self._state())

    def ended(self, work: Work, result: Result) -> None:
        """Count a file that has ended well."""
        tally = self.tally
        if result.status == "skipped":
            tally.before += 1
        else:
            tally.done += 1
            tally.seconds += result.seconds
            tally.bytes += work.size
            if result.noise_taken_db is not None:
                tally.taken_db.append(result.noise_taken_db)
        for note in () if self._quiet else result.notes:
            self._line(f"[yellow]note[/]    {escape(work.source)}: {escape(note)}")

    def note(self, text: str) -> None:
        """Show what the user should know of the run."""
        if not self._quiet:
            self._line(f"[yellow]note[/]    {escape(text)}")

    def failed(self, error: str, attempts: int = 1) -> None:
        """Show and count a file, or a recording in a shard, that cannot be done."""
        tried = f" [dim](tried {attempts} times)[/]" if attempts > 1 else ""
        self._line(f"[red]failed[/]  {escape(error)}{tried}")

    def summary(self, ledger: str, has_ended: bool) -> None:
        """Say what was done in all."""
        tally = self.tally
        parts: list[str] = []
        if tally.done:
            facts = [f"{_hours(tally.seconds)} of sound in {_hours(tally.elapsed)}"]
            facts.append(f"{tally.throughput:.0f} audio hours an hour")
            if tally.taken_db:
                mean = sum(tally.taken_db) / len(tally.taken_db)
                facts.append(f"noise taken {noise_taken(mean)}")
            facts += [tally.costs()] if tally.price is not None else []
            parts.append(f"{_files(tally.done)}: {', '.join(facts)}")
        if tally.before:
            parts.append(f"{tally.before} done before (--overwrite does them again)")
        if tally.failed:
            parts.append(f"[red]{tally.failed} failed[/] (--retry-failed tries them again)")
        missing = tally.total - tally.ended
        if missing and not has_ended:
            parts.append(f"[red]{missing} not done[/] (the same command goes on with the rest)")
        if not self._quiet:
            self._line("; ".join(parts))
            self._line(f"[dim]ledger  {escape(ledger)}[/]")

    def _state(self) -> str:
        tally = self.tally
        if not self._workers and not tally.done:
            return "waiting for workers"
        facts = [
            f"{tally.ended}/{_files(tally.total)}",
            f"{_hours(tally.seconds)} of sound",
            f"{tally.throughput:.0f} audio h/h",
            f"{self._workers} workers",
        ]
        facts += [f"[red]{tally.failed} failed[/]"] if tally.failed else []
        facts += [f"{_hours(tally.left)} left"] if tally.left is not None else []
        facts += [tally.costs()] if tally.price is not None else []
        return ", ".join(facts)

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _hours(seconds: float) -> str:
    """Write a length of time with the unit that fits.

    >>> [_hours(each) for each in (12.34, 300, 7200)]
    ['12.3 s', '5.0 min', '2.0 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
