"""The process that decodes, denoises and encodes one upload: `python -P -m sordino.serve.worker`.

It also makes voice profiles of recordings.

Media files come from strangers and decoders have bugs, so the server's own process never parses
one.  The worker has limits on its processor time, memory and files, knows no token, imports
nothing from the working folder (-P), and has a lower priority than live streams.  It reads the
recording from standard input and writes the clean one to standard output; an error is one line of
JSON on standard error.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from av.error import FFmpegError

from sordino.arrays import Interleaved
from sordino.batch.plan import Job
from sordino.batch.process import denoise_files
from sordino.batch.track import DenoiseSettings, TrackDenoiser
from sordino.errors import SordinoError
from sordino.io.audiofile import AudioSink, explain, open_sink, open_source
from sordino.io.formats import RawFormat, SoundInfo
from sordino.model import MODELS_VARIABLE, user_models
from sordino.voice import Voice, voices_from_texts

try:
    import resource
except ImportError:  # Windows: the server's own clock is the only limit there
    resource = None

NAME = "recording"
VARIABLE = "SORDINO_TASK"
ENROL = "enrol"  # in the place of a format: the answer is a voice profile
MAX_CHANNELS = 32
STREAMED = ("wav", "flac", "ogg", "opus", "mp3", "aac", "mka")
"""Formats that are written as the audio comes; others are written whole."""

_NICENESS = 5
_FILES = 64
_HEAD = 12
_STREAMED_HEADS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3")
_UNREADABLE, _TOO_LARGE = "unreadable_media", "too_large"


@dataclass(frozen=True)
class UploadTask:
    """One recording to denoise, and the limits on it.

    Args:
        extension: of the format to write.
        model: name of a packaged one.
        strength: share of the noise to take.
        attenuation_limit_db: see `sordino.denoiser.Denoiser`.
        warm_up: seconds, see `sordino.batch.track.DenoiseSettings`.
        voices: profiles of the voices to keep, as texts; () keeps everybody.
        others_db, voice_fallback: see `sordino.denoiser.Denoiser`.
        raw: encoding, rate in Hz and channels of headerless samples; None if there is a header.
        max_sound_seconds: of audio.
        max_output_bytes: of any file it writes.
        memory_bytes: of address space.
        cpu_seconds: of processor time.
    """

    extension: str
    model: str
    strength: float
    attenuation_limit_db: float | None
    warm_up: float
    raw: tuple[str, int, int] | None
    max_sound_seconds: float
    max_output_bytes: int
    memory_bytes: int
    cpu_seconds: int
    voices: tuple[str, ...] = ()
    others_db: float | None = None
    voice_fallback: float | None = None

    def to_json(self) -> str:
        """Return it for the worker's environment.

        Not for its arguments: every user of the machine can read those, and voices are private.
        """
        return json.dumps(asdict(self))

    def environment(self) -> dict[str, str]:
        """Return what its process may know: this task, and where programs and models are.

        No secret of the server's is in it.
        """
        kept = ("PATH", "SYSTEMROOT", "TEMP", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")
        known = {name: os.environ[name] for name in kept if name in os.environ}
        models = str(user_models().absolute())  # it has no home folder to look for them in
        return known | {MODELS_VARIABLE: models, VARIABLE: self.to_json()}

    @classmethod
    def from_json(cls, text: str) -> "UploadTask":
        """Read what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        raw, voices = values.pop("raw"), tuple(values.pop("voices"))
        raw = None if raw is None else (raw[0], raw[1], raw[2])
        return cls(**values, raw=raw, voices=voices)


class TooLongError(SordinoError):
    """There is more audio than is allowed."""


class _Peeked:
    """A stream whose first bytes can be read twice."""

    name = NAME

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.head = b""
        while len(self.head) < _HEAD and (more := file.read(_HEAD - len(self.head))):
            self.head += more
        self._rest = self.head

    def seekable(self) -> bool:
        return False

    def read(self, size: int, /) -> bytes:
        if self._rest:
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        return self._file.read(size)


def main() -> None:
    """Run the task in the environment."""
    task = UploadTask.from_json(os.environ.pop(VARIABLE))
    _limit(task)
    try:
        with open(0, "rb", buffering=0) as source, open(1, "wb", closefd=False) as target:
            if task.extension == ENROL:
                _enrol(task, source, target)
            else:
                _denoise(task, source, target)
    except BrokenPipeError:
        sys.exit(1)  # the server no longer wants it
    except Exception as error:
        print(json.dumps(_describe(error)), file=sys.stderr)
        sys.exit(2)


def _limit(task: UploadTask) -> None:
    with suppress(AttributeError, OSError):
        os.nice(_NICENESS)
    if resource is None:
        return
    limits = {
        resource.RLIMIT_AS: task.memory_bytes,
        resource.RLIMIT_CPU: task.cpu_seconds,
        resource.RLIMIT_FSIZE: task.max_output_bytes,
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        with suppress(ValueError, OSError):  # macOS does not have all of them
            resource.setrlimit(limit, (value, value))


def _enrol(task: UploadTask, source: BinaryIO, target: BinaryIO) -> None:
    """Answer with the profile of the voice in a recording, of which nothing is kept."""
    with TemporaryDirectory(prefix="sordino-") as folder:
        recording = Path(folder, NAME)
        with recording.open("wb") as file:
            shutil.copyfileobj(source, file)
        with open_source(recording) as sound:
            _check(task, sound.info)
        try:
            voice = Voice.enroll(recording)
        except SordinoError as error:
            raise SordinoError(str(error).replace(f"{folder}{os.sep}", "the ")) from error
    answer = {"voice": voice.to_text(), "encoder": voice.encoder, "seconds": round(voice.seconds)}
    target.write(json.dumps(answer).encode())


def _denoise(task: UploadTask, source: BinaryIO, target: BinaryIO) -> None:
    peeked = _Peeked(source)
    if not peeked.head:
        raise SordinoError("the body is empty: send the file itself")
    can_stream = peeked.head.startswith(_STREAMED_HEADS) or _is_mpeg_audio(peeked.head)
    if task.extension in STREAMED and (task.raw is not None or can_stream):
        _stream(task, peeked, target)
    else:
        _spool(task, peeked, target)


def _stream(task: UploadTask, source: _Peeked, target: BinaryIO) -> None:
    raw = None if task.raw is None else RawFormat(*task.raw)
    with open_source(source, raw) as sound:
        _check(task, sound.info)
        track = TrackDenoiser(
            sound.info, _settings(task), report=lambda done: _check_length(task, done)
        )
        with ExitStack() as stack:
            sink: AudioSink | None = (
                None  # not before there is audio, so that garbage gets no answer
            )
            for clean in _clean(track, sound.blocks()):
                if sink is None and len(clean):
                    sink = stack.enter_context(
                        closing(open_sink(target, task.extension, sound.info))
                    )
                if sink is not None:
                    sink.write(clean)
    if not track.seconds:
        raise SordinoError("there is no sound in it, not a single sample: record it again")


def _clean(track: TrackDenoiser, blocks: Iterator[Interleaved]) -> Iterator[Interleaved]:
    for block in blocks:
        yield track.feed(block)
    yield track.flush()


def _spool(task: UploadTask, source: _Peeked, target: BinaryIO) -> None:
    raw = None if task.raw is None else RawFormat(*task.raw)
    with TemporaryDirectory(prefix="sordino-") as folder:
        noisy, clean = Path(folder, NAME), Path(folder, f"clean.{task.extension}")
        with noisy.open("wb") as file:
            while data := source.read(1 << 16):
                file.write(data)
        with open_source(noisy, raw) as sound:
            _check(task, sound.info)
        job = Job(noisy, clean, task.extension, raw=raw)
        report = denoise_files(
            [job], _settings(task), on_progress=lambda _, done, __: _check_length(task, done)
        )[0]
        if report.status == "failed":
            message = report.error.removeprefix(f"{noisy}: ")
            too_long = message == str(_too_long(task))
            raise (TooLongError if too_long else SordinoError)(message.replace(f"{folder}/", ""))
        with clean.open("rb") as file:
            shutil.copyfileobj(file, target)


def _settings(task: UploadTask) -> DenoiseSettings:
    return DenoiseSettings(
        task.model,
        task.strength,
        task.attenuation_limit_db,
        task.warm_up,
        voice=voices_from_texts(task.voices),
        others_db=task.others_db,
        voice_fallback=task.voice_fallback,
    )


def _check(task: UploadTask, info: SoundInfo) -> None:
    if info.channels > MAX_CHANNELS:
        raise SordinoError(f"it has {info.channels} channels: at most {MAX_CHANNELS} are possible")
    _check_length(task, info.seconds or 0.0)  # what the header says; the audio is counted too


def _check_length(task: UploadTask, seconds: float) -> None:
    if seconds > task.max_sound_seconds:
        raise _too_long(task)


def _too_long(task: UploadTask) -> TooLongError:
    return TooLongError(f"there is more sound in it than {task.max_sound_seconds:g} s: cut it")


def _is_mpeg_audio(head: bytes) -> bool:
    return head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _describe(error: Exception) -> Mapping[str, str]:
    if isinstance(error, MemoryError):
        return {"code": _TOO_LARGE, "message": "it takes more memory than is allowed"}
    code = _TOO_LARGE if isinstance(error, TooLongError) else _UNREADABLE
    if isinstance(error, FFmpegError | SordinoError | OSError):
        message = explain(error, NAME, "the answer").removeprefix(f"{NAME}: ")
    else:
        message = f"it cannot be decoded ({type(error).__name__})"
    return {"code": code, "message": message}


if __name__ == "__main__":
    main()
