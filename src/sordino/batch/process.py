"""Whole files through the engine: one, or many side by side.

Sound streams through in blocks, so memory stays the same for any length.  A file appears under
its name only when it is complete: what is killed half-way leaves a temporary file behind, which
the next start clears away, and a batch that is started again does only what is missing.

>>> from tempfile import mkdtemp
>>> from sordino import examples
>>> report = denoise_file(examples.path("phone_8k"), Path(mkdtemp()) / "clean.wav")
>>> report.status, round(report.seconds)
('done', 6)
"""

import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from time import perf_counter
from typing import BinaryIO, Literal

from sordino.batch.cleaning import Cleaning, Settings
from sordino.batch.plan import PIPE, Job, plan
from sordino.denoiser import warm_up_samples
from sordino.errors import SordinoError
from sordino.io.atomic import explain, sweep, written_whole
from sordino.io.audiofile import Sink, Source, open_sink, open_source
from sordino.io.ffmpeg import ContainerSource
from sordino.io.formats import CONTAINERS, VIDEOS
from sordino.io.pipe import StandardInput
from sordino.io.remux import remux
from sordino.io.sound import SoundInfo
from sordino.model import Model, load_model
from sordino.spectrogram import check_plotting

Progress = Callable[[Job, float, float | None], None]
"""Called with a job, the seconds of sound that are done, and how many there are if known."""


@dataclass(frozen=True)
class FileReport:
    """What became of a job.

    Args:
        job: what was to be done.
        status: "skipped" means that the target was there already.
        seconds: of sound.
        elapsed: seconds that it took.
        noise_taken_db: by how much the pauses are quieter; None if there was no sound.
        notes: what the user should know, such as damage in the input.
        error: one line, if the status is "failed".
    """

    job: Job
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    elapsed: float = 0.0
    noise_taken_db: float | None = None
    notes: tuple[str, ...] = ()
    error: str = ""


def denoise_file(
    source: str | Path,
    target: str | Path | None = None,
    settings: Settings | None = None,
    *,
    noise_out: str | Path | None = None,
    plot: str | Path | None = None,
    overwrite: bool = False,
) -> FileReport:
    """Denoise one file.

    Args:
        source: audio or video file.
        target: file or folder to write; None writes NAME.clean.EXT beside the source.
        settings: model and strength.
        noise_out: file or folder for what was taken away.
        plot: PNG file or folder for a picture.
        overwrite: write the target even if it is there already.

    Raises:
        SordinoError: it failed; the message says why.
    """
    jobs = plan([source], target, noise_out=noise_out, plot=plot)
    report = denoise_files(jobs, settings, overwrite=overwrite)[0]
    if report.status == "failed":
        raise SordinoError(report.error)
    return report


def denoise_files(
    jobs: Sequence[Job],
    settings: Settings | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    on_progress: Progress | None = None,
    on_report: Callable[[FileReport], None] | None = None,
) -> list[FileReport]:
    """Denoise many files; one that fails does not hold up the others.

    Args:
        jobs: see `plan`.
        settings: model and strength.
        workers: files at a time, one thread of inference each.
        overwrite: also do the jobs whose target is there already.
        on_progress: called from the workers, about once a second of sound.
        on_report: called when a job ends.

    Returns:
        Reports in the order of the jobs.

    Raises:
        SordinoError: the settings cannot be used, or a picture is asked for without matplotlib.
        KeyboardInterrupt: after what was half done has been cleared away.
    """
    chosen = settings or Settings()
    model = chosen.model if isinstance(chosen.model, Model) else load_model(chosen.model)
    chosen = replace(chosen, model=model)
    chosen.denoiser(48000, 1)  # checks the values
    warm_up_samples(chosen.listen, 48000)
    if any(job.picture for job in jobs):
        check_plotting()
    sweep(path.parent for job in jobs for path in job.outputs)
    stop = Event()
    ended: SimpleQueue[Future[FileReport]] = SimpleQueue()
    reports: dict[Job, FileReport] = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for job in jobs:
                task = _Task(job, chosen, overwrite, on_progress, stop)
                pool.submit(task.run).add_done_callback(ended.put)
            for _ in jobs:
                report = _first(ended).result()
                reports[report.job] = report
                if on_report:
                    on_report(report)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [reports[job] for job in jobs]


class _Stopped(Exception):  # noqa: N818
    """The user wants to end."""


class _Task:
    """One job while it is being done."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        overwrite: bool,
        on_progress: Progress | None,
        stop: Event,
    ) -> None:
        self._job = job
        # Who reads from a pipe may be waiting for what comes out.
        self._settings = replace(settings, listen=0.0) if job.source == PIPE else settings
        self._overwrite = overwrite
        self._on_progress = on_progress
        self._stop = stop
        self._stack = ExitStack()
        self._tracks: list[Cleaning] = []
        self._notes: list[str] = []

    def run(self) -> FileReport:
        job = self._job
        if not self._overwrite and job.target != PIPE and job.target.exists():
            return FileReport(job, "skipped")
        begin = perf_counter()
        try:
            with self._stack:
                self._denoise()
        except Exception as error:  # whatever it is, the other files go on
            message = explain(error, job.source_name, job.target_name)
            return FileReport(job, "failed", elapsed=perf_counter() - begin, error=message)
        first = self._tracks[0]
        return FileReport(
            job,
            "done",
            seconds=first.seconds,
            elapsed=perf_counter() - begin,
            noise_taken_db=first.meter.taken_db,
            notes=tuple(self._notes),
        )

    def _denoise(self) -> None:
        job = self._job
        given = StandardInput(self._stop) if job.source == PIPE else job.source
        target: Path | BinaryIO
        if job.target == PIPE:
            target = sys.stdout.buffer
        else:
            target = self._stack.enter_context(written_whole(job.target))
        with open_source(given, job.raw) as source:
            container, encoder = (CONTAINERS | VIDEOS).get(job.extension, ("", ""))
            keeps_pictures = job.extension in VIDEOS
            if (
                isinstance(source, ContainerSource)
                and isinstance(given, Path)
                and isinstance(target, Path)
                and container
                and (keeps_pictures or not source.has_pictures)
            ):
                self._notes += remux(given, target, container, encoder, self._track)
            else:
                self._convert(source, target)
        if not self._tracks[0].seconds:
            raise SordinoError("there is no sound in it, not a single sample: record it again")
        if job.picture is not None:
            with written_whole(job.picture) as part:
                self._tracks[0].draw(part, job.source.name)

    def _convert(self, source: Source, target: Path | BinaryIO) -> None:
        job = self._job
        raw = job.raw if job.raw_target else None
        sink = self._stack.enter_context(
            _closing(open_sink(target, job.extension, source.info, raw))
        )
        track = self._track(source.info)
        for block in source.blocks():
            sink.write(track.feed(block))
        sink.write(track.flush())
        self._notes += [*source.notes, *sink.notes]

    def _track(self, info: SoundInfo) -> Cleaning:
        """Begin an audio track; called once for each that a file has."""
        job = self._job
        is_first = not self._tracks
        noise = job.noise
        if noise is not None and not is_first:
            noise = noise.with_stem(f"{noise.stem}.{len(self._tracks) + 1}")
        sink = None
        if noise is not None:
            part = self._stack.enter_context(written_whole(noise))
            extension = noise.suffix.removeprefix(".")
            sink = self._stack.enter_context(_closing(open_sink(part, extension, info)))
        has_picture = is_first and job.picture is not None

        def report(seconds: float) -> None:
            if self._stop.is_set():
                raise _Stopped
            if is_first and self._on_progress:
                self._on_progress(job, seconds, info.seconds)

        self._tracks.append(Cleaning(info, self._settings, sink, has_picture, report))
        return self._tracks[-1]


def _first(queue: "SimpleQueue[Future[FileReport]]") -> Future[FileReport]:
    while True:  # with a timeout, which lets Ctrl-C through on every system
        with suppress(Empty):
            return queue.get(timeout=1)


@contextmanager
def _closing(sink: Sink) -> Generator[Sink]:
    """Close a sink; if something went wrong before, that is what is reported."""
    try:
        yield sink
    except BaseException:
        with suppress(Exception):
            sink.close()
        raise
    sink.close()
