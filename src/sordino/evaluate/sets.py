"""A folder of clips, scored: `evaluate_set`, and the walk over it that reports progress."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

from sordino.errors import SordinoError
from sordino.evaluate.metrics import Signal
from sordino.evaluate.score import FAST, Row, check_metrics, score

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})

Enhancer = Callable[[Signal, int], Signal]  # (noisy, sample rate in Hz) -> estimate


@dataclass(frozen=True)
class Clip:
    """One file of a set; `clean` is None where the set has no references."""

    name: str
    noisy: Path
    clean: Path | None


class Result(NamedTuple):
    """What became of a clip: its figures, or the reason why there are none."""

    clip: Clip
    row: Row
    error: str = ""


def evaluate_set(
    folder: Path | str,
    enhancer: Enhancer,
    *,
    metrics: Collection[str] = FAST,
    limit: int | None = None,
    jobs: int = 1,
) -> dict[str, Row]:
    """Score any callable on a folder with ``noisy/`` and, if there are references, ``clean/``.

    Args:
        folder: The set; pairs have one file name.
        enhancer: Called here, in this process, with a mono clip and its rate in Hz.
        metrics: Names out of `sordino.evaluate.score.MEASURES`.
        limit: Only the first so many clips, by name.
        jobs: Processes that score while this one enhances.

    Returns:
        For every clip its figures, by file name without suffix.  `means` condenses them.

    Raises:
        SordinoError: An unusable folder or clip.
    """
    results = list(walk(find_clips(folder, limit), enhancer, metrics, jobs))
    for result in results:
        if result.error:
            raise SordinoError(result.error)
    return {result.clip.name: result.row for result in results}


def means(rows: dict[str, Row]) -> Row:
    """Mean of every measure over the clips where it is defined."""
    columns: dict[str, list[float]] = {}
    for row in rows.values():
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    finite = {name: [v for v in values if np.isfinite(v)] for name, values in columns.items()}
    return {name: float(np.mean(v)) if v else float("nan") for name, v in finite.items()}


def find_clips(folder: Path | str, limit: int | None = None) -> list[Clip]:
    """List the clips of a set by name.

    Raises:
        SordinoError: No ``noisy/`` folder, no audio in it, or a clip without its reference.
    """
    folder = Path(folder)
    noisy = audio_files(folder / "noisy")
    clean = audio_files(folder / "clean") if (folder / "clean").is_dir() else None
    if clean is not None and (lone := sorted(noisy.keys() - clean.keys())):
        raise SordinoError(f"{noisy[lone[0]]} has no file of its name in {folder / 'clean'}.")
    return [
        Clip(name, noisy[name], clean[name] if clean is not None else None)
        for name in sorted(noisy)[:limit]
    ]


def audio_files(folder: Path) -> dict[str, Path]:
    """Audio files of a folder by name without suffix.

    Raises:
        SordinoError: It is no folder, holds no audio, or two files of one name.
    """
    if not folder.is_dir():
        raise SordinoError(f"There is no folder {folder}; a set has noisy/ and clean/ in it.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise SordinoError(f"{path} and {found[path.stem].name} have one name; keep one.")
        found[path.stem] = path
    if not found:
        raise SordinoError(f"{folder} holds no audio ({', '.join(sorted(SUFFIXES))}).")
    return found


def read_mono(path: Path) -> tuple[Signal, int]:
    """Read a file as the mean of its channels, float32, and its rate in Hz.

    Raises:
        SordinoError: It cannot be read, or holds no samples.
    """
    try:
        x, rate = sf.read(path, dtype="float32", always_2d=True)
    except (sf.SoundFileError, OSError) as error:
        raise SordinoError(f"{path} cannot be read as audio: {error}") from error
    if not len(x):
        raise SordinoError(f"{path} holds no samples.")
    return x.mean(axis=1), rate


def walk(
    clips: Collection[Clip], enhancer: Enhancer, metrics: Collection[str] = FAST, jobs: int = 1
) -> Iterator[Result]:
    """Enhance and score clip after clip, in order; a bad clip gives a `Result` with an error.

    The enhancer runs here, so it need not be picklable; scoring, which costs far more than
    a small network, is shared among `jobs` processes.
    """
    check_metrics(metrics)
    if jobs == 1:
        for clip in clips:
            yield _finish(clip, lambda clip=clip: score(*_signals(clip, enhancer), metrics))
        return
    # A fresh interpreter per process: forking one that runs threads can lock up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting: deque[tuple[Clip, Future[Row]]] = deque()
        for clip in clips:
            if len(waiting) > 2 * jobs:  # signals ahead of the scorers are only memory
                first, future = waiting.popleft()
                yield _finish(first, future.result)
            try:
                future = pool.submit(score, *_signals(clip, enhancer), metrics)
            except SordinoError as error:
                future = Future[Row]()
                future.set_exception(error)
            waiting.append((clip, future))
        for clip, future in waiting:
            yield _finish(clip, future.result)


def _signals(clip: Clip, enhancer: Enhancer) -> tuple[Signal | None, Signal, Signal, int]:
    noisy, rate = read_mono(clip.noisy)
    clean = None
    if clip.clean is not None:
        clean, clean_rate = read_mono(clip.clean)
        if clean_rate != rate:
            raise SordinoError(f"the clean file has {clean_rate} Hz and the noisy one {rate} Hz")
    return clean, noisy, enhancer(noisy, rate), rate


def _finish(clip: Clip, work: Callable[[], Row]) -> Result:
    try:
        return Result(clip, work())
    except SordinoError as error:
        return Result(clip, {}, f"{clip.noisy.name}: {error}")
