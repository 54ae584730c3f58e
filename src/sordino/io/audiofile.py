"""Files of sound <-> blocks of float32.

soundfile reads and writes what it can with one or two channels (wav, flac, aiff, au, caf, w64,
ogg), PyAV the rest (surround, mp3, m4a, opus, the sound of videos, pipes).

>>> from tempfile import mkdtemp
>>> path = Path(mkdtemp()) / "tone.wav"
>>> sink = open_sink(path, "wav", SoundInfo(sample_rate=16000, channels=1, subtype="PCM_16"))
>>> sink.write(np.zeros((16000, 1), np.float32))
>>> sink.close()
>>> with open_source(path) as source:
...     source.info.seconds, [block.shape for block in source.blocks()]
(1.0, [(16000, 1)])
"""

import errno
import os
import select
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, Protocol, Self, cast

import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
from av.error import DecoderNotFoundError, FFmpegError, InvalidDataError

from sordino.arrays import Interleaved
from sordino.deprecated import renamed_names
from sordino.errors import SordinoError, with_whole_addresses
from sordino.io.atomic import TEMPORARY, is_special
from sordino.io.decoder import ContainerSource
from sordino.io.encoder import ContainerSink
from sordino.io.formats import (
    CONTAINERS,
    EXTENSIONS,
    SOUNDFILE_FORMATS,
    VIDEOS,
    RawFormat,
    Readable,
    SoundInfo,
    one_second_blocks,
    outgrows_header,
    truncation_notes,
)
from sordino.io.joined import JoinedSource, recordings_in, size_notes

_PIPED = {"wav": ("wav", ""), "flac": ("flac", "flac"), "ogg": ("ogg", "libopus")} | {
    each: (CONTAINERS | VIDEOS)[each] for each in ("mp3", "opus", "aac", "mka", "mkv", "webm", "ts")
}
_SURROUND = {"wav": "wav", "w64": "w64", "caf": "caf", "flac": "flac"}
"""Extension -> FFmpeg's name of the format; libsndfile cannot say which loudspeaker is which."""
_PCM = {
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16le",
    "PCM_24": "pcm_s24le",
    "PCM_32": "pcm_s32le",
    "FLOAT": "pcm_f32le",
    "DOUBLE": "pcm_f64le",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
}
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_VORBIS_ORDER = {
    # Count of channels -> FFmpeg's layouts, and where each channel of Vorbis is in them.
    3: (("3.0",), (0, 2, 1)),
    4: (("quad", "quad(side)"), (0, 1, 2, 3)),
    5: (("5.0", "5.0(side)"), (0, 2, 1, 3, 4)),
    6: (("5.1", "5.1(side)"), (0, 2, 1, 4, 5, 3)),
    7: (("6.1",), (0, 2, 1, 5, 6, 4, 3)),
    8: (("7.1",), (0, 2, 1, 6, 7, 4, 5, 3)),
}
_TAGS = {"title", "artist", "album", "comment", "date", "genre", "copyright", "license", "track"}
_TAG_NAMES = {"track": "tracknumber"}  # FFmpeg's name -> libsndfile's
_LARGEST_WAV = 4_000_000_000  # bytes; its sizes have 32 bits
_HEADER = 1024  # bytes; what is longer must have sound in it
_FRAMES = 2048  # samples of each channel, read or written at a time
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's answer for streams of unknown length
_POLL_SECONDS = 0.2  # how soon a read of a pipe can be ended
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)

_sf = cast(Any, soundfile)  # it has no types
__getattr__ = renamed_names(__name__, {"Source": "AudioSource", "Sink": "AudioSink"})


class AudioSource(Protocol):
    """Sound that comes in blocks."""

    info: SoundInfo
    notes: list[str]
    """What the user should know, such as damage; complete after the last block."""

    def blocks(self) -> Iterator[Interleaved]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class AudioSink(Protocol):
    """Where blocks of sound go."""

    notes: list[str]

    def write(self, samples: Interleaved) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


def open_source(
    file: Path | Readable,
    raw: RawFormat | None = None,
    track: int | None = None,
    stop: Event | None = None,
) -> AudioSource:
    """Open sound for reading, whatever its format; the content decides, not the name.

    Args:
        file: a path, also of a named pipe, or an open binary file, which need not be seekable.
        raw: how to read headerless samples; None reads the header.
        track: which audio track of a container, from 1; None is the first one.
        stop: ends the wait for a named pipe when it is set.

    Raises:
        SordinoError, OSError, av.error.FFmpegError: it is not sound, or cannot be read.
    """
    if isinstance(file, Path) and not is_special(file):
        return _open_file(file, raw, track)
    return _StreamSource(PipeInput(file, stop) if isinstance(file, Path) else file, raw, track)


def _open_file(path: Path, raw: RawFormat | None, track: int | None) -> AudioSource:
    if raw is not None:
        return ContainerSource(path, raw, track)
    with path.open("rb") as opened:
        head = opened.read(12)
        if not head:
            raise SordinoError("the file is empty (0 bytes): copy or record it again")
        size = opened.seek(0, os.SEEK_END)
        if outgrows_header(head, size):
            # As a stream: FFmpeg would look for more chunks in the middle of the sound.
            return ContainerSource(PipeInput(path), track=track, ignores_length=True)
        notes = size_notes(opened, head, size)
        parts = recordings_in(opened, head, size)
    if len(parts) > 1 and track in (None, 1):
        with suppress(SordinoError, FFmpegError):  # else FFmpeg may know what it is
            return JoinedSource(path, parts)
    # FFmpeg has codecs that libsndfile has not, and reads what was never completed or is joined.
    if _is_soundfiles(head) and len(parts) == 1 and track in (None, 1):
        with suppress(soundfile.LibsndfileError):
            source = SoundfileSource(path)
            is_whole = source.info.seconds is not None or size < _HEADER
            # It reads MPEG in wav files with complaints on standard error.
            if is_whole and source.info.channels <= 2 and "MPEG" not in source.info.subtype:
                source.notes += notes
                return source
            if is_whole and head[:4] == b"caff":
                return source  # PyAV crashes on the layouts of some caf files
            source.close()
            if is_whole:
                with suppress(SordinoError, FFmpegError):
                    return ContainerSource(path, track=track, notes=notes)
                return SoundfileSource(path)
    return ContainerSource(path, track=track, notes=notes)


def open_sink(
    file: Path | BinaryIO, extension: str, info: SoundInfo, raw: RawFormat | None = None
) -> AudioSink:
    """Open a new file of sound for writing.

    Args:
        file: a path, or an open binary file, which need not be seekable.
        extension: of the format, such as "wav"; it need not be the path's own.
        info: of the sound that will come; its subtype and tags are kept where the format can.
        raw: how to write headerless samples; None writes a header.

    Raises:
        SordinoError: there is no such format, or it cannot hold this sound.
        OSError, av.error.FFmpegError: the file cannot be written.
    """
    extension = extension.lower()
    if raw is not None:
        return ContainerSink(file, raw.encoding, f"pcm_{raw.encoding}", info)
    is_opus = info.subtype.upper() == "OPUS" and SOUNDFILE_FORMATS.get(extension) == "OGG"
    if isinstance(file, Path) and extension in SOUNDFILE_FORMATS and not is_opus:
        is_surround = info.channels > 2 and info.layout and extension in _SURROUND
        is_endless = extension == "wav" and info.seconds is None and info.subtype in _PCM
        if is_surround or is_endless:
            codec = "flac" if extension == "flac" else _PCM.get(info.subtype, "pcm_s16le")
            return ContainerSink(file, _SURROUND[extension], codec, info)
        return SoundfileSink(file, SOUNDFILE_FORMATS[extension], info)
    known = CONTAINERS | VIDEOS | _PIPED if isinstance(file, Path) else _PIPED
    if extension not in known:
        where = "" if isinstance(file, Path) else " to a pipe"
        choice = ", ".join(EXTENSIONS if isinstance(file, Path) else _PIPED)
        raise SordinoError(f"{extension!r} cannot be written{where}: choose one of {choice}")
    container, codec = known[extension]
    return ContainerSink(file, container, codec or _PCM.get(info.subtype, "pcm_s16le"), info)


class SoundfileSource:
    """A file that libsndfile reads, in blocks of a second."""

    def __init__(self, path: Path) -> None:
        self._file = _sf.SoundFile(_name(path))
        self._frames: int = self._file.frames
        rate: int = self._file.samplerate
        known = 0 < self._frames < _UNKNOWN_FRAMES
        subtype: str = self._file.subtype
        tags: dict[str, str] = self._file.copy_metadata()
        self.info = SoundInfo(
            sample_rate=rate,
            channels=self._file.channels,
            subtype=subtype,
            seconds=self._frames / rate if known else None,
            tags=tags | {key: tags[name] for key, name in _TAG_NAMES.items() if name in tags},
        )
        self.notes: list[str] = []

    def blocks(self) -> Iterator[Interleaved]:
        """Yield the samples in blocks of about a second."""
        return one_second_blocks(self._parts(), self.info.sample_rate)

    def _parts(self) -> Iterator[Interleaved]:
        count, rate = 0, self.info.sample_rate
        try:
            while len(part := self._read()):
                count += len(part)
                yield part
        except soundfile.LibsndfileError as error:
            if not count:
                raise SordinoError("the file is damaged: no sound in it can be decoded") from error
            self.notes.append(
                f"the file is damaged after {count / rate:.1f} s: only that much was read"
            )
            return
        if not self.notes:
            self.notes += truncation_notes(count / rate, self.info.seconds)

    def _read(self) -> Interleaved:
        # Little at a time: where a file is damaged, one read is lost.
        return self._file.read(_FRAMES, dtype="float32", always_2d=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SoundfileSink:
    """Writes a file through libsndfile.

    Args:
        path: of the file.
        container: libsndfile's name of the format ("WAV").
        info: of the sound that will come; its subtype is kept where the format has it, else
            its depth in bits as far as the format goes.
    """

    def __init__(self, path: Path, container: str, info: SoundInfo) -> None:
        subtype = _subtype(container, info.subtype)
        size = (info.seconds or 0) * info.sample_rate * info.channels * _BYTES.get(subtype, 2)
        if container == "WAV" and size > _LARGEST_WAV:
            container = "RF64"
        elif container == "WAV" and info.channels > 2 and subtype in _BYTES:
            container = "WAVEX"  # says which channel belongs to which loudspeaker
        self.notes: list[str] = []
        self._path = path
        self._bits = _BITS.get(subtype)
        self._order: tuple[int, ...] = ()
        if container == "OGG" and info.channels in _VORBIS_ORDER:
            layouts, self._order = _VORBIS_ORDER[info.channels]
            if info.layout and info.layout not in layouts:
                self.notes.append(
                    f"ogg knows no channels {info.layout}: players take them for {layouts[0]}"
                )
        try:
            self._file = _sf.SoundFile(
                _name(path), "w", info.sample_rate, info.channels, subtype, format=container
            )
        except soundfile.LibsndfileError as error:
            raise SordinoError(
                f"{container} ({subtype}) cannot hold {info.channels} channel(s) at "
                f"{info.sample_rate} Hz, or the file cannot be written: choose another format or "
                "folder"
            ) from error
        tags = {key.lower(): value for key, value in info.tags.items()}
        with suppress(soundfile.LibsndfileError):  # some formats have no tags
            for key in _TAGS & tags.keys():
                setattr(self._file, _TAG_NAMES.get(key, key), tags[key])

    def write(self, samples: Interleaved) -> None:
        """Append samples, shape = (samples, channels)."""
        if self._order:
            samples = samples[:, self._order]
        prepared = samples if self._bits is None else _rounded(samples, self._bits)
        try:
            # Little at a time: the Vorbis encoder has a whole block on its stack.
            for start in range(0, len(prepared), _FRAMES):
                self._file.write(prepared[start : start + _FRAMES])
        except (soundfile.LibsndfileError, AssertionError) as error:
            with self._path.open("ab") as file:
                file.write(bytes(4096))  # libsndfile hides the reason, the system tells it
            raise OSError(errno.EIO, "not everything could be written", self._path) from error

    def close(self) -> None:
        """Complete the header and close the file."""
        self._file.close()


class PipeInput:
    """A pipe as a binary file that is at its end as soon as `stop` is set.

    A plain read would hold up Ctrl-C until the other side of the pipe says something.

    Args:
        source: a path, or the descriptor of an open file.
        stop: ends the wait; None waits as long as it takes.
    """

    name = "a pipe"

    def __init__(self, source: Path | int, stop: Event | None = None) -> None:
        self._stop = stop or Event()
        is_path = isinstance(source, Path)
        # A named pipe that nobody writes yet would hold up the opening itself.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        self._file = os.open(source, flags) if is_path else source
        is_named = is_path and os.path.exists(os.path.realpath(source))  # not a shell's <(command)
        self._is_begun = not (is_named and stat.S_ISFIFO(os.fstat(self._file).st_mode))
        if is_path and os.name != "nt":
            os.set_blocking(self._file, True)

    def seekable(self) -> bool:
        """Tell that there is no way back."""
        return False

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, or none at the end."""
        while not self._stop.is_set():
            # Windows can wait for sockets only.
            if os.name == "nt" or select.select([self._file], [], [], _POLL_SECONDS)[0]:
                data = os.read(self._file, size)
                if data or self._is_begun:
                    self._is_begun = True
                    return data
                self._stop.wait(_POLL_SECONDS)  # nobody has opened the other end yet
        return b""


class _StreamSource(ContainerSource):
    """An open file, which need not be seekable."""

    def __init__(self, file: Readable, raw: RawFormat | None, track: int | None) -> None:
        self._head = _Head(file)
        try:
            super().__init__(self._head, raw, track)
        except InvalidDataError as error:
            raise self._explained(error) from error

    def blocks(self) -> Iterator[Interleaved]:
        try:
            yield from super().blocks()
        except InvalidDataError as error:
            raise self._explained(error) from error

    def _explained(self, error: InvalidDataError) -> Exception:
        if self._head.head[4:8] != b"ftyp" or self._head.seekable():
            return error
        return SordinoError(
            "this mp4 has its index at its end, which a pipe cannot reach: give the file itself, "
            "or move the index with ffmpeg -movflags faststart"
        )


class _Head:
    """A stream of which the first bytes are remembered."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.head = b""
        self.name = str(getattr(file, "name", "a stream"))
        if callable(seekable := getattr(file, "seekable", None)) and seekable():
            self.seek: Any = cast(Any, file).seek
            self.tell: Any = cast(Any, file).tell

    def seekable(self) -> bool:
        return hasattr(self, "seek")

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        if len(self.head) < _HEADER:
            self.head += data[:_HEADER]
        return data


def _name(path: Path) -> str | bytes:
    # soundfile refuses names that are not UTF-8, but for bytes.
    return str(path) if os.name == "nt" else os.fsencode(path)


def _is_soundfiles(head: bytes) -> bool:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return head[8:12] == b"WAVE"
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    return head[:4] in (b"fLaC", b"OggS", b".snd", b"caff", b"riff")


def _subtype(container: str, wanted: str) -> str:
    wide = wanted in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    for subtype in (wanted, "PCM_24" if wide else "PCM_16"):
        if _sf.check_format(container, subtype):
            return subtype
    return _sf.default_subtype(container)


def _rounded(samples: Interleaved, bits: int) -> Any:
    """Round to integers; libsndfile would cut the digits off, which is a bit less exact."""
    full_scale = 1 << (bits - 1)
    levels = np.rint(samples.astype(np.float64) * full_scale)
    levels = np.clip(levels, -full_scale, full_scale - 1)
    if bits <= 16:
        return (levels * (1 << (16 - bits))).astype(np.int16)
    return (levels * (1 << (32 - bits))).astype(np.int32)


def explain(error: Exception, source: str | Path, target: str | Path) -> str:
    """Say in one line what went wrong with a file and how to fix it."""
    return with_whole_addresses(_explain(error, source, target))


def _explain(error: Exception, source: str | Path, target: str | Path) -> str:
    if isinstance(error, SordinoError):
        return f"{source}: {error}"
    if isinstance(error, OSError):
        return _explain_system(error, source, target)
    if isinstance(error, InvalidDataError):
        return f"{source}: this is not audio or video, or it is damaged or cut short: copy it again"
    if isinstance(error, DecoderNotFoundError):
        return f"{source}: this installation of FFmpeg cannot decode it: convert it to wav first"
    if isinstance(error, FFmpegError):
        return f"{source}: FFmpeg cannot read it or write {target}: {error.strerror}"
    return f"{source}: {type(error).__name__}: {' '.join(str(error).split())}"


def _explain_system(error: OSError, source: str | Path, target: str | Path) -> str:
    if isinstance(error, BrokenPipeError):
        return f"{target}: the program that was reading it has ended"
    if error.errno in _FULL:
        return f"{target}: the disk is full, or the file larger than allowed: make room and go on"
    named = os.fsdecode(error.filename or "").removeprefix("file:")
    is_target = named.endswith(TEMPORARY) or Path(named) in (Path(target), Path(target).parent)
    path = target if is_target else Path(named or source)
    if error.errno == errno.ENAMETOOLONG:
        return f"{path}: this name is too long for the disk: give a shorter one with -o"
    if isinstance(error, FileNotFoundError) and not is_target:
        is_address = "://" in str(source) or ":/" in str(source)[2:]
        hint = ": download it first" if is_address else ""
        return f"{source}: there is no such file{hint}"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        deed = "write here: choose another folder with -o" if is_target else "read it"
        return f"{path}: no permission to {deed}"
    return f"{path}: {error.strerror or error}"
