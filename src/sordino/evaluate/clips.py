"""Sets on disk: ``noisy/`` and, if there are references, ``clean/``; or a folder of recordings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import soundfile as sf

from sordino.errors import SordinoError
from sordino.evaluate.metrics import Signal
from sordino.evaluate.traits import Traits, find_traits, read_traits

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})


@dataclass(frozen=True)
class Clip:
    """One file of a set.

    Args:
        name: File name without suffix.
        noisy: The recording.
        clean: Its reference; None where the set has none.
        traits: What META.csv says of it, by column.
    """

    name: str
    noisy: Path
    clean: Path | None
    traits: Traits = field(default_factory=dict[str, str])

    def read(self) -> tuple[Signal | None, Signal, int]:
        """Read the clean and the noisy signal, mono, and their rate in Hz.

        Raises:
            SordinoError: One cannot be read, or they are not of one rate.
        """
        noisy, rate = read_mono(self.noisy)
        if self.clean is None:
            return None, noisy, rate
        clean, clean_rate = read_mono(self.clean)
        if clean_rate != rate:
            raise SordinoError(f"the clean file has {clean_rate} Hz and the noisy one {rate} Hz")
        return clean, noisy, rate


def find_clips(
    folder: Path | str, limit: int | None = None, traits: Path | None = None
) -> list[Clip]:
    """List the first `limit` clips of a set, by name.

    Args:
        folder: With ``noisy/`` and perhaps ``clean/``, or with noisy recordings themselves.
        limit: None for all.
        traits: A CSV with a column that names the clip; META.csv in the folder or the one
            above by default.

    Raises:
        SordinoError: No audio, a clip without its reference, an unusable CSV.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SordinoError(f"There is no folder {folder}.")
    noisy = audio_files(folder / "noisy" if (folder / "noisy").is_dir() else folder)
    clean: Mapping[str, Path] = {}
    if (folder / "noisy").is_dir() and (folder / "clean").is_dir():
        clean = audio_files(folder / "clean")
        if lone := sorted(noisy.keys() - clean.keys()):
            raise SordinoError(f"{noisy[lone[0]]} has no file of its name in {folder / 'clean'}.")
    table = traits or find_traits(folder.resolve())
    known = read_traits(table) if table else {}
    return [
        Clip(name, path, clean.get(name), known.get(name, {}))
        for name, path in list(noisy.items())[:limit]
    ]


def audio_files(folder: Path) -> dict[str, Path]:
    """List the audio files of a folder in order of their name without suffix.

    Raises:
        SordinoError: It is no folder, holds no audio, or holds two files of one name.
    """
    if not folder.is_dir():
        raise SordinoError(f"There is no folder {folder}.")
    found: dict[str, Path] = {}
    for path in folder.iterdir():
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise SordinoError(f"{path} and {found[path.stem].name} have one name; keep one.")
        found[path.stem] = path
    if not found:
        raise SordinoError(f"{folder} holds no audio ({', '.join(sorted(SUFFIXES))}).")
    return dict(sorted(found.items()))


def read_mono(path: Path) -> tuple[Signal, int]:
    """Read a file as the mean of its channels, float32, and its rate in Hz.

    Raises:
        SordinoError: It cannot be read, or holds no samples.
    """
    try:
        x, rate = sf.read(path, dtype="float32", always_2d=True)
    except (sf.SoundFileError, OSError) as error:
        raise SordinoError(f"{path} cannot be read as audio; it may be damaged.") from error
    if not len(x):
        raise SordinoError(f"{path} holds no samples.")
    return x.mean(axis=1), rate
