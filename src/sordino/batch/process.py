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

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO, TextIOBase
from os import PathLike
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from time import perf_counter
from typing import Any, BinaryIO, Literal, cast

from sordino.batch.plan import (
    PIPE,
    Job,
    Origin,
    extension_of,
    plan,
    read_origin,
    same_source,
    write_origin,
)
from sordino.batch.track import DenoiseSettings, TrackDenoiser
from sordino.deprecated import renamed_names
from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write, is_special, remove_stale_parts
from sordino.io.audiofile import AudioSink, AudioSource, PipeInput, explain, open_sink, open_source
from sordino.io.decoder import ContainerSource
from sordino.io.formats import CONTAINERS, EXTENSIONS, VIDEOS, Readable, SoundInfo
from sordino.io.loudness import LoudnessMeter
from sordino.io.remux import COVER_NOTES, remux
from sordino.io.tags import read_metadata
from sordino.spectrogram import check_plotting
from sordino.voice import VoiceChoice, load_voices

Progress = Callable[[Job, float, float | None], None]
"""Called with a job, the seconds of sound that are done, and how many there are if known."""
__getattr__ = renamed_names(__name__, {"Settings": "DenoiseSettings"})


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
    source: str | PathLike[str] | bytes | bytearray | memoryview | Readable,
    target: str | PathLike[str] | BinaryIO | None = None,
    settings: DenoiseSettings | None = None,
    *,
    extension: str | None = None,
    noise_out: str | Path | None = None,
    plot: str | Path | None = None,
    overwrite: bool = False,
) -> FileReport:
    """Denoise one file.

    Args:
        source: audio or video file: its path, its bytes, or an open binary file, which need
            not be seekable.
        target: file or folder to write, or an open binary file; None writes NAME.clean.EXT
            beside a source that is a path.
        settings: model and strength.
        extension: format to write, such as "flac"; None keeps that of the source, and writes
            wav into an open file.
        noise_out: file or folder for the noise that was removed.
        plot: PNG file or folder for a picture.
        overwrite: write the target even if it is there already.

    Raises:
        SordinoError: it failed; the message says why.

    >>> from io import BytesIO
    >>> from sordino import examples
    >>> clean = BytesIO()
    >>> denoise_file(examples.path("phone_8k").read_bytes(), clean).status
    'done'
    """
    source = Path(source) if isinstance(source, PathLike) else source
    target = Path(target) if isinstance(target, PathLike) else target
    given, taker = _readable(source), _writable(target)
    if given is not None and target is None:
        raise SordinoError("sound in memory has no folder to write into: give a target")
    (job,) = plan(
        [PIPE if given is not None else cast(str | Path, source)],
        PIPE if taker is not None else cast(str | Path | None, target),
        noise_out=noise_out,
        plot=plot,
        extension=extension,
    )
    streams = {job: (given, taker)}
    report = denoise_files([job], settings, overwrite=overwrite, streams=streams)[0]
    if report.status == "failed":
        raise SordinoError(report.error)
    return report


def _readable(source: Any) -> Readable | None:
    """Return bytes and open files as what can be read; None of a path."""
    if isinstance(source, str | Path):
        return None
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesIO(cast(bytes, source))
    if _is_open(source, "read"):
        return source
    what = repr(source).splitlines()[0]
    raise SordinoError(
        f"the source is {what:.60}: expected a path, the bytes of a file, or a file opened with "
        "'rb'; sordino.denoise takes arrays"
    )


def _writable(target: Any) -> BinaryIO | None:
    """Return an open file; None of a path."""
    if target is None or isinstance(target, str | Path):
        return None
    if _is_open(target, "write"):
        return target
    what = repr(target).splitlines()[0]
    raise SordinoError(f"the target is {what:.60}: expected a path, or a file opened with 'wb'")


def _is_open(file: Any, method: str) -> bool:
    """Tell an open binary file from a text file, a closed one and what is no file."""
    is_binary = callable(getattr(file, method, None)) and not isinstance(file, TextIOBase)
    return is_binary and not getattr(file, "closed", False)


def denoise_files(
    jobs: Sequence[Job],
    settings: DenoiseSettings | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    on_progress: Progress | None = None,
    on_report: Callable[[FileReport], None] | None = None,
    streams: Mapping[Job, tuple[Readable | None, BinaryIO | None]] | None = None,
) -> list[FileReport]:
    """Denoise many files; one that fails does not hold up the others.

    Args:
        jobs: see `plan`.
        settings: model and strength.
        workers: files at a time, one thread of inference each.
        overwrite: also do the jobs whose target is there already.
        on_progress: called from the workers, about once a second of sound.
        on_report: called when a job ends.
        streams: open files in the place of `PIPE`, to read and to write.

    Returns:
        Reports in the order of the jobs.

    Raises:
        SordinoError: the settings cannot be used, or a picture is asked for without matplotlib.
        KeyboardInterrupt: after what was half done has been cleared away.
    """
    chosen = (settings or DenoiseSettings()).loaded()
    chosen.check()
    if any(job.picture for job in jobs):
        check_plotting()
    remove_stale_parts(path.parent for job in jobs for path in job.outputs)
    stop = Event()
    ended: SimpleQueue[Future[FileReport]] = SimpleQueue()
    reports: dict[Job, FileReport] = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for job in jobs:
                ends = (streams or {}).get(job, (None, None))
                task = _Task(job, chosen, overwrite, on_progress, stop, ends)
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


def denoise_job(job: Job, settings: DenoiseSettings, *, overwrite: bool = False) -> FileReport:
    """Denoise one file in this thread, as `denoise_files` does; its caller clears the folders.

    Args:
        job: see `plan`.
        settings: see `DenoiseSettings.loaded`.
        overwrite: do it even if the target is there already.
    """
    return _Task(job, settings, overwrite, None, Event(), (None, None)).run()


def check_done(job: Job, settings: DenoiseSettings) -> tuple[str, ...]:
    """Check that an output that is there may count as done.

    Args:
        job: of which the target exists.
        settings: that it would be made with.

    Returns:
        What the user should know, such as that it was made with other options.

    Raises:
        SordinoError: it was made from another recording, or may have been.
    """
    if job.source == PIPE or is_special(job.source):
        raise SordinoError(
            f"{job.target} is there already, and what comes through a pipe or from memory may "
            "be another recording: give another name with -o, or --overwrite"
        )
    made, now = read_origin(job.target), _origin(job, settings)
    if made is not None and not same_source(made, now):
        raise SordinoError(
            f"{job.target} was made from another recording: give another name or folder "
            "with -o, or --overwrite"
        )
    if made is not None and made.options != now.options:
        return (f"{job.target} was made with {made.options}: --overwrite does it again",)
    with suppress(FileNotFoundError):
        if job.source.stat().st_mtime > job.target.stat().st_mtime:
            return (f"it has changed since {job.target} was made: --overwrite does it again",)
    return ()


def _origin(job: Job, settings: DenoiseSettings) -> Origin:
    values = {
        "model": settings.denoiser(48000, 1).model.info.name,
        "strength": settings.strength,
        "attenuation limit": settings.attenuation_limit_db,
        "warm-up": settings.warm_up,
        "loudness": settings.loudness,
        "from": settings.begin or None,
        "to": settings.end,
        "channel": settings.channel,
        "track": settings.track,
        "voice": VoiceChoice(load_voices(settings.voice)).names or None,
        "others": settings.others_db,
    }
    options = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    return Origin(os.path.abspath(job.source), options)


class _Stopped(Exception):  # noqa: N818
    """The user wants to end."""


class _Task:
    """One job while it is being done."""

    def __init__(
        self,
        job: Job,
        settings: DenoiseSettings,
        overwrite: bool,
        on_progress: Progress | None,
        stop: Event,
        streams: tuple[Readable | None, BinaryIO | None],
    ) -> None:
        self._job = job
        self._given, self._taker = streams
        is_live = job.source == PIPE and self._given is None
        # Who reads from a pipe may be waiting for what comes out.
        self._settings = replace(settings, warm_up=0.0) if is_live else settings
        self._overwrite = overwrite
        self._on_progress = on_progress
        self._stop = stop
        self._stack = ExitStack()
        self._tracks: list[TrackDenoiser] = []
        self._gains: list[float] = []
        self._passes_done, self._passes = 0, 1 if settings.loudness is None else 2
        self._notes: list[str] = []

    def run(self) -> FileReport:
        job = self._job
        begin = perf_counter()
        try:
            if not self._overwrite and job.target_exists:
                return FileReport(job, "skipped", notes=check_done(job, self._settings))
            with self._stack:
                self._denoise()
        except Exception as error:  # whatever it is, the other files go on
            source = job.source_name if self._given is None else "sound in memory"
            target = job.target_name if self._taker is None else "the open file"
            message = explain(error, source, target)
            return FileReport(job, "failed", elapsed=perf_counter() - begin, error=message)
        first = self._tracks[0]
        self._notes += first.notes
        return FileReport(
            job,
            "done",
            seconds=first.seconds,
            elapsed=perf_counter() - begin,
            noise_taken_db=first.meter.taken_db,
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _denoise(self) -> None:
        job, given = self._job, self._given
        if job.source == PIPE and given is None:
            given = PipeInput(sys.stdin.fileno(), self._stop)
        with suppress(FileNotFoundError):
            job.target.stat()  # a name that is too long fails now and not at the end
        if self._settings.loudness is not None:
            self._measure_loudness(self._settings.loudness)
        sources = job.source if given is None else given
        with open_source(sources, job.raw, self._settings.track, self._stop) as source:
            target: Path | BinaryIO
            if job.target == PIPE:
                target = self._taker or sys.stdout.buffer
            elif is_special(job.target):
                target = self._stack.enter_context(job.target.open("wb"))
            else:
                target = self._stack.enter_context(atomic_write(job.target))
            self._write(source, target)
        if not self._tracks[0].seconds and self._settings.begin:
            raise SordinoError(f"it ends before {self._settings.begin:g} s: begin earlier")
        if not self._tracks[0].seconds:
            raise SordinoError("there is no sound in it, not a single sample: record it again")
        if job.picture is not None:
            with atomic_write(job.picture) as part:
                self._tracks[0].draw(part, job.source.name)

    def _write(self, source: AudioSource, target: Path | BinaryIO) -> None:
        job, settings = self._job, self._settings
        container, encoder = (CONTAINERS | VIDEOS).get(job.extension, ("", ""))
        is_video = isinstance(source, ContainerSource) and source.has_pictures
        keeps_pictures = job.extension in VIDEOS and not settings.takes_part
        is_file = isinstance(target, Path) and job.source != PIPE and not is_special(job.source)
        is_copied = container and not settings.takes_part and (keeps_pictures or not is_video)
        is_remuxed = isinstance(source, ContainerSource) and is_file and is_copied
        # Into a video, FFmpeg copies the tags.
        is_read = is_file and not job.raw and not (is_remuxed and job.extension in VIDEOS)
        metadata = read_metadata(job.source) if is_read else None
        if is_remuxed and isinstance(source, ContainerSource) and isinstance(target, Path):
            self._notes += remux(source, target, container, encoder, self._track, settings.track)
        else:
            self._convert(source, target, metadata.names if metadata else {})
            was_chosen = extension_of(job.source) in EXTENSIONS and job.extension not in VIDEOS
            if is_video and not was_chosen:
                self._notes.append("its pictures are left out: --format mkv keeps them")
        if isinstance(target, Path) and metadata:
            if metadata.has_cover:  # it is kept now, or among what `complete` names
                self._notes = [each for each in self._notes if each not in COVER_NOTES]
            self._notes += metadata.complete(target, job.extension)
        if isinstance(target, Path):
            write_origin(target, _origin(job, settings))

    def _convert(self, source: AudioSource, target: Path | BinaryIO, tags: dict[str, str]) -> None:
        job, settings = self._job, self._settings
        raw = job.raw if job.raw_target else None
        info = settings.part_of(source.info)
        info = replace(info, tags=tags | info.tags)
        with _closing(open_sink(target, job.extension, info, raw)) as sink:
            track = self._track(info)
            for block in settings.parts(source.blocks(), info.sample_rate):
                sink.write(track.feed(block))
            sink.write(track.flush())
        self._notes += [*source.notes, *sink.notes]

    def _measure_loudness(self, loudness: float) -> None:
        """Denoise each track once only to find its gain."""
        job, settings = self._job, self._settings
        if job.source == PIPE or is_special(job.source):
            raise SordinoError("--loudness needs to read the sound twice: give a file, not a pipe")
        is_all = job.extension in VIDEOS and settings.track is None and not settings.takes_part
        number, count = settings.track or 1, settings.track or 1
        while number <= count:
            with open_source(job.source, job.raw, number, self._stop) as source:
                if is_all and isinstance(source, ContainerSource):
                    count = len(source.container.streams.audio)
                info = settings.part_of(source.info)
                meter = LoudnessMeter(info)
                track = TrackDenoiser(info, settings, report=self._reporter(info, number == 1))
                for block in settings.parts(source.blocks(), info.sample_rate):
                    meter.feed(track.feed(block))
                meter.feed(track.flush())
            gain, notes = meter.gain_to(loudness)
            self._gains.append(gain)
            self._notes += notes
            number += 1
        self._passes_done = 1

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
            extension = extension_of(noise) or "wav"
            sink = self._stack.enter_context(_closing(open_sink(part, extension, info)))
        gain = self._gains[len(self._tracks)] if self._gains else 1.0
        has_picture = is_first and job.picture is not None
        report = self._reporter(info, is_first)
        self._tracks.append(TrackDenoiser(info, self._settings, sink, gain, has_picture, report))
        return self._tracks[-1]

    def _reporter(self, info: SoundInfo, is_first: bool) -> Callable[[float], None]:
        done, passes = self._passes_done, self._passes

        def report(seconds: float) -> None:
            if self._stop.is_set():
                raise _Stopped
            if is_first and self._on_progress:
                total = info.seconds
                before = done * (total or 0.0)
                self._on_progress(self._job, (before + seconds) / passes, total)

        return report


def _first(queue: "SimpleQueue[Future[FileReport]]") -> Future[FileReport]:
    while True:  # with a timeout, which lets Ctrl-C through on every system
        with suppress(Empty):
            return queue.get(timeout=1)


@contextmanager
def _closing(sink: AudioSink) -> Generator[AudioSink]:
    """Close a sink; if something went wrong before, that is what is reported."""
    try:
        yield sink
    except BaseException:
        with suppress(Exception):
            sink.close()
        raise
    sink.close()
