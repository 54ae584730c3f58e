"""`sordino denoise --cluster`: the work list is done by workers, and a ledger knows how far it is.

A run may be killed at any moment, with its driver, and begun again: an output is there as a whole
or not at all, and what the ledger has not noted is done once more with the same result.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from sordino.batch.track import DenoiseSettings
from sordino.cluster import storage
from sordino.cluster.ledger import JOIN, WHOLE, Key, Ledger, Result
from sordino.cluster.plan import Work, find_work
from sordino.cluster.pool import LOCAL, Finished, Pool, cluster_cores, cluster_gpus, connected
from sordino.cluster.progress import ClusterDisplay
from sordino.cluster.sections import CHECKED, GRID, OVERLAP
from sordino.cluster.worker import MakeWorker, Task
from sordino.errors import SordinoError
from sordino.io.atomic import remove_stale_parts
from sordino.model import Model
from sordino.voice import load_voices

LEDGER = ".sordino"
"""Folder of the ledger in that of the outputs."""

MAX_BATCH, SMALL = 16, 2 << 20  # files in a call, where they have fewer bytes than this


@dataclass(frozen=True)
class ClusterOptions:
    """Where and how a run on a cluster is done.

    Args:
        address: see `sordino.cluster.pool.connected`.
        workers: with a core each; None is one a core of the cluster.
        gpu_workers: with a GPU each, besides.
        ledger: address of its folder; None is `LEDGER` in the output folder.
        attempts: how often a file is tried.
        section_minutes: recordings of twice this or more are cut into sections; 0 cuts none.
        timeout_minutes: that a file may take.
        retry_failed: try again what has failed in an earlier run.
        price: of a worker for an hour.

    Raises:
        SordinoError: a value is out of range.
    """

    address: str = "local"
    workers: int | None = None
    gpu_workers: int = 0
    ledger: str | None = None
    attempts: int = 3
    section_minutes: float = 30.0
    timeout_minutes: float = 60.0
    retry_failed: bool = False
    price: float | None = None

    def __post_init__(self) -> None:
        if self.section_seconds is not None and self.section_seconds <= OVERLAP + CHECKED:
            raise SordinoError(
                f"--section {self.section_minutes:g} is too short: sections overlap by {OVERLAP} s,"
                " so give 3 minutes or more, or 0 to cut nothing"
            )
        if self.workers == 0 and not self.gpu_workers:
            raise SordinoError("--workers 0 leaves no worker: give --gpu-workers, too")

    @property
    def local_cores(self) -> int | None:
        """Cores that a cluster of this machine alone needs; None is all that it has."""
        return None if self.workers is None else self.workers + self.gpu_workers

    @property
    def section_seconds(self) -> int | None:
        """Length of a section; None if nothing is cut."""
        if not self.section_minutes:
            return None
        return max(1, round(60 * self.section_minutes / GRID)) * GRID


def denoise_on_cluster(
    inputs: Sequence[str],
    output: str,
    settings: DenoiseSettings | None = None,
    options: ClusterOptions | None = None,
    *,
    extension: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> int:
    """Denoise many files on a cluster.

    Args:
        inputs: see `sordino.cluster.plan.find_work`.
        output: address of a folder.
        settings: model and strength.
        options: see `ClusterOptions`.
        extension: format to write; None keeps that of each recording.
        overwrite: also do what is there already.
        quiet: show failures only.

    Returns:
        How many files, or recordings in shards, failed; each was named on standard error.

    Raises:
        SordinoError: the run cannot begin or go on; the message says why.
        KeyboardInterrupt: after the ledger was written.
    """
    settings, options = settings or DenoiseSettings(), options or ClusterOptions()
    loaded = settings.loaded()
    loaded.check()
    works = find_work(inputs, output, extension)
    address = options.ledger or storage.joined(output, LEDGER)
    ledger = Ledger(address, _options(loaded, options, extension), overwrite)
    run = _ClusterRun(works, ledger, options, ClusterDisplay(works, quiet, options.price))
    tasks = run.outstanding(storage.list_files(output))
    folders = {path.parent for work in works if (path := storage.local_path(work.target))}
    make = MakeWorker(loaded, ledger.overwrites, options.section_seconds, ledger.sections)
    has_ended = False
    remove_stale_parts(folders)
    try:
        ledger.write_work(works)
        if tasks:
            with connected(options.address, options.local_cores), run.display:
                run.do(make, tasks)
        remove_stale_parts(folders)  # of workers that were killed
        ledger.end()
        has_ended = True
    finally:
        ledger.flush()
        run.display.summary(address, has_ended)
    return run.failures


def _options(
    settings: DenoiseSettings, options: ClusterOptions, extension: str | None
) -> dict[str, Any]:
    """Return what decides on the content of the outputs, in words of the command line."""
    assert isinstance(settings.model, Model)
    voices = [
        f"{voice.name} ({sha256(voice.embedding.tobytes()).hexdigest()[:12]})"
        for voice in load_voices(settings.voice)
    ]
    return {
        "model": f"{settings.model.info.name} ({settings.model.sha256[:12]})",
        "--strength": settings.strength,
        "--attenuation-limit": settings.attenuation_limit_db,
        "--warm-up": settings.warm_up,
        "--loudness": settings.loudness,
        "--from": settings.begin,
        "--to": settings.end,
        "--channel": settings.channel,
        "--track": settings.track,
        "--voice": voices or None,
        "--others": settings.others_db,
        "--voice-fallback": settings.voice_fallback,
        "--format": extension,
        "--section": options.section_minutes,
    }


class _ClusterRun:
    """A run while it is going on."""

    def __init__(
        self,
        works: Sequence[Work],
        ledger: Ledger,
        options: ClusterOptions,
        display: ClusterDisplay,
    ) -> None:
        self.display = display
        self.failures = 0
        self._works = works
        self._ledger = ledger
        self._options = options
        self._sections: dict[str, int] = {}  # that are not done yet, by work
        self._given_up: set[str] = set()

    def outstanding(self, existing: set[str]) -> list[Task]:
        """Return what is to be done; count what was done, or given up, before."""
        failed: dict[str, list[Result]] = {}
        for result in self._ledger.results.values():
            if result.status == "failed":
                failed.setdefault(result.id, []).append(result)
        tasks: list[Task] = []
        for work in self._works:
            tasks += self._outstanding(work, existing, failed.get(work.id, []))
        return tasks

    def _outstanding(
        self, work: Work, existing: set[str], failed: Sequence[Result]
    ) -> Iterator[Task]:
        results = self._ledger.results
        whole, join = results.get(Key(work.id, WHOLE)), results.get(Key(work.id, JOIN))
        if failed and not self._options.retry_failed:
            for result in failed:
                self._fail(work, result)
            if not any(result.member for result in failed):
                return
        is_there = work.target in existing
        last = whole if whole is None or whole.status != "cut" else join
        has_ended = last is not None and last.status in ("done", "skipped") and is_there
        if has_ended and not (failed and self._options.retry_failed):
            self.display.tally.before += 1
            return
        if whole is not None and whole.status == "cut" and join is None:
            keys = [Key(work.id, number) for number in range(whole.sections)]
            missing = [k.section for k in keys if k not in results or results[k].status != "done"]
            self._sections[work.id] = len(missing)
            for number in missing or [JOIN]:
                yield Task(work, number, whole.sections)
        elif is_there and storage.scheme_of(work.target) and not self._ledger.overwrites:
            self._ledger.add(Result(work.id, status="skipped"))
            self.display.tally.before += 1
        else:
            yield Task(work)

    def do(self, make: MakeWorker, tasks: Sequence[Task]) -> None:
        """Do tasks, and what follows from them."""
        options = self._options
        cpus = options.workers
        if cpus is None:
            cpus = max(1, cluster_cores() - options.gpu_workers)
        self._check_room(cpus)
        size = sum(task.work.size for task in tasks) / len(tasks)
        share = len(tasks) // (8 * (cpus + options.gpu_workers))
        batch = max(1, min(MAX_BATCH, share)) if size < SMALL else 1
        pool = Pool[Task, list[Result]](
            make,
            cpus,
            options.gpu_workers,
            attempts=options.attempts,
            batch=batch,
            timeout=60 * options.timeout_minutes,
        )
        with closing(pool):
            for finished in pool.results(tasks):
                if finished is not None:
                    pool.add(self._finish(finished))
                self.display.tick(pool.workers)

    def _check_room(self, cpus: int) -> None:
        """Say what a cluster lacks; one of several machines may grow, and is waited for."""
        cores, gpus = cluster_cores(), cluster_gpus()
        wanted = self._options.gpu_workers
        if wanted > gpus and self._options.address == LOCAL:
            raise SordinoError(
                f"--gpu-workers {wanted}: Ray sees {gpus} GPUs on this machine: leave it out"
            )
        if wanted > gpus or cpus + wanted > cores:
            self.display.note(
                f"the cluster has {cores} cores and {gpus} GPUs, too few for {cpus} workers and "
                f"{wanted} with a GPU: the others wait until it grows"
            )

    def _finish(self, finished: Finished[Task, list[Result]]) -> Iterator[Task]:
        """Note how a task ended, and return those that follow from it."""
        task, work = finished.task, finished.task.work
        results = finished.result
        if results is None:
            results = [Result(work.id, task.section, status="failed", error=finished.error)]
        for result in results:
            result = replace(result, attempts=finished.attempts)
            self._ledger.add(result)
            if result.status == "failed":
                self._fail(work, result)
            elif result.status == "cut":
                self._sections[work.id] = result.sections
                for number in range(result.sections):
                    yield Task(work, number, result.sections)
            elif result.section >= 0:
                self._sections[work.id] -= 1
                if not self._sections[work.id]:
                    yield Task(work, JOIN, task.sections)
            else:
                self.display.ended(work, result)
                if result.section == JOIN:
                    storage.remove(storage.joined(self._ledger.sections, work.id))

    def _fail(self, work: Work, result: Result) -> None:
        self.failures += 1
        self.display.failed(result.error, result.attempts)
        if not result.member and work.id not in self._given_up:
            self._given_up.add(work.id)
            self.display.tally.failed += 1
