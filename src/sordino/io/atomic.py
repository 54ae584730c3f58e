"""Files that appear only when they are complete, and what is said when they cannot."""

import errno
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from av.error import DecoderNotFoundError, FFmpegError, InvalidDataError

from sordino.errors import SordinoError

try:
    import fcntl
except ImportError:  # Windows, where nobody can delete a file that is open
    fcntl = None

TEMPORARY = ".sordino-part"

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def written_whole(path: Path) -> Generator[Path]:
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


def sweep(folders: Iterable[Path]) -> None:
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


def explain(error: Exception, source: str | Path, target: str | Path) -> str:
    """Say in one line what went wrong with a file and how to mend it."""
    if isinstance(error, SordinoError):
        return f"{source}: {error}"
    if isinstance(error, OSError):
        return _explain_system(error, source, target)
    if isinstance(error, InvalidDataError):
        return f"{source}: this is not audio or video, or it is damaged or cut short: copy it again"
    if isinstance(error, DecoderNotFoundError):
        return f"{source}: this installation of FFmpeg cannot decode it: convert it to wav first"
    if isinstance(error, FFmpegError):
        return f"{source}: FFmpeg cannot read it or write {target}: {error.strerror}"
    return f"{source}: {type(error).__name__}: {' '.join(str(error).split())}"


def _explain_system(error: OSError, source: str | Path, target: str | Path) -> str:
    if isinstance(error, BrokenPipeError):
        return f"{target}: the program that was reading it has ended"
    if error.errno in _FULL:
        return f"{target}: the disk is full, or the file larger than allowed: make room and go on"
    named = str(error.filename or "").removeprefix("file:")
    is_target = named.endswith(TEMPORARY) or Path(named) in (Path(target), Path(target).parent)
    if isinstance(error, FileNotFoundError) and not is_target:
        return f"{source}: there is no such file"
    path = target if is_target else Path(named or source)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        deed = "write here: choose another folder with -o" if is_target else "read it"
        return f"{path}: no permission to {deed}"
    return f"{path}: {error.strerror or error}"
