"""What an output was made from and how, kept with the file where the system can.

The note is an extended attribute of the file (`user.sordino`), which Linux keeps beside its
content; nothing in the sound changes.  Without it, an output that is there counts as done.
"""

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sordino.batch.plan import PIPE, Job
from sordino.io.atomic import is_special

_ATTRIBUTE = "user.sordino"


class Origin(NamedTuple):
    """Where an output comes from."""

    source: str
    """Absolute path of the recording; only its hash is kept."""
    options: str
    """In words."""


def is_there(job: Job) -> bool:
    """Whether the target of a job exists already."""
    return job.target != PIPE and os.path.exists(job.target) and not is_special(job.target)


def write_origin(target: Path, origin: Origin) -> None:
    """Note where a file that is being written comes from."""
    if hasattr(os, "setxattr"):
        note = json.dumps(origin._replace(source=_hash(origin.source)))
        with suppress(OSError):
            os.setxattr(target, _ATTRIBUTE, note.encode())


def read_origin(target: Path) -> Origin | None:
    """Return where a file comes from, with the hash of its source; None if unknown."""
    if hasattr(os, "getxattr"):
        with suppress(OSError, ValueError, TypeError):
            return Origin(*json.loads(os.getxattr(target, _ATTRIBUTE)))
    return None


def same_source(made: Origin, now: Origin) -> bool:
    """Whether both come from the same recording; only the first has been read."""
    return made.source == _hash(now.source)


def _hash(path: str) -> str:
    return sha256(os.fsencode(path)).hexdigest()[:16]
