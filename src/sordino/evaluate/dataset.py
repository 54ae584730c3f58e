"""Sets of clips on disk: ``noisy/``, ``clean/`` if there are references, and META.csv.

META.csv is any CSV with a column that names the clip.  The columns for SNR, noise and speaker make
groups in reports, ``transcript`` holds the spoken words, and ``part`` tells parts of a set apart
that are measured differently: ``mixture`` (the default), ``clean`` (nothing to remove), ``noise``
(nothing to keep) and ``high-voice`` (does the voice survive?).
"""

# No types: soundfile.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import soundfile as sf

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.evaluate.results import read_table

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})
META = "META.csv"
CLIP_COLUMNS = ("clip", "name", "file", "filename")
GROUP_COLUMNS = ("snr_db", "snr", "noise", "category", "noise_category", "speaker")
TRANSCRIPT, ROOM, PART = "transcript", "room", "part"
MIXTURE, CLEAN, NOISE, HIGH_VOICE = PARTS = ("mixture", "clean", "noise", "high-voice")
MAX_NUMBERS = 10  # more distinct numbers than these are binned
BIN_DB = 5

Traits = Mapping[str, str]
"""Columns of META.csv for one clip."""


@dataclass(frozen=True)
class Clip:
    """One clip of a set.

    Args:
        name: File name without suffix.
        noisy: The recording.
        clean: Its reference; None where the set has none.
        traits: Its columns of META.csv.
    """

    name: str
    noisy: Path
    clean: Path | None
    traits: Traits = field(default_factory=dict[str, str])

    @property
    def part(self) -> str:
        """Part of the set that it belongs to, out of `PARTS`."""
        return self.traits.get(PART) or MIXTURE

    def read(self) -> tuple[Mono | None, Mono, int]:
        """Read the clean and the noisy signal and their sample rate in Hz.

        Raises:
            SordinoError: A file cannot be read, or the rates differ.
        """
        noisy, rate = read_mono(self.noisy)
        if self.clean is None:
            return None, noisy, rate
        clean, clean_rate = read_mono(self.clean)
        if clean_rate != rate:
            raise SordinoError(f"the clean file has {clean_rate} Hz and the noisy one {rate} Hz")
        return clean, noisy, rate


def find_clips(
    folder: Path | str, limit: int | None = None, meta: Path | None = None
) -> list[Clip]:
    """List the first `limit` clips of a set, by name.

    Args:
        folder: With ``noisy/`` and perhaps ``clean/``, or with noisy recordings themselves.
        limit: None for all.
        meta: A CSV that describes the clips; by default META.csv in the folder or its parent.

    Raises:
        SordinoError: No audio, a clip without its reference, an unusable CSV.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SordinoError(f"There is no folder {folder}.")
    noisy = audio_files(folder / "noisy" if (folder / "noisy").is_dir() else folder)
    table = meta or _find_meta(folder.resolve())
    known = read_meta(table) if table else {}
    clean: Mapping[str, Path] = {}
    if (folder / "noisy").is_dir() and (folder / "clean").is_dir():
        clean = audio_files(folder / "clean")
        for name in noisy.keys() - clean.keys():
            if known.get(name, {}).get(PART) != NOISE:  # noise alone has no reference
                raise SordinoError(f"{noisy[name]} has no file of its name in {folder / 'clean'}.")
    clips = [
        Clip(name, path, clean.get(name), known.get(name, {}))
        for name, path in list(noisy.items())[:limit]
    ]
    if strange := [clip for clip in clips if clip.part not in PARTS]:
        raise SordinoError(
            f"{table}: the part of {strange[0].name} is {strange[0].part!r}: "
            f"expected {', '.join(PARTS)}."
        )
    return clips


def audio_files(folder: Path) -> dict[str, Path]:
    """List the audio files of a folder by name without suffix, sorted.

    Raises:
        SordinoError: It is no folder, holds no audio, or holds two files of one name.
    """
    if not folder.is_dir():
        raise SordinoError(f"There is no folder {folder}.")
    found: dict[str, Path] = {}
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise SordinoError(f"{folder} cannot be read: {error.strerror or error}.") from error
    for path in paths:
        if path.stem in found:
            raise SordinoError(f"{path} and {found[path.stem].name} have one name; keep one.")
        found[path.stem] = path
    if not found:
        raise SordinoError(f"{folder} holds no audio ({', '.join(sorted(SUFFIXES))}).")
    return dict(sorted(found.items()))


def read_mono(path: Path) -> tuple[Mono, int]:
    """Read a file as the mean of its channels, shape = (samples,), and its rate in Hz.

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


def read_meta(path: Path) -> dict[str, Traits]:
    """Return the columns of every clip by the clip's name without suffix.

    Raises:
        SordinoError: It cannot be read as CSV, or has no column that names the clip.
    """
    columns, rows = read_table(path)
    column = next((name for name in CLIP_COLUMNS if name in columns), None)
    if column is None:
        raise SordinoError(f"{path} has no column {' or '.join(CLIP_COLUMNS)}: add one.")
    return {_stem(row[column] or ""): {k: v or "" for k, v in row.items()} for row in rows}


def group_columns(traits: Sequence[Traits]) -> list[str]:
    """Return the columns that split these clips into several groups, not all of one clip."""
    numbered = {str(index): each for index, each in enumerate(traits)}
    counts = {column: len(groups(numbered, column)) for column in GROUP_COLUMNS}
    return [column for column, count in counts.items() if 1 < count < len(traits)]


def groups(traits: Mapping[str, Traits], column: str) -> dict[str, list[str]]:
    """Group clips by the value of a column, in numeric or else alphabetic order.

    Args:
        traits: By clip.
        column: Clips without a value in it are left out.

    Returns:
        Names of the clips by value; more than 10 different numbers are binned by 5.

    >>> groups({"a": {"snr": "10"}, "b": {"snr": "5.0"}, "c": {"snr": "10.0"}}, "snr")
    {'5': ['b'], '10': ['a', 'c']}
    """
    values = {clip: each[column] for clip, each in traits.items() if each.get(column)}
    gathered: dict[str, list[str]] = {}
    try:
        numbers = {clip: float(value) for clip, value in values.items()}
    except ValueError:
        for clip in sorted(values, key=lambda clip: (values[clip], clip)):
            gathered.setdefault(values[clip], []).append(clip)
        return gathered
    binned = len(set(numbers.values())) > MAX_NUMBERS
    for clip in sorted(numbers, key=lambda clip: (numbers[clip], clip)):
        low = BIN_DB * (numbers[clip] // BIN_DB)
        label = f"{low:g} to {low + BIN_DB:g}" if binned else f"{numbers[clip]:g}"
        gathered.setdefault(label, []).append(clip)
    return gathered


def _find_meta(folder: Path) -> Path | None:
    """Return META.csv of a set: in its folder, or in the parent for several sets."""
    return next((p for p in (folder / META, folder.parent / META) if p.is_file()), None)


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name
