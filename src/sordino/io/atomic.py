"""Files that appear only when they are complete."""

import os
import stat
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

    Missing folders are made, and removed again if it does not go well.  The temporary file is
    locked for as long as its writer lives.  A device such as /dev/null is written itself.
    """
    if is_special(path):
        yield path
        return
    folders = [each for each in (path.parent, *path.parent.parents) if not os.path.exists(each)]
    temporary = path.parent / f".{token_hex(8)}{TEMPORARY}"
    lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            os.close(lock)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        for folder in folders:
            with suppress(OSError):  # another file is in it
                folder.rmdir()
        raise
    finally:
        if fcntl is not None and lock is not None:
            os.close(lock)


def is_special(path: Path) -> bool:
    """Tell pipes and devices (/dev/null, /dev/stdin, <(command)) from files and folders."""
    with suppress(OSError):
        mode = path.stat().st_mode
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return False


def remove_stale_parts(folders: Iterable[Path]) -> None:
    """Remove the temporary files of runs that were killed; those of living ones stay."""
    for folder in set(folders):
        stale: list[Path] = []
        with suppress(OSError):
            stale = list(folder.glob(f".*{TEMPORARY}"))
        for path in stale:
            with suppress(OSError), path.open("rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            if fcntl is None:
                with suppress(OSError):
                    path.unlink()
