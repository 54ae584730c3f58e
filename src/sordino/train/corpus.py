"""The corpus: pools of speech, noise, rooms and pairs to draw excerpts from."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sordino.errors import SordinoError
from sordino.train.clips import BASE_RATE, WIDE_RATE, Folder, cache_key, open_folder
from sordino.train.decoding import audio_files, resample
from sordino.train.levels import FloatArray

Rng = np.random.Generator


@dataclass(frozen=True)
class Source:
    """A folder of audio and how much of it is heard: its weight multiplies its share."""

    path: str
    weight: float = 1.0


@dataclass(frozen=True)
class CorpusConfig:
    """Where the training data lies: folders of audio, or of tar shards made of such folders.

    Speech files are named SPEAKER-anything, else their folder is the speaker; noise files
    CATEGORY or CATEGORY-anything.  A folder of pairs has the folders `noisy` and `clean`
    with files of equal names.
    """

    speech: tuple[Source, ...] = ()
    noise: tuple[Source, ...] = ()
    rirs: tuple[Source, ...] = ()
    pairs: tuple[Source, ...] = ()
    cache: str = "cache"  # folder for the decoded audio, about 0.2 GB per hour at 16 kHz
    speech_temper: float = 1.0  # a speaker's share is seconds ** this: 1 = by duration
    noise_temper: float = 0.5  # a category's share is seconds ** this: rare ones are heard


class Pool:
    """Clips of one kind with the probability of each.

    Args:
        folders: decoded folders.
        weights: one per folder, multiplies the probability of its clips.
        temper: a label's share is its seconds to this power; within the label a clip's
            share is its seconds.
    """

    def __init__(self, folders: Sequence[Folder], weights: Sequence[float], temper: float = 1.0):
        self.folders = list(folders)
        self.clips = [clip for folder in folders for clip in folder.clips]
        self._home = [i for i, folder in enumerate(folders) for _ in folder.clips]
        seconds: dict[tuple[int, str], float] = defaultdict(float)
        for clip, home in zip(self.clips, self._home, strict=True):
            seconds[home, clip.label] += clip.seconds
        share = np.array(
            [
                weights[home] * clip.seconds * seconds[home, clip.label] ** (temper - 1)
                for clip, home in zip(self.clips, self._home, strict=True)
            ]
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

    speech: Pool | None = None
    noise: Pool | None = None
    rirs: Pool | None = None
    pairs: Pool | None = None

    @classmethod
    def open(cls, config: CorpusConfig, progress: bool = True) -> "Corpus":
        """Open the folders of `config`, decoding into the cache what is not there yet.

        Args:
            config: the folders.
            progress: show a progress bar while decoding.

        Raises:
            SordinoError: a folder is missing, holds no audio, or none that can be read.
        """
        plan = {
            "speech": _plan("speech", config.speech),
            "noise": _plan("noise", config.noise),
            "rir": _plan("rir", config.rirs),
            "pair": _plan("pair", config.pairs),
        }
        cache = Path(config.cache).expanduser()
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

            def pool(kind: str, temper: float = 1.0) -> Pool | None:
                label = _speaker if kind == "speech" else _category
                folders = [
                    open_folder(kind, root, files, cache, label, lambda: bar.advance(task))
                    for root, files, _ in plan[kind]
                ]
                weights = [weight for *_, weight in plan[kind]]
                return Pool(folders, weights, temper) if folders else None

            return cls(
                speech=pool("speech", config.speech_temper),
                noise=pool("noise", config.noise_temper),
                rirs=pool("rir"),
                pairs=pool("pair"),
            )


def _plan(kind: str, sources: Sequence[Source]) -> list[tuple[Path, list[Path], float]]:
    entries: list[tuple[Path, list[Path], float]] = []
    for source in sources:
        root = Path(source.path).expanduser()
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


def _speaker(path: Path) -> str:
    stem, dash, _ = path.stem.rpartition("-")
    return stem if dash else path.parent.name


def _category(path: Path) -> str:
    return path.stem.rpartition("-")[0] or path.stem
