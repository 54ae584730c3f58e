"""What is to be done on a cluster: inputs as people write them -> work, by addresses.

Local files get the names that `sordino.batch.plan` gives them, so that a run on a cluster writes
what a run on one machine would.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

from sordino.batch.plan import PIPE, Input, extension_of, is_recording, known_extension, plan
from sordino.cluster import storage
from sordino.errors import SordinoError
from sordino.io.atomic import is_special
from sordino.io.formats import EXTENSIONS, INPUT_EXTENSIONS

Kind = Literal["file", "tar", "parquet"]

_PLACE = "sordino-outputs-are-elsewhere"  # stands for an output folder that is not local


@dataclass(frozen=True)
class Work:
    """A file to denoise, or a shard or a table of recordings.

    Args:
        source, target: addresses.
        kind: "tar" holds recordings as members, "parquet" in a column.
        size: of the source in bytes; 0 if unknown.
        extension: format to write, such as "wav"; of what is inside a shard, empty for its own.
    """

    source: str
    target: str
    kind: Kind = "file"
    size: int = 0
    extension: str = ""

    @cached_property
    def id(self) -> str:
        """The same for the same addresses in every run."""
        return sha256(f"{self.source}\n{self.target}".encode(errors="surrogateescape")).hexdigest()[
            :20
        ]


def find_work(inputs: Sequence[str], output: str, extension: str | None = None) -> list[Work]:
    """Turn inputs into work.

    Args:
        inputs: files, folders or patterns, local or of a storage; web addresses; and shards
            (.tar) or tables (.parquet), which are named or found by a pattern.  They may have
            {000..127}.
        output: address of the folder for the outputs.
        extension: format to write; None keeps that of each recording.

    Raises:
        SordinoError: there is nothing to do, or two outputs would have one name, or an output is
            an input.
    """
    if extension is not None:
        extension = known_extension(extension)
    _check_folder(output)
    if any(given == str(PIPE) for given in inputs):
        raise SordinoError("standard input cannot go to a cluster: give files")
    inputs = [each for given in inputs for each in storage.unbraced(given)]
    shards = [given for given in inputs if _kind(given) != "file"]
    files = [given for given in inputs if _kind(given) == "file"]
    local = [given for given in files if not storage.scheme_of(given)]
    remote = [given for given in files if storage.scheme_of(given)]
    works = [*_local(local, output, extension), *_remote(remote, output, extension)]
    for given in shards:
        works += [
            Work(
                each.address,
                storage.joined(output, each.relative),
                _kind(each.address),
                each.size,
                extension or "",
            )
            for each in storage.expand(given, lambda name, g=given: _kind(name) == _kind(g))
        ]
    works = list({work.source: work for work in works}.values())
    _refuse_overwriting(works)
    return works


def _kind(address: str) -> Kind:
    ending = extension_of(Path(storage.name_of(address)))
    return "tar" if ending == "tar" else "parquet" if ending == "parquet" else "file"


def _check_folder(output: str) -> None:
    if storage.scheme_of(output) in ("http", "https"):
        raise SordinoError(f"-o {output}: nothing can be written to the web: give a storage")
    path = storage.local_path(output)
    ending = extension_of(Path(storage.name_of(output)))
    is_folder = output.endswith("/") or (path is not None and path.is_dir())
    is_file = path is not None and (path.is_file() or is_special(path))
    if is_file or (not is_folder and ending in (*INPUT_EXTENSIONS, "tar", "parquet")):
        raise SordinoError(f"-o {output} names a file: a cluster run needs a folder")


def _local(inputs: Sequence[str], output: str, extension: str | None) -> list[Work]:
    if not inputs:
        return []
    place = storage.local_path(output) or Path(_PLACE)
    paths = [str(storage.local_path(given)) for given in inputs]
    # An ending of / says that a folder is meant, whatever its name.
    jobs = plan(paths, f"{place}/", extension=extension)
    return [
        Work(
            str(job.source.absolute()),
            storage.joined(_absolute(output), job.target.relative_to(place).as_posix()),
            size=_size(job.source),
            extension=job.extension,
        )
        for job in jobs
    ]


def _remote(inputs: Sequence[str], output: str, extension: str | None) -> list[Work]:
    found = [each for given in inputs for each in storage.expand(given, _is_recording)]
    stems = Counter(each.relative.rpartition(".")[0] or each.relative for each in found)
    works: list[Work] = []
    for each in found:
        path = Path(each.relative)
        is_twin = stems[each.relative.rpartition(".")[0] or each.relative] > 1
        own = extension_of(path)
        ending = extension or (own if own in EXTENSIONS else "wav")
        name = Input(path, path, is_alone=False, is_twin=is_twin).named(f".{ending}")
        target = storage.joined(_absolute(output), name.as_posix())
        works.append(Work(each.address, target, size=each.size, extension=ending))
    return works


def _is_recording(address: str) -> bool:
    return is_recording(Path(storage.name_of(address)))


def _absolute(address: str) -> str:
    path = storage.local_path(address)
    return address if path is None else str(path.absolute())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # what is missing is reported when it is tried


def _refuse_overwriting(works: Iterable[Work]) -> None:
    writers: dict[str, Work] = {}
    sources = {work.source for work in works}
    for work in works:
        if work.target in sources:
            raise SordinoError(f"{work.target} is an input: give another folder with -o")
        if work.target in writers:
            raise SordinoError(
                f"{writers[work.target].source} and {work.source} would both be written to "
                f"{work.target}: denoise them one after the other, into different folders"
            )
        writers[work.target] = work
