"""Workers of a cluster: each loads the model once and denoises one file after another."""

import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from time import perf_counter

from sordino.batch.plan import Job
from sordino.batch.process import FileReport, denoise_job
from sordino.batch.track import DenoiseSettings
from sordino.cluster import storage
from sordino.cluster.ledger import JOIN, WHOLE, Result
from sordino.cluster.plan import Work
from sordino.cluster.sections import JoinedSettings, cut, denoise_section, is_long
from sordino.cluster.shards import Member, denoise_table, denoise_tar
from sordino.errors import SordinoError
from sordino.model import Model

try:
    import fcntl
except ImportError:  # Windows, where nobody can delete a folder with an open file in it
    fcntl = None

_WORKSPACE = "sordino-worker-"


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Args:
        work: a file, a shard or a table.
        section: the only section of it, `JOIN` to put all together, or `WHOLE`.
        sections: how many there are.
    """

    work: Work
    section: int = WHOLE
    sections: int = 0


@dataclass(frozen=True)
class MakeWorker:
    """Makes a worker in a process of the cluster.

    Args:
        settings: how to denoise; see `DenoiseSettings.loaded`.
        overwrite: write outputs that are there already.
        section_seconds: length of the sections of recordings that are at least twice as long;
            None cuts none.
        sections: address of the folder for sections.
    """

    settings: DenoiseSettings
    overwrite: bool
    section_seconds: int | None
    sections: str

    def __call__(self, device: str) -> "Worker":
        """Hold the model on "cpu" or "cuda"."""
        settings = self.settings
        if device != "cpu" and isinstance(settings.model, Model):
            settings = replace(settings, model=settings.model.on(device))
        return Worker(self, settings)


class Worker:
    """Does tasks; each ends with the results that go into the ledger."""

    def __init__(self, made: MakeWorker, settings: DenoiseSettings) -> None:
        self._made = made
        self._settings = settings
        self._host = socket.gethostname()
        remove_abandoned_workspaces()

    def __call__(self, task: Task) -> list[Result]:
        """Do a task.

        Raises:
            SordinoError: it failed; the message says why.
        """
        begin = perf_counter()
        try:
            with workspace():
                results = list(self._results(task))
        except SordinoError:
            raise
        except Exception as error:  # every storage has exceptions of its own
            raise SordinoError(storage.reason(error, task.work.source)) from error
        elapsed = perf_counter() - begin
        return [
            replace(each, host=self._host, elapsed=0.0 if each.member else elapsed)
            for each in results
        ]

    def _results(self, task: Task) -> Iterator[Result]:
        work, length = task.work, self._made.section_seconds or 0
        folder = storage.joined(self._made.sections, work.id)
        if task.section == JOIN:
            joined = JoinedSettings(
                **vars(self._settings), folder=folder, sections=task.sections, length=length
            )
            with storage.fetched(work.source) as source:
                result = self._file(work, source, joined)
            notes = result.notes
            if result.status == "done":
                notes = (*notes, joined.seams.note(task.sections))
            yield replace(result, section=JOIN, notes=notes)
        elif task.section != WHOLE:
            denoise_section(task.section, length, self._settings, folder)
            yield Result(work.id, task.section)
        elif work.kind == "file":
            with storage.fetched(work.source) as source:
                if length and self._is_long(source):
                    count, seconds = cut(source, self._settings, length, folder)
                    yield Result(work.id, status="cut", sections=count, seconds=seconds)
                else:
                    yield self._file(work, source, self._settings)
        else:
            yield from self._shard(work)

    def _is_long(self, source: Path) -> bool:
        try:
            return is_long(source, self._settings, self._made.section_seconds or 0)
        except Exception:  # denoising it says what is wrong
            return False

    def _file(self, work: Work, source: Path, settings: DenoiseSettings) -> Result:
        """Denoise a whole file by the pipeline that `sordino denoise` has on one machine."""
        with ExitStack() as stack:
            target = storage.local_path(work.target)
            is_local = target is not None
            if target is None:
                folder = TemporaryDirectory(prefix="clean-", ignore_cleanup_errors=True)
                name = storage.name_of(work.target)
                target = Path(stack.enter_context(folder)) / name
            job = Job(source, target, work.extension)
            report = denoise_job(job, settings, overwrite=self._made.overwrite)
            if report.status == "failed":
                error = report.error.replace(str(source), work.source)
                raise SordinoError(error.replace(str(target), work.target))
            if not is_local:
                with storage.explained(work.target):
                    storage.upload(target, work.target)
        return _result(work, report)

    def _shard(self, work: Work) -> Iterator[Result]:
        """Denoise the recordings in a shard or a table; those that fail hold up no others."""
        denoise = denoise_tar if work.kind == "tar" else denoise_table
        target = storage.local_path(work.target)
        if target is not None and target.exists() and not self._made.overwrite:
            yield Result(work.id, status="skipped")
            return
        members: list[Member] = []
        with storage.fetched(work.source) as source, storage.stored(work.target) as part:
            members += denoise(source, part, work.extension, self._member)
        failed = [each for each in members if each.report.status == "failed"]
        seconds = sum(each.report.seconds for each in members)
        yield Result(work.id, seconds=seconds)
        for each in failed:
            error = f"{work.source}, {each.name}: {each.report.error.partition(': ')[2]}"
            yield Result(work.id, member=each.name, status="failed", error=error)

    def _member(self, source: Path, target: Path, extension: str) -> FileReport:
        return denoise_job(Job(source, target, extension), self._settings)


def _result(work: Work, report: FileReport) -> Result:
    return Result(
        work.id,
        status=report.status,
        seconds=report.seconds,
        noise_taken_db=report.noise_taken_db,
        notes=report.notes,
    )


@contextmanager
def workspace() -> Generator[Path]:
    """Have all temporary files in a folder of its own, locked for as long as this process lives."""
    parent = tempfile.gettempdir()
    folder = Path(mkdtemp(prefix=_WORKSPACE, dir=parent))
    with (folder / "lock").open("wb") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = parent
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned_workspaces() -> None:
    """Remove the temporary files of workers that were killed; those of living ones stay."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_WORKSPACE}*/lock"):
        with suppress(OSError), lock.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
