"""The corpus: clips decoded once, and pools of speech, noise, rooms and pairs to draw from.

Each folder's audio is decoded into one int16 file for each rate, which is memory-mapped.
"""

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sordino.arrays import from_int16
from sordino.deprecated import renamed_names
from sordino.errors import SordinoError
from sordino.train.data.config import check_weights
from sordino.train.data.decode import (
    audio_files,
    fetch_shards,
    find_events,
    measure_bandwidth,
    read_files,
    read_shards,
    resample,
)
from sordino.train.data.signal import FloatArray

Rng = np.random.Generator

CACHE_FORMAT = 2  # part of the key: raise it when what is stored changes
BASE_RATE = 16000  # every clip is kept at this rate,
WIDE_RATE = 48000  # and at this one too when the file's own rate is above BASE_RATE
PEAK = 0.9  # peak of a stored clip: quiet files keep their resolution in int16
__getattr__ = renamed_names(__name__, {"Source": "CorpusSource"})


@dataclass(frozen=True)
class CachedClip:
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
    clips: list[CachedClip]
    maps: dict[int, NDArray[np.int16]] = field(
        default_factory=dict[int, NDArray[np.int16]], repr=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind: a worker process opens its own instead of copying them."""
        return {"cache": self.cache, "clips": self.clips, "maps": {}}

    def read(
        self, clip: CachedClip, rate: int, start: int = 0, length: int | None = None
    ) -> FloatArray:
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
        return from_int16(data)


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
            cache.mkdir(parents=True, exist_ok=True)
            # Runs that start together decode a folder once: the others wait for the first.
            with FileLock(cache / ".lock"):
                if not index.exists():
                    _fill(kind, root, files, home, label, advance)
        except OSError as error:
            raise SordinoError(
                f"{cache}: cannot write decoded audio there ({error.strerror}); name another cache"
            ) from error
    clips = [
        CachedClip(
            **entry
            | {"spans": {int(rate): tuple(span) for rate, span in entry["spans"].items()}}
            | {"events": tuple(tuple(event) for event in entry["events"])}
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
    work.mkdir(exist_ok=True)
    read = read_shards if files[0].suffix == ".tar" else read_files
    clips: list[CachedClip] = []
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
                    CachedClip(
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
        os.replace(work, home)
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


@dataclass(frozen=True)
class CorpusSource:
    """A folder of audio and how often it is drawn: its weight multiplies its share.

    `path` may be the address of a folder of tar shards in object storage, such as
    s3://bucket/shards/speech.
    """

    path: str
    weight: float = 1.0


@dataclass(frozen=True)
class CorpusConfig:
    """Where the training data lies: folders of audio, or of tar shards made of such folders.

    Speech files are named SPEAKER-anything, else their folder is the speaker; noise files
    CATEGORY or CATEGORY-anything.  A folder of pairs has the folders `noisy` and `clean`
    with files of equal names.
    """

    speech: tuple[CorpusSource, ...] = ()
    noise: tuple[CorpusSource, ...] = ()
    rirs: tuple[CorpusSource, ...] = ()
    pairs: tuple[CorpusSource, ...] = ()
    cache: str = "cache"  # folder for the decoded audio, about 0.2 GB per hour at 16 kHz
    speech_temper: float = 1.0  # a speaker's share is seconds ** this: 1 = by duration
    noise_temper: float = 0.5  # a category's share is seconds ** this: rare ones are heard
    noise_weights: dict[str, float] = field(default_factory=dict[str, float])
    """Categories, as patterns ("cat*"), that are drawn this many times as often; the first that
    matches counts."""
    unknown_speakers: tuple[str, ...] = ()  # labels that stand for many speakers, not for one

    def __post_init__(self) -> None:
        """Refuse weights by which nothing can be drawn."""
        for kind in ("speech", "noise", "rirs", "pairs"):
            sources: tuple[CorpusSource, ...] = getattr(self, kind)
            if sources:
                check_weights(f"data.{kind}", [(each.path, each.weight) for each in sources])
        check_weights("data.noise_weights", [*self.noise_weights.items(), ("the others", 1.0)])


class ClipPool:
    """Clips of one kind with the probability of each.

    Args:
        folders: decoded folders.
        weights: one per folder, multiplies the probability of its clips.
        temper: a label's share is its seconds to this power; within the label a clip's
            share is its seconds.
        label_weights: label, as a pattern, -> factor on its share; the first that matches counts.

    Raises:
        SordinoError: the weights leave nothing to draw.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        weights: Sequence[float],
        temper: float = 1.0,
        label_weights: Mapping[str, float] | None = None,
    ) -> None:
        self.folders = list(folders)
        self.clips = [clip for folder in folders for clip in folder.clips]
        self._home = [i for i, folder in enumerate(folders) for _ in folder.clips]
        seconds: dict[tuple[int, str], float] = defaultdict(float)
        for clip, home in zip(self.clips, self._home, strict=True):
            seconds[home, clip.label] += clip.seconds
        factor = {label: _factor(label, label_weights or {}) for _, label in seconds}
        share = np.array(
            [
                weights[home]
                * factor[clip.label]
                * clip.seconds
                * seconds[home, clip.label] ** (temper - 1)
                for clip, home in zip(self.clips, self._home, strict=True)
            ]
        )
        if not share.any():
            raise SordinoError(
                "recipe: data.noise_weights: all categories of the noise have weight 0: raise one"
            )
        wide = share * [WIDE_RATE in clip.spans for clip in self.clips]
        self._cumulative = np.cumsum(share) / share.sum()
        self._cumulative_wide = np.cumsum(wide) / wide.sum() if wide.sum() > 0 else None
        self.seconds = sum(clip.seconds for clip in self.clips)
        self._kin: dict[tuple[int, str], list[int]] = defaultdict(list)
        for number, clip in enumerate(self.clips):
            if clip.events:
                self._kin[self._home[number], clip.label].append(number)

    def __len__(self) -> int:
        return len(self.clips)

    def draw(self, rng: Rng, wide: bool = False) -> int:
        """Number of a random clip; `wide`: of those above 16 kHz, if there are any."""
        cumulative = self._cumulative
        if wide and self._cumulative_wide is not None:
            cumulative = self._cumulative_wide
        return int(min(np.searchsorted(cumulative, rng.random(), "right"), len(self.clips) - 1))

    def kin(self, number: int) -> list[int]:
        """Clips with events of the same folder and label as clip `number`."""
        return self._kin[self._home[number], self.clips[number].label]

    def read(
        self, number: int, sample_rate: int, start: float = 0.0, samples: int | None = None
    ) -> FloatArray:
        """`samples` samples at `sample_rate` from `start` seconds on; all when None.

        Returns shape `(samples,)`, for a pair `(2, samples)` (noisy, clean), zeros behind
        the clip's end.  Rates that the cache does not hold are resampled.
        """
        clip = self.clips[number]
        folder = self.folders[self._home[number]]
        base = WIDE_RATE if sample_rate > BASE_RATE and WIDE_RATE in clip.spans else BASE_RATE
        if samples is None:
            samples = int((clip.seconds - start) * sample_rate)
        length = -(-samples * base // sample_rate)
        x = folder.read(clip, base, int(start * base), length)
        if clip.channels == 1:
            return resample(x, base, sample_rate, samples)
        return np.stack([resample(channel, base, sample_rate, samples) for channel in x])


@dataclass(frozen=True)
class Corpus:
    """What the mixer draws from; a pool without clips is None."""

    speech: ClipPool | None = None
    noise: ClipPool | None = None
    rirs: ClipPool | None = None
    pairs: ClipPool | None = None

    @classmethod
    def open(cls, config: CorpusConfig, progress: bool = True) -> "Corpus":
        """Open the folders of `config`, decoding into the cache what is not there yet.

        Args:
            config: the folders.
            progress: show a progress bar while decoding.

        Raises:
            SordinoError: a folder is missing, holds no audio, or none that can be read.
        """
        cache = Path(config.cache).expanduser()
        plan = {
            "speech": _plan("speech", config.speech, cache),
            "noise": _plan("noise", config.noise, cache),
            "rir": _plan("rir", config.rirs, cache),
            "pair": _plan("pair", config.pairs, cache),
        }
        todo = sum(
            len(files)
            for kind, entries in plan.items()
            for root, files, _ in entries
            if not (cache / cache_key(kind, root, files) / "index.json").exists()
        )
        columns = (
            TextColumn("decoding"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, disable=not progress or todo == 0) as bar:
            task = bar.add_task("decoding", total=todo)

            def pool(
                kind: str, temper: float = 1.0, label_weights: Mapping[str, float] | None = None
            ) -> ClipPool | None:
                label = _speaker if kind == "speech" else _category
                folders = [
                    open_folder(kind, root, files, cache, label, lambda: bar.advance(task))
                    for root, files, _ in plan[kind]
                ]
                weights = [weight for *_, weight in plan[kind]]
                return ClipPool(folders, weights, temper, label_weights) if folders else None

            return cls(
                speech=pool("speech", config.speech_temper),
                noise=pool("noise", config.noise_temper, config.noise_weights),
                rirs=pool("rir"),
                pairs=pool("pair"),
            )


def _plan(
    kind: str, sources: Sequence[CorpusSource], cache: Path
) -> list[tuple[Path, list[Path], float]]:
    entries: list[tuple[Path, list[Path], float]] = []
    for source in sources:
        remote = "://" in source.path
        root = fetch_shards(source.path, cache) if remote else Path(source.path).expanduser()
        if not root.is_dir():
            raise SordinoError(f"{root}: no such folder; name a folder with {kind} audio")
        files = sorted(root.glob("*.tar"))
        halves = (root / "noisy", root / "clean")
        if kind == "pair" and not files and not all(half.is_dir() for half in halves):
            raise SordinoError(f"{root}: a folder of pairs needs the folders noisy and clean in it")
        files = files or audio_files(root)
        if not files:
            raise SordinoError(
                f"{root}: holds neither audio files (wav, flac, opus ...) nor tar shards"
            )
        entries.append((root, files, source.weight))
    return entries


def _factor(label: str, weights: Mapping[str, float]) -> float:
    return next((weight for pattern, weight in weights.items() if fnmatchcase(label, pattern)), 1.0)


def _speaker(path: Path) -> str:
    stem, dash, _ = path.stem.rpartition("-")
    return stem if dash else path.parent.name


def _category(path: Path) -> str:
    return path.stem.rpartition("-")[0] or path.stem
