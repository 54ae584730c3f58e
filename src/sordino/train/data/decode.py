"""Decoding of training audio: files, pairs of files and tar shards into arrays.

A tar shard has the layout of webdataset: a sample is `NAME.EXT` (speech, noise, rooms) or
`NAME.noisy.EXT` and `NAME.clean.EXT` (pairs); the files go in as they are, NAME being the path
inside the folder.  Shards in object storage (any of fsspec's file systems: s3://, gs://, https://)
are fetched once into the cache of a machine.  The bandwidth of each clip is measured, and the short
sounds in it are found.
"""

# No types: soundfile, soxr, scipy and fsspec.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import fsspec
import numpy as np
import soundfile as sf
import soxr
from av.error import FFmpegError
from filelock import FileLock
from scipy.signal import get_window

from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.io.audiofile import open_source
from sordino.io.formats import INPUT_EXTENSIONS
from sordino.train.data.signal import FloatArray, frame_power

log = logging.getLogger("sordino")

DOWNLOADS = 4  # at a time

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
    return _channel(x, _first_with_sound(x)), rate


def _read(file: Path | BinaryIO) -> tuple[FloatArray, int]:
    """All channels, shape `(samples, channels)`, and the rate in Hz."""
    if isinstance(file, Path):
        with open_source(file) as source:
            blocks = [np.zeros((0, source.info.channels), np.float32), *source.blocks()]
            x, rate = np.concatenate(blocks), source.info.sample_rate
    else:
        x, rate = sf.read(file, dtype="float32", always_2d=True)
    if len(x) < rate // 100:
        raise ValueError("it is shorter than 10 ms")
    if not np.isfinite(x).all():
        raise ValueError("it has samples that are not numbers")
    return np.asarray(x, np.float32), rate


def _first_with_sound(x: FloatArray) -> int:
    """Index of a channel; recorders leave the first one silent at times."""
    return int(x.any(axis=0).argmax())


def _channel(x: FloatArray, index: int) -> FloatArray:
    return np.ascontiguousarray(x[:, min(index, x.shape[1] - 1)], np.float32)


def decode_pair(
    noisy: Path | BinaryIO, clean: Path | BinaryIO
) -> tuple[tuple[FloatArray, FloatArray], int]:
    """(noisy, clean), cut to the shorter one, and their rate in Hz.

    Raises:
        ValueError: their rates differ; and what `decode` raises.
    """
    x, rate = _read(noisy)
    y, clean_rate = _read(clean)
    if clean_rate != rate:
        raise ValueError(f"its clean partner has {clean_rate} Hz and not {rate} Hz")
    length, index = min(len(x), len(y)), _first_with_sound(y)
    return (_channel(x[:length], index), _channel(y[:length], index)), rate


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


def write_shards(source: str | Path, target: str | Path, megabytes: float = 1000) -> list[Path]:
    """Pack the audio of a folder into `target/000000.tar`, `000001.tar` and so on.

    A folder that has the folders `noisy` and `clean` becomes shards of pairs.

    Args:
        source: folder to pack, recursively.
        target: folder for the shards, made where it is missing; it may hold no shards yet.
        megabytes: size after which the next shard is begun.

    Returns:
        The shards' paths.

    Raises:
        SordinoError: `source` holds no audio, or `target` holds shards already.
    """
    from webdataset.writer import ShardWriter

    source, target = Path(source), Path(target)
    files = audio_files(source)
    if not files:
        raise SordinoError(f"{source}: holds no audio files to pack")
    if sorted(target.glob("*.tar")):
        raise SordinoError(f"{target}: holds shards already; name another folder")
    paired = (source / "noisy").is_dir() and (source / "clean").is_dir()
    samples: dict[str, dict[str, Path]] = {}
    for path in files:
        name, field = path.relative_to(source), path.suffix[1:].lower()
        if paired:
            if name.parts[0] not in ("noisy", "clean"):
                continue
            name, field = Path(*name.parts[1:]), f"{name.parts[0]}.{field}"
        # webdataset ends a sample's name at its first dot.
        key = str(name.with_suffix("")).replace(".", "_")
        if field in samples.setdefault(key, {}):
            raise SordinoError(f"{path}: two files would be called {key} in a shard; rename one")
        samples[key][field] = path
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".writing-") as work:
        # What os.replace moves is complete: an interrupted run leaves no half shard.
        with ShardWriter(f"{work}/%06d.tar", maxsize=megabytes * 1e6, verbose=0) as writer:
            for key, fields in samples.items():
                content = {field: path.read_bytes() for field, path in fields.items()}
                writer.write({"__key__": key, **content})
        for shard in sorted(Path(work).glob("*.tar")):
            os.replace(shard, target / shard.name)
    return sorted(target.glob("*.tar"))


def read_shards(
    kind: str, root: Path, files: Sequence[Path], advance: Callable[[], None]
) -> Iterator[Recording]:
    """Decode the samples of shards one after another.

    Samples that cannot be read are skipped with a warning that names them.

    Args:
        kind: "pair" for noisy/clean pairs, else one signal a sample.
        root: folder that the shards lie in.
        files: the shards.
        advance: called once per shard.
    """
    from webdataset.compat import WebDataset

    for shard in files:
        advance()
        # Whichever process decodes, decodes all: what it hears of it is the sampler's matter.
        whole: dict[str, Any] = {"nodesplitter": None, "workersplitter": None}
        for sample in WebDataset(str(shard), shardshuffle=False, empty_check=False, **whole):
            sounds = {
                field: BytesIO(content)
                for field, content in sample.items()
                if Path(f"_.{field}").suffix in AUDIO_SUFFIXES
            }
            halves = {field.split(".")[0]: sound for field, sound in sounds.items()}
            key = sample["__key__"]
            try:
                if kind == "pair" and {"noisy", "clean"} <= halves.keys():
                    signals, rate = decode_pair(halves["noisy"], halves["clean"])
                elif kind != "pair" and len(sounds) == 1:
                    signal, rate = decode(next(iter(sounds.values())))
                    signals = (signal,)
                else:
                    wanted = "noisy and clean sound" if kind == "pair" else "one sound"
                    raise ValueError(f"a sample of {kind} holds {wanted}")
            except UNREADABLE as error:
                warn_skipped(f"{shard.relative_to(root)}: {key}", error)
            else:
                yield Recording(f"{key}.{next(iter(sounds))}", signals, rate)


def measure_bandwidth(x: FloatArray, sample_rate: int, range_db: float = 62.0) -> float:
    """Highest frequency in Hz with content: at most `range_db` under the spectrum's peak.

    From the long-term power spectrum of at most one minute spread over the clip.  62 dB lies
    between the weakest real top octave of speech (about -55 dB) and what lossy codecs and
    resamplers leave above their cut (about -69 dB).

    Shape: (samples,).
    """
    size = round(0.032 * sample_rate)
    frames = x[: len(x) // size * size].reshape(-1, size)
    if len(frames) == 0:
        return sample_rate / 2
    frames = frames[:: max(1, len(frames) * size // (60 * sample_rate))]
    # Side lobes under -92 dB; the main lobe is 3 bins wide on each side at -62 dB.
    window = np.asarray(get_window("blackmanharris", size), np.float32)
    power = (np.abs(np.fft.rfft(frames * window)) ** 2).mean(0)
    power[:5] = 0  # an offset is no content
    above = np.flatnonzero(power > power.max() * 10 ** (-range_db / 10))
    if len(above) == 0 or above[-1] >= len(power) - 4:
        return sample_rate / 2
    return float(above[-1] - 3) * sample_rate / size


def find_events(x: FloatArray, sample_rate: int) -> tuple[tuple[float, float], ...]:
    """(start, stop) in seconds of the sounds in a clip made of short ones, else ().

    A clip of key strokes, drops or steps: sounds of mostly under 0.35 s that fill less than
    half of it.  A clip under 3 s that is no such series is one single event.

    Args:
        x: sound, shape `(samples,)`.
        sample_rate: in Hz.
    """
    level = 10 * np.log10(frame_power(x, sample_rate) + 1e-12)
    if len(level) == 0:
        return ()
    loud = level > np.percentile(level, 99) - 30
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    runs: list[list[int]] = []
    for start, stop in edges.reshape(-1, 2):
        if runs and start - runs[-1][1] < 6:  # 60 ms: one sound with a dip
            runs[-1][1] = int(stop)
        else:
            runs.append([int(start), int(stop)])
    lengths = np.array([stop - start for start, stop in runs])
    if np.median(lengths) < 35 and lengths.sum() < 0.5 * len(level):
        end = len(level) / 100
        return tuple((max(0, a - 1) / 100, min(end, (b + 5) / 100)) for a, b in runs)
    return ((0.0, len(level) / 100),) if len(level) < 300 else ()


def fetch_shards(url: str, cache: Path) -> Path:
    """Fetch the tar shards of a folder, those that are not there yet.

    Args:
        url: address of the folder.
        cache: where decoded audio and fetched shards lie.

    Returns:
        The folder on this machine.

    Raises:
        SordinoError: there are no shards, or they cannot be read.
    """
    folder = cache / "shards" / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files: Any
        files, root = fsspec.core.url_to_fs(url)
        sizes: dict[str, int] = {
            path: files.size(path) for path in sorted(files.glob(f"{root}/*.tar"))
        }
        if not sizes:
            raise SordinoError(f"{url}: holds no tar shards: `sordino data shard` writes them")
        # Processes of one machine wait for the one that fetches.
        with FileLock(folder / ".lock"), ThreadPoolExecutor(DOWNLOADS) as pool:
            list(pool.map(partial(_fetch, files, folder), sizes, sizes.values()))
            names = {Path(path).name for path in sizes}
            for stale in folder.glob("*.tar"):
                if stale.name not in names:
                    stale.unlink()
    except SordinoError:
        raise
    except Exception as error:  # every file system of fsspec has exceptions of its own
        raise SordinoError(f"{url}: cannot be read: {error}") from error
    return folder


def _fetch(files: Any, folder: Path, path: str, size: int) -> None:
    target = folder / Path(path).name
    if not target.exists() or target.stat().st_size != size:
        with atomic_write(target) as part:
            files.get_file(path, str(part))
