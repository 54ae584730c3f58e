"""Files that appear only when they are complete."""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

try:
    import fcntl
except ImportError:  # Windows, where nobody can delete a file that is open
    fcntl = None

TEMPORARY = ".sordino-part"


@contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Give a temporary file beside `path`, which takes that name if all goes well.

    Missing folders are made.  The temporary file is locked for as long as its writer lives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{token_hex(8)}{TEMPORARY}"
    lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        if fcntl is None:
            os.close(lock)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if fcntl is not None:
            os.close(lock)


def remove_stale_parts(folders: Iterable[Path]) -> None:
    """Remove the temporary files of runs that were killed; those of living ones stay."""
    for folder in set(folders):
        for path in folder.glob(f".*{TEMPORARY}"):
            with suppress(OSError), path.open("rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            if fcntl is None:
                with suppress(OSError):
                    path.unlink()
