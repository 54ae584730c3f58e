"""Sets on disk: a folder with ``noisy/`` and, if there are references, ``clean/``."""

from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

from sordino.errors import SordinoError
from sordino.evaluate.metrics import Signal

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})


@dataclass(frozen=True)
class Clip:
    """One file of a set; `clean` is None where the set has no references."""

    name: str
    noisy: Path
    clean: Path | None

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


def find_clips(folder: Path | str, limit: int | None = None) -> list[Clip]:
    """List the first `limit` clips of a set, by name.

    Raises:
        SordinoError: No ``noisy/`` folder, no audio in it, or a clip without its reference.
    """
    folder = Path(folder)
    if not (folder / "noisy").is_dir():
        raise SordinoError(f"{folder} is no set: it has no folder noisy/ (and clean/ beside it).")
    noisy = audio_files(folder / "noisy")
    if not (folder / "clean").is_dir():
        return [Clip(name, path, None) for name, path in list(noisy.items())[:limit]]
    clean = audio_files(folder / "clean")
    if lone := sorted(noisy.keys() - clean.keys()):
        raise SordinoError(f"{noisy[lone[0]]} has no file of its name in {folder / 'clean'}.")
    return [Clip(name, path, clean[name]) for name, path in list(noisy.items())[:limit]]


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
