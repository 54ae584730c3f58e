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

import numpy as np

from sordino.batch.plan import PIPE, Job, plan
from sordino.denoiser import Denoiser, warm_up_samples
from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write, remove_stale_parts
from sordino.io.audiofile import Sink, Source, StandardInput, explain, open_sink, open_source
from sordino.io.ffmpeg import ContainerSource
from sordino.io.formats import CONTAINERS, VIDEOS, Interleaved, SoundInfo
from sordino.io.remux import remux
from sordino.levels import NoiseMeter
from sordino.model import Model, load_model
from sordino.spectrogram import Spectrogram, check_plotting, draw

Progress = Callable[[Job, float, float | None], None]
"""Called with a job, the seconds of sound that are done, and how many there are if known."""

LISTENED = 5.0  # seconds; scores rise with up to three
PANELS = ("Noisy", "Noise taken", "Speech left")


@dataclass(frozen=True)
class Settings:
    """How to denoise a recording.

    Args:
        model, strength, attenuation_limit_db: see `sordino.denoiser.Denoiser`.
        listen: seconds of a track that are heard first, so that its first words come out as
            clean as later ones; 0 is as in live use.
    """

    model: str | Path | Model = "default"
    strength: float = 1.0
    attenuation_limit_db: float | None = None
    listen: float = LISTENED

    def denoiser(self, sample_rate: int, channels: int) -> Denoiser:
        """Make a denoiser for a track, with the rate in Hz."""
        limit = self.attenuation_limit_db
        return Denoiser(self.model, sample_rate, channels, self.strength, limit)


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


class TrackDenoiser:
    """Denoises a track and watches what happens to it.

    Args:
        info: of the track.
        settings: model and strength.
        noise: where what is taken goes, or None.
        has_picture: whether `draw` will be called.
        report: called after each block with the seconds that are done; it may raise to stop.
    """

    def __init__(
        self,
        info: SoundInfo,
        settings: Settings,
        noise: Sink | None = None,
        has_picture: bool = False,
        report: Callable[[float], None] | None = None,
    ) -> None:
        self.sample_rate = info.sample_rate
        self.meter = NoiseMeter(info.sample_rate)
        self._denoiser = settings.denoiser(info.sample_rate, info.channels)
        self._noise = noise
        panels = PANELS if has_picture else ()
        self._spectrograms = {name: Spectrogram(info.sample_rate) for name in panels}
        self._report = report
        self._waiting = np.zeros((0, info.channels), np.float32)  # noisy, clean not yet there
        self._to_hear = warm_up_samples(settings.listen, info.sample_rate)
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Length of the sound so far."""
        return self._samples / self.sample_rate

    def feed(self, block: Interleaved) -> Interleaved:
        """Denoise a block, shape = (samples, channels); some samples come out later.

        Raises:
            SordinoError: a sample is NaN or Inf.
        """
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            seconds = (self._samples + int(finite.argmin())) / self.sample_rate
            raise SordinoError(
                f"the sample at {seconds:.3f} s is not a number (NaN or Inf): export the sound "
                "again, for instance as 24 bit"
            )
        self._samples += len(block)
        self._waiting = np.concatenate([self._waiting, block])
        if self._samples < self._to_hear:
            return self._watched(block[:0])
        return self._watched(self._denoiser.feed(self._listened(block)))

    def flush(self) -> Interleaved:
        """Return the samples that are still inside."""
        held = self._denoiser.feed(self._listened(self._waiting[:0]))
        return self._watched(np.concatenate([held, self._denoiser.flush()]))

    def draw(self, path: Path, title: str) -> None:
        """Draw what was noisy, what was taken and what is left into a PNG file."""
        facts = [f"{self.sample_rate / 1000:g} kHz", f"model {self._denoiser.model.info.name}"]
        if self.meter.taken_db is not None:
            facts.append(f"pauses {self.meter.taken_db:.0f} dB quieter")
        draw(path, self._spectrograms, title, " · ".join(facts))

    def _listened(self, block: Interleaved) -> Interleaved:
        """What to feed after a block: all that was held to be heard first, else the block."""
        if not self._to_hear:
            return block
        self._denoiser.warm_up(self._waiting[: self._to_hear])
        self._to_hear = 0
        return self._waiting

    def _watched(self, clean: Interleaved) -> Interleaved:
        clean = clean.reshape(-1, self._denoiser.channels)
        noisy, self._waiting = self._waiting[: len(clean)], self._waiting[len(clean) :]
        if len(clean):
            self.meter.feed(noisy, clean)
            taken = noisy - clean
            if self._spectrograms:
                for name, sound in zip(PANELS, (noisy, taken, clean), strict=True):
                    self._spectrograms[name].feed(sound)
            if self._noise is not None:
                self._noise.write(taken)
        if self._report is not None:
            self._report(self.seconds)
        return clean


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
    remove_stale_parts(path.parent for job in jobs for path in job.outputs)
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


def draw_file(source: Path, picture: Path, settings: Settings | None) -> None:
    """Draw spectrograms of a file.

    Args:
        source: audio or video file.
        picture: PNG file to write.
        settings: how to denoise it, for a picture of what is noisy, noise taken and speech
            left; None draws the sound as it is.

    Raises:
        SordinoError: it failed; the message says why.
    """
    check_plotting()
    try:
        with atomic_write(picture) as part, open_source(source) as sound:
            if settings is None:
                spectrogram = Spectrogram(sound.info.sample_rate)
                for block in sound.blocks():
                    spectrogram.feed(block)
                about = f"{sound.info.sample_rate / 1000:g} kHz"
                draw(part, {"Sound": spectrogram}, source.name, about)
            else:
                track = TrackDenoiser(sound.info, settings, has_picture=True)
                for block in sound.blocks():
                    track.feed(block)
                track.flush()
                track.draw(part, source.name)
    except Exception as error:
        raise SordinoError(explain(error, source, picture)) from error


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
        self._tracks: list[TrackDenoiser] = []
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
            target = self._stack.enter_context(atomic_write(job.target))
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
            with atomic_write(job.picture) as part:
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

    def _track(self, info: SoundInfo) -> TrackDenoiser:
        """Begin an audio track; called once for each that a file has."""
        job = self._job
        is_first = not self._tracks
        noise = job.noise
        if noise is not None and not is_first:
            noise = noise.with_stem(f"{noise.stem}.{len(self._tracks) + 1}")
        sink = None
        if noise is not None:
            part = self._stack.enter_context(atomic_write(noise))
            extension = noise.suffix.removeprefix(".")
            sink = self._stack.enter_context(_closing(open_sink(part, extension, info)))
        has_picture = is_first and job.picture is not None

        def report(seconds: float) -> None:
            if self._stop.is_set():
                raise _Stopped
            if is_first and self._on_progress:
                self._on_progress(job, seconds, info.seconds)

        self._tracks.append(TrackDenoiser(info, self._settings, sink, has_picture, report))
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
