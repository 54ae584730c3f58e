"""Bundled recordings: noisy speech, its clean references, and clips to train `tiny` on.

>>> from sordino import examples
>>> examples.names()
['cafe_16k', 'music_44k', 'office_48k', 'phone_8k']
>>> examples.path("office_48k").name
'office_48k.flac'
"""

from pathlib import Path
from typing import Literal

from sordino.errors import SordinoError

FOLDER = Path(__file__).parent
"""Holds `noisy/`, `clean/` (same file names) and `train/{speech,noise,rir}/`."""


def names() -> list[str]:
    """Return the names of the noisy recordings, in alphabetical order."""
    return sorted(file.stem for file in (FOLDER / "noisy").glob("*.flac"))


def path(name: str, kind: Literal["noisy", "clean"] = "noisy") -> Path:
    """Return the file of a bundled recording.

    Args:
        name: one of `names()`.
        kind: "noisy" for the recording, "clean" for the speech in it alone, aligned to the
            sample and at its level in the recording.

    Raises:
        SordinoError: there is no such recording.
    """
    file = FOLDER / kind / f"{name}.flac"
    if not file.is_file():
        raise SordinoError(f"no bundled recording {name!r}; there are: {', '.join(names())}")
    return file
