"""Clips: audio files decoded once into one int16 file per folder and rate, memory-mapped."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.train.levels import FloatArray, frame_power

CACHE_FORMAT = 1  # part of the key: raise it when what is stored changes
BASE_RATE = 16000  # every clip is kept at this rate,
WIDE_RATE = 48000  # and at this one too when the file's own rate is above BASE_RATE
PEAK = 0.9  # peak of a stored clip: quiet files keep their resolution in int16

log = logging.getLogger("sordino")


@dataclass(frozen=True)
class Clip:
    """One decoded file.

    `spans` maps a cache rate in Hz to (first sample, samples) in that rate's file.
    `events` are (start, stop) in seconds of the short sounds that make up the clip, empty
    where it sounds through.  A pair's clip holds `channels` = 2 signals, one after another.
    """

    path: str
    label: str
    seconds: float
    sample_rate: int  # Hz, the file's own
    bandwidth: float  # Hz, measured
    channels: int
    spans: dict[int, tuple[int, int]]
    events: tuple[tuple[float, float], ...] = ()


def measure_bandwidth(x: FloatArray, sample_rate: int, range_db: float = 62.0) -> float:
    """Highest frequency in Hz with content: at most `range_db` under the spectrum's peak.

    The long-term power spectrum in 125 Hz bins, of at most one minute spread over the clip.
    62 dB lies between the weakest real top octave of speech (about -55 dB) and what lossy
    codecs and resamplers leave above their cut (about -69 dB).
    """
    size = 2 * (sample_rate // 250)
    frames = x[: len(x) // size * size].reshape(-1, size)
    if len(frames) == 0:
        return sample_rate / 2
    frames = frames[:: max(1, len(frames) * size // (60 * sample_rate))]
    window = np.hanning(size + 1)[:size].astype(np.float32)
    power = (np.abs(np.fft.rfft(frames * window)) ** 2).mean(0)
    smooth = np.convolve(power[1:], np.ones(3) / 3, mode="same")  # without DC
    above = np.flatnonzero(smooth > smooth.max() * 10 ** (-range_db / 10))
    if len(above) == 0:
        return sample_rate / 2
    return min((above[-1] + 2) * sample_rate / size, sample_rate / 2)


def find_events(x: FloatArray, sample_rate: int) -> tuple[tuple[float, float], ...]:
    """(start, stop) in seconds of the sounds in a clip made of short ones, else ().

    A clip of key strokes, drops or steps: sounds of mostly under 0.35 s that fill less than
    half of it.  A clip under 3 s that is no such series is one single event.
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


@dataclass
class Folder:
    """The decoded clips of one folder, memory-mapped where they are first read."""

    cache: Path
    clips: list[Clip]
    maps: dict[int, NDArray[np.int16]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind: a worker process opens its own instead of copying them."""
        return {"cache": self.cache, "clips": self.clips, "maps": {}}

    def read(self, clip: Clip, rate: int, start: int = 0, length: int | None = None) -> FloatArray:
        """Samples `[start, start + length)` at a rate that the clip is stored at.

        Returns shape `(length,)`, or `(2, length)` for a pair; less where the clip ends.
        """
        if rate not in self.maps:
            self.maps[rate] = np.memmap(self.cache / f"{rate}.i16", np.int16, mode="r")
        first, total = clip.spans[rate]
        stop = total if length is None else min(total, start + length)
        parts = [
            self.maps[rate][first + c * total + start : first + c * total + stop]
            for c in range(clip.channels)
        ]
        data = np.stack(parts) if clip.channels > 1 else parts[0]
        return data.astype(np.float32) * np.float32(1 / 32768)


def resample(x: FloatArray, rate: int, to: int, length: int | None = None) -> FloatArray:
    """`x` of shape `(samples,)` at another rate, cut or zero-padded to `length` samples."""
    y = x if rate == to else soxr.resample(x, rate, to)
    if length is not None and len(y) != length:
        y = np.pad(y[:length], (0, max(0, length - len(y))))
    return y


def decode(path: Path) -> tuple[FloatArray, int]:
    """First channel of an audio file and its rate in Hz; shape `(samples,)`."""
    x, rate = sf.read(path, dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(x[:, 0])
    if len(mono) < rate // 100:
        raise ValueError("shorter than 10 ms")
    if not np.isfinite(mono).all():
        raise ValueError("has samples that are not numbers")
    return mono, rate


def audio_files(root: Path) -> list[Path]:
    """Every file under `root` that has the name of an audio file, sorted."""
    known = {"." + name.lower() for name in sf.available_formats()} | {".aif", ".opus", ".oga"}
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in known and p.is_file())


def cache_key(kind: str, root: Path, files: Iterable[Path]) -> str:
    """Name of a folder's cache: changes with any file's name, size or modification time."""
    digest = hashlib.sha256(f"{CACHE_FORMAT} {kind} {root.resolve()}".encode())
    for path in files:
        stat = path.stat()
        digest.update(f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"{kind}-{root.name}-{digest.hexdigest()[:16]}"


def decode_pair(path: Path, root: Path) -> tuple[tuple[FloatArray, FloatArray], int]:
    """(noisy, clean) of the pair that `path`, a file in `root/noisy`, is one half of."""
    partners = sorted((root / "clean" / path.relative_to(root / "noisy")).parent.glob("*"))
    partner = next((p for p in partners if p.stem == path.stem), None)
    if partner is None:
        raise ValueError("there is no clean file of this name")
    noisy, rate = decode(path)
    clean, clean_rate = decode(partner)
    if clean_rate != rate:
        raise ValueError(f"clean file has {clean_rate} Hz, noisy file {rate} Hz")
    length = min(len(noisy), len(clean))
    return (noisy[:length], clean[:length]), rate


def open_folder(
    kind: str,
    root: Path,
    files: Sequence[Path],
    cache: Path,
    label: Callable[[Path], str],
    advance: Callable[[], None],
) -> Folder:
    """The folder's clips from the cache, decoded into it first where they are not there yet.

    Args:
        kind: "speech", "noise", "rir" or "pair"; events are sought in noise only, and of
            pairs the files in `root/noisy` are decoded together with those in `root/clean`.
        root: folder that the files lie in.
        files: all its audio files.
        cache: where all caches lie; each folder has one directory in it, written under
            another name and renamed when complete.
        label: speaker or category of a file.
        advance: called once per file.

    A file that cannot be read is skipped with a warning that names it.

    Raises:
        SordinoError: when no file could be read.
    """
    home = cache / cache_key(kind, root, files)
    index = home / "index.json"
    if not index.exists():
        _fill(kind, root, files, home, label, advance)
    clips = [
        Clip(
            **{
                **entry,
                "spans": {int(rate): tuple(span) for rate, span in entry["spans"].items()},
                "events": tuple(tuple(event) for event in entry["events"]),
            }
        )
        for entry in json.loads(index.read_text())
    ]
    if not clips:
        raise SordinoError(f"{root}: none of its {len(files)} audio files could be read")
    return Folder(home, clips)


def _fill(
    kind: str,
    root: Path,
    files: Sequence[Path],
    home: Path,
    label: Callable[[Path], str],
    advance: Callable[[], None],
) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    try:
        clips: list[Clip] = []
        ends = {BASE_RATE: 0, WIDE_RATE: 0}
        with (
            open(work / f"{BASE_RATE}.i16", "wb") as base,
            open(work / f"{WIDE_RATE}.i16", "wb") as wide,
        ):
            for path in files:
                advance()
                if kind == "pair" and not path.is_relative_to(root / "noisy"):
                    continue
                try:
                    if kind == "pair":
                        signals, rate = decode_pair(path, root)
                    else:
                        signal, rate = decode(path)
                        signals = (signal,)
                except (sf.SoundFileError, ValueError, OSError) as error:
                    reason = str(error).splitlines()[0].removeprefix(f"Error opening '{path}': ")
                    log.warning("%s: skipped, cannot be read as audio: %s", path, reason)
                    continue
                peak = max(float(np.abs(signal).max()) for signal in signals)
                gain = PEAK / peak if peak > 0 else 1.0
                spans: dict[int, tuple[int, int]] = {}
                for to, file in ((BASE_RATE, base), (WIDE_RATE, wide)):
                    if to == WIDE_RATE and rate <= BASE_RATE:
                        continue
                    length = round(len(signals[0]) * to / rate)
                    spans[to] = (ends[to], length)
                    for signal in signals:
                        y = resample(signal, rate, to, length) * np.float32(32767 * gain)
                        file.write(np.clip(np.round(y), -32768, 32767).astype("<i2").tobytes())
                        ends[to] += length
                clips.append(
                    Clip(
                        path=str(path.relative_to(root)),
                        label=label(path),
                        seconds=len(signals[0]) / rate,
                        sample_rate=rate,
                        bandwidth=measure_bandwidth(signals[-1], rate),
                        channels=len(signals),
                        spans=spans,
                        events=find_events(signals[0], rate) if kind == "noise" else (),
                    )
                )
        (work / "index.json").write_text(json.dumps([asdict(clip) for clip in clips]))
        try:
            os.replace(work, home)
        except OSError:  # another process was faster with the same folder
            if not (home / "index.json").exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
