"""Clips: audio files decoded once into one int16 file per folder and rate, memory-mapped."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.train.decoding import read_files, resample
from sordino.train.levels import FloatArray
from sordino.train.shards import read_shards
from sordino.train.traits import find_events, measure_bandwidth

CACHE_FORMAT = 2  # part of the key: raise it when what is stored changes
BASE_RATE = 16000  # every clip is kept at this rate,
WIDE_RATE = 48000  # and at this one too when the file's own rate is above BASE_RATE
PEAK = 0.9  # peak of a stored clip: quiet files keep their resolution in int16


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


def cache_key(kind: str, root: Path, files: Iterable[Path]) -> str:
    """Name of a folder's cache: changes with any file's name, size or modification time."""
    digest = hashlib.sha256(f"{CACHE_FORMAT} {kind} {root.resolve()}".encode())
    for path in files:
        stat = path.stat()
        digest.update(f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"{kind}-{root.name}-{digest.hexdigest()[:16]}"


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
        kind: "speech", "noise", "rir" or "pair"; short sounds are sought in noise only.
        root: folder that the files lie in.
        files: all its audio files, or all its tar shards.
        cache: where all caches lie; each folder has one directory in it, written under
            another name and renamed when complete.
        label: speaker or category of a file, from its path.
        advance: called once per file.

    Raises:
        SordinoError: no file could be read, or the cache cannot be written.
    """
    home = cache / cache_key(kind, root, files)
    index = home / "index.json"
    if not index.exists():
        try:
            _fill(kind, root, files, home, label, advance)
        except OSError as error:
            raise SordinoError(
                f"{cache}: cannot write decoded audio there ({error.strerror}); name another cache"
            ) from error
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
        raise SordinoError(f"{root}: none of its audio could be read; see the warnings above")
    return Folder(home, clips)


def _fill(
    kind: str,
    root: Path,
    files: Sequence[Path],
    home: Path,
    label: Callable[[Path], str],
    advance: Callable[[], None],
) -> None:
    work = home.parent / f".{home.name}-{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    read = read_shards if files[0].suffix == ".tar" else read_files
    clips: list[Clip] = []
    ends = {BASE_RATE: 0, WIDE_RATE: 0}
    try:
        with (
            open(work / f"{BASE_RATE}.i16", "wb") as base,
            open(work / f"{WIDE_RATE}.i16", "wb") as wide,
        ):
            for name, signals, rate in read(kind, root, files, advance):
                spans: dict[int, tuple[int, int]] = {}
                for to, file in ((BASE_RATE, base), (WIDE_RATE, wide)):
                    if to == BASE_RATE or rate > BASE_RATE:
                        length = round(len(signals[0]) * to / rate)
                        spans[to] = (ends[to], length)
                        ends[to] += _write(file, signals, rate, to, length)
                clips.append(
                    Clip(
                        path=name,
                        label=label(Path(name)),
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


def _write(file: BinaryIO, signals: Sequence[FloatArray], rate: int, to: int, length: int) -> int:
    """Append signals with one common gain at the rate `to`; returns the samples written."""
    peak = max(float(np.abs(signal).max()) for signal in signals)
    gain = np.float32(32767 * PEAK / peak if peak > 0 else 0)
    for signal in signals:
        x = np.round(resample(signal, rate, to, length) * gain)
        file.write(np.clip(x, -32768, 32767).astype("<i2").tobytes())
    return length * len(signals)
