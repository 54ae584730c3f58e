"""What is known of the clips of a set beside their sound: META.csv.

Any CSV with a column that names the clip.  The columns for signal-to-noise ratio, noise and
speaker are those by which figures are broken down; ``transcript`` holds what is said.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sordino.errors import SordinoError
from sordino.evaluate.tables import read_table

FILE = "META.csv"
CLIP_COLUMNS = ("clip", "name", "file", "filename")
BREAKDOWNS = ("snr_db", "snr", "noise", "category", "noise_category", "speaker")
TRANSCRIPT, ROOM = "transcript", "room"
MOST_NUMBERS = 10  # more distinct numbers than these are gathered in bins
BIN = 5  # dB, for signal-to-noise ratios

Traits = Mapping[str, str]


def find_traits(folder: Path) -> Path | None:
    """Return META.csv of a set: in its folder, or beside it for several sets."""
    return next((p for p in (folder / FILE, folder.parent / FILE) if p.is_file()), None)


def read_traits(path: Path) -> dict[str, Traits]:
    """Return the columns of every clip by the clip's name without suffix.

    Raises:
        SordinoError: It cannot be read as CSV, or has no column that names the clip.
    """
    columns, rows = read_table(path)
    column = next((name for name in CLIP_COLUMNS if name in columns), None)
    if column is None:
        raise SordinoError(f"{path} has no column {' or '.join(CLIP_COLUMNS)}: add one.")
    return {_stem(row[column]): {k: v or "" for k, v in row.items()} for row in rows}


def breakdown_columns(traits: Sequence[Traits]) -> list[str]:
    """Name the columns by which these clips fall into groups, more than one and not all alone."""
    numbered = {str(index): each for index, each in enumerate(traits)}
    counts = {column: len(groups(numbered, column)) for column in BREAKDOWNS}
    return [column for column, count in counts.items() if 1 < count < len(traits)]


def groups(traits: Mapping[str, Traits], column: str) -> dict[str, list[str]]:
    """Gather clips by the value of a column, in the order of numbers or of the alphabet.

    Args:
        traits: By clip.
        column: Clips without a value in it are left out.

    Returns:
        Names of the clips by value; many different numbers are gathered in bins of 5.

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
    binned = len(set(numbers.values())) > MOST_NUMBERS
    for clip in sorted(numbers, key=lambda clip: (numbers[clip], clip)):
        low = BIN * (numbers[clip] // BIN)
        label = f"{low:g} to {low + BIN:g}" if binned else f"{numbers[clip]:g}"
        gathered.setdefault(label, []).append(clip)
    return gathered


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in {".wav", ".flac", ".ogg", ".opus", ".mp3"} else name
