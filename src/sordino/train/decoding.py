"""Decoding: audio files, and pairs of them, into arrays."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile as sf
import soxr
from av.error import FFmpegError

from sordino.errors import SordinoError
from sordino.io.audiofile import open_source
from sordino.io.formats import INPUT_EXTENSIONS
from sordino.train.levels import FloatArray

log = logging.getLogger("sordino")

AUDIO_SUFFIXES = {"." + name for name in INPUT_EXTENSIONS} | {
    "." + name.lower() for name in sf.available_formats() if name != "RAW"
}
# What a broken file may raise.
UNREADABLE = (sf.SoundFileError, FFmpegError, SordinoError, ValueError, OSError)


class Recording(NamedTuple):
    """A decoded file, or the two of a pair: (noisy, clean), equally long."""

    name: str  # path inside its folder
    signals: tuple[FloatArray, ...]  # each of shape (samples,)
    sample_rate: int  # Hz


def resample(x: FloatArray, rate: int, to: int, length: int | None = None) -> FloatArray:
    """`x` of shape `(samples,)` at another rate, cut or zero-padded to `length` samples."""
    y = x if rate == to else soxr.resample(x, rate, to)
    if length is not None and len(y) != length:
        y = np.pad(y[:length], (0, max(0, length - len(y))))
    return y


def audio_files(root: Path) -> list[Path]:
    """Every file under `root` that has the name of an audio file, sorted."""
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())


def decode(file: Path | BinaryIO) -> tuple[FloatArray, int]:
    """First channel with sound of an audio file, shape `(samples,)`, and its rate in Hz.

    Raises:
        One of `UNREADABLE`: it is broken or holds no sound.
    """
    x, rate = _read(file)
    if len(x) < rate // 100:
        raise ValueError("it is shorter than 10 ms")
    if not np.isfinite(x).all():
        raise ValueError("it has samples that are not numbers")
    channel = int(x.any(axis=0).argmax())  # recorders leave the first one silent at times
    return np.ascontiguousarray(x[:, channel], np.float32), rate


def _read(file: Path | BinaryIO) -> tuple[FloatArray, int]:
    """All channels, shape `(samples, channels)`, and the rate in Hz."""
    if not isinstance(file, Path):  # a member of a shard
        try:
            return sf.read(file, dtype="float32", always_2d=True)
        except sf.LibsndfileError:
            file.seek(0)
    with open_source(file) as source:
        blocks = [np.zeros((0, source.info.channels), np.float32), *source.blocks()]
        return np.concatenate(blocks), source.info.sample_rate


def decode_pair(
    noisy: Path | BinaryIO, clean: Path | BinaryIO
) -> tuple[tuple[FloatArray, FloatArray], int]:
    """(noisy, clean), cut to the shorter one, and their rate in Hz.

    Raises:
        ValueError: their rates differ; and what `decode` raises.
    """
    x, rate = decode(noisy)
    y, clean_rate = decode(clean)
    if clean_rate != rate:
        raise ValueError(f"its clean partner has {clean_rate} Hz and not {rate} Hz")
    length = min(len(x), len(y))
    return (x[:length], y[:length]), rate


def read_files(
    kind: str, root: Path, files: Sequence[Path], advance: Callable[[], None]
) -> Iterator[Recording]:
    """Decode files of a folder one after another.

    Files that cannot be read are skipped with a warning that names them.

    Args:
        kind: "pair": a file under `root/noisy` comes with that of its name under `root/clean`.
        root: the folder.
        files: its audio files.
        advance: called once per file.
    """
    clean = {p.relative_to(root).with_suffix(""): p for p in files if kind == "pair"}
    for path in files:
        advance()
        name = path.relative_to(root)
        if kind == "pair" and name.parts[0] != "noisy":
            continue
        try:
            if kind == "pair":
                partner = clean.get(Path("clean", *name.parts[1:]).with_suffix(""))
                if partner is None:
                    raise ValueError("there is no clean file of its name")
                signals, rate = decode_pair(path, partner)
            else:
                signal, rate = decode(path)
                signals = (signal,)
        except UNREADABLE as error:
            warn_skipped(path, error)
        else:
            yield Recording(str(name), signals, rate)


def warn_skipped(name: object, error: Exception) -> None:
    """One warning line that names what was left out and why."""
    reason = str(error).strip().splitlines()[0].rsplit(": ", 1)[-1]
    log.warning("%s: skipped, cannot be used as audio: %s", name, reason)
