"""The plan of a batch: inputs as people write them -> jobs, and which of those are done already."""

import glob
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sordino.errors import SordinoError, with_whole_addresses
from sordino.io.atomic import is_special
from sordino.io.formats import EXTENSIONS, INPUT_EXTENSIONS, RAW_ENCODINGS, VIDEOS, RawFormat

PIPE = Path("-")
"""Stands for standard input or output."""

CLEAN, NOISE = ".clean", ".noise"
"""What a name gets before its extension when the output lies beside the input."""

_MAGIC = "*?["
_ATTRIBUTE = "user.sordino"  # extended attribute of an output, with its `Origin`


@dataclass(frozen=True)
class Job:
    """One file to denoise.

    Args:
        source: file to read, or `PIPE`.
        target: file to write, or `PIPE`.
        extension: format to write, such as "wav".
        noise: file for the noise that was removed, or None.
        picture: PNG of spectrograms, or None.
        raw: how headerless samples lie in the source; None if it has a header.
        raw_target: whether the target is written without a header too.
    """

    source: Path
    target: Path
    extension: str
    noise: Path | None = None
    picture: Path | None = None
    raw: RawFormat | None = None
    raw_target: bool = False

    @property
    def source_name(self) -> str:
        """Name of the source in messages."""
        return "standard input" if self.source == PIPE else with_whole_addresses(str(self.source))

    @property
    def target_name(self) -> str:
        """Name of the target in messages."""
        return "standard output" if self.target == PIPE else str(self.target)

    @property
    def target_exists(self) -> bool:
        """Whether the file to write exists already."""
        return self.target != PIPE and os.path.exists(self.target) and not is_special(self.target)

    @property
    def outputs(self) -> list[Path]:
        """All files that will be written."""
        paths = (self.target, self.noise, self.picture)
        given = [path for path in paths if path is not None and path != PIPE]
        return [path for path in given if not is_special(path)]


def plan(
    inputs: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    noise_out: str | Path | None = None,
    plot: str | Path | None = None,
    extension: str | None = None,
    raw: RawFormat | None = None,
) -> list[Job]:
    """Turn inputs into jobs.  Nothing is read or written yet, and a file may turn out missing.

    Args:
        inputs: files, folders (searched with all that is below them), glob patterns, or "-".
        output: a file, a folder (the tree of an input folder is kept in it), or "-"; None
            writes NAME.clean.EXT beside each input.
        noise_out: a file or folder for the noise that was removed.
        plot: a PNG file or a folder for pictures.
        extension: format to write; None keeps that of the input.
        raw: the inputs have no header but are samples like this.

    Raises:
        SordinoError: an output would overwrite an input or another output, or is an option
            that followed one without a value, or a format does not exist, or there is nothing
            to do.

    >>> plan(["talk.mp3"])[0].target.name
    'talk.clean.mp3'
    >>> plan(["talk.mp3"], "cleaned/", extension="wav")[0].target.as_posix()
    'cleaned/talk.wav'
    """
    if extension is not None:
        extension = known_extension(extension)
    if raw is not None and raw.encoding not in RAW_ENCODINGS:
        choice = ", ".join(RAW_ENCODINGS)
        raise SordinoError(f"no samples are called {raw.encoding!r}: choose one of {choice}")
    for name, path in (("-o", output), ("--noise-out", noise_out), ("--plot", plot)):
        if str(path).startswith("-") and Path(str(path)) != PIPE:
            raise SordinoError(
                f"{name} needs a path before {path}: ./{path} if a file is to be called so"
            )
    folders = [Path(each) for each in (output, noise_out, plot) if each is not None]
    found = _unique(each for given in inputs for each in _expand(str(given), folders))
    found = _without_own(found)
    single = len(found) == 1 and found[0].is_alone
    for name, path in (("-o", output), ("--noise-out", noise_out), ("--plot", plot)):
        if not single and path is not None and _names_file(path):
            raise SordinoError(
                f"{name} {path} names one file for {len(found)} inputs: name a folder, or end it "
                "with / if a folder is to be called so"
            )
    stems = Counter(each.relative.with_suffix("") for each in found)
    beside = _Siblings()
    found = [
        replace(each, is_twin=stems[each.relative.with_suffix("")] > 1 or beside.has_twin(each))
        for each in found
    ]
    jobs = [_job(each, single, output, noise_out, plot, extension, raw) for each in found]
    if sum(job.target == PIPE for job in jobs) > 1:
        raise SordinoError("several files cannot go to one pipe: give a folder with -o")
    _refuse_overwriting(jobs)
    return jobs


@dataclass(frozen=True)
class Input:
    """A file that was found.

    Args:
        path: of it.
        relative: the same below the folder that was given.
        is_alone: it was named by itself, not found in a folder or by a pattern.
        is_twin: another recording has the same name with another extension.
    """

    path: Path
    relative: Path
    is_alone: bool
    is_twin: bool = False

    def named(self, ending: str) -> Path:
        """Return the relative path with another ending, such as ".noise.wav"."""
        keeps_extension = self.is_twin and not ending.endswith(self.path.suffix.lower())
        name = self.relative.name if keeps_extension else self.relative.stem
        return self.relative.with_name((name + ending).rstrip("."))


class _Siblings:
    """The recordings that lie beside inputs, so that names do not depend on what else is named."""

    def __init__(self) -> None:
        self._stems: dict[Path, Counter[str]] = {}

    def has_twin(self, given: Input) -> bool:
        if given.path == PIPE:
            return False
        folder = given.path.parent
        if folder not in self._stems:
            names: list[str] = []
            with suppress(OSError):
                names = os.listdir(folder)
            paths = [Path(name) for name in names]
            self._stems[folder] = Counter(each.stem for each in paths if is_recording(each))
        return self._stems[folder][given.path.stem] > is_recording(given.path)


def _without_own(inputs: list[Input]) -> list[Input]:
    """Leave out what an earlier run made of the other inputs, as a shell's *.wav includes it."""
    stems = {each.path.with_suffix("") for each in inputs}

    def is_made(path: Path) -> bool:
        stem = path.stem
        made = [stem.removesuffix(each) for each in (CLEAN, NOISE) if stem.endswith(each)]
        # a.wav.clean.flac was made of a.wav, a.clean.wav of any a
        return any(
            path.with_name(name) in stems or path.with_name(name).with_suffix("") in stems
            for name in made
        )

    return [each for each in inputs if each.path == PIPE or not is_made(each.path)]


def _names_file(output: str | Path) -> bool:
    is_folder = str(output).endswith(("/", os.sep)) or os.path.isdir(output)
    path = Path(output)
    has_ending = extension_of(path) in (*INPUT_EXTENSIONS, "png")
    return path != PIPE and not is_folder and (has_ending or is_special(path))


def _expand(given: str, outputs: Sequence[Path]) -> Iterator[Input]:
    path = Path(given)
    if path == PIPE:
        yield Input(PIPE, Path("stdin"), True)
    elif os.path.isdir(path):
        found = sorted(_search(path, outputs))
        if not found:
            raise SordinoError(f"{path}: no audio or video files in this folder")
        yield from (Input(each, each.relative_to(path), False) for each in found)
    elif not os.path.exists(path) and any(sign in given for sign in _MAGIC):
        matches = sorted(Path(each) for each in glob.glob(given, recursive=True))
        if not matches:
            raise SordinoError(f"{given}: no file has such a name")
        parts = Path(given).parts
        fixed = next(i for i, part in enumerate(parts) if any(sign in part for sign in _MAGIC))
        base = Path(*parts[:fixed])
        for match in matches:
            if match.is_dir():
                for each in sorted(_search(match, outputs)):
                    yield Input(each, each.relative_to(base), False)
            elif _is_wanted(match, given):
                yield Input(match, match.relative_to(base), False)
    else:
        yield Input(path, Path(path.name), True)


def _unique(inputs: Iterable[Input]) -> list[Input]:
    """Leave out what was named twice, for instance by itself and by its folder."""
    first: dict[str, Input] = {}
    for each in inputs:
        first.setdefault(os.path.realpath(each.path), each)
    return list(first.values())


def _search(folder: Path, outputs: Sequence[Path]) -> Iterator[Path]:
    skipped = {path.resolve() for path in outputs}
    for name, folders, files in os.walk(folder):
        inside = Path(name)
        folders[:] = [
            each
            for each in folders
            if not each.startswith(".") and (inside / each).resolve() not in skipped
        ]
        yield from (inside / each for each in files if is_recording(inside / each))


def _is_wanted(match: Path, pattern: str) -> bool:
    """Leave out what an earlier run wrote, unless the pattern names it (*.clean.wav)."""
    if "**" in pattern and not is_recording(match):
        return False
    names_ours = any(each in Path(pattern).name for each in (CLEAN, NOISE))
    return names_ours or not match.stem.endswith((CLEAN, NOISE))


def is_recording(path: Path) -> bool:
    """Tell recordings from hidden files and from what an earlier run wrote beside them."""
    is_ours = path.stem.endswith((CLEAN, NOISE))
    return extension_of(path) in INPUT_EXTENSIONS and not path.name.startswith(".") and not is_ours


def _job(
    given: Input,
    single: bool,
    output: str | Path | None,
    noise_out: str | Path | None,
    plot: str | Path | None,
    extension: str | None,
    raw: RawFormat | None,
) -> Job:
    is_file = output is not None and single and not _is_folder(output)
    ending = extension
    named = extension_of(Path(output)) if is_file and output is not None else ""
    if ending is None and named and (raw is None or named in EXTENSIONS):
        ending = known_extension(named)
    raw_target = raw is not None and ending is None
    is_stream = output is not None and (Path(output) == PIPE or is_special(Path(output)))
    if ending is None and is_stream and not raw_target:
        ending = "wav"
    if ending is None:
        own = extension_of(given.path)
        ending = own if own in EXTENSIONS or raw_target else "wav"
    sound = "wav" if ending in VIDEOS or ending not in EXTENSIONS else ending
    if output is None:
        beside = given.named(f"{CLEAN}.{ending}").name
        target = PIPE if given.path == PIPE else given.path.with_name(beside)
    elif str(output) == str(PIPE) or is_file:
        target = Path(output)
    else:
        target = Path(output) / given.named(f".{ending}")
    noise = None
    if noise_out is not None:
        noise = _place(noise_out, single, given.named(f"{NOISE}.{sound}"))
    picture = None if plot is None else _place(plot, single, given.named(".png"))
    return Job(given.path, target, ending, noise, picture, raw, raw_target)


def _place(output: str | Path, single: bool, relative: Path) -> Path:
    return Path(output) if single and not _is_folder(output) else Path(output) / relative


def _is_folder(output: str | Path) -> bool:
    path = Path(output)
    ends_so = str(output).endswith(("/", os.sep))
    if is_special(path):
        return False
    return os.path.isdir(path) or ends_so or (path != PIPE and not path.suffix)


def extension_of(path: Path) -> str:
    """Return the extension of a path in lower case and without its dot."""
    return path.suffix.lower().removeprefix(".")


def known_extension(extension: str) -> str:
    """Return an extension as `EXTENSIONS` has it.

    Raises:
        SordinoError: there is no such format.
    """
    extension = extension.lower().removeprefix(".")
    if extension not in EXTENSIONS:
        raise SordinoError(
            f"there is no format {extension!r}: choose one of {', '.join(EXTENSIONS)}"
        )
    return extension


def _refuse_overwriting(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    writers: dict[str, Job] = {}
    for job in jobs:
        for path in job.outputs:
            real = os.path.realpath(path)
            if real in sources:
                raise SordinoError(
                    f"{path} is an input: Sordino never overwrites a recording, give another "
                    "name or folder with -o"
                )
            if real in writers:
                raise SordinoError(
                    f"{writers[real].source} and {job.source} would both be written to {path}: "
                    "denoise them one after the other, into different folders"
                )
            writers[real] = job


class Origin(NamedTuple):
    """What an output was made from and how.

    It is kept as an extended attribute of the file, where the system has those (Linux); the sound
    is not changed.  Without it, an output that exists counts as done.
    """

    source: str
    """Absolute path of the recording; only its hash is kept."""
    options: str
    """In words."""


def write_origin(target: Path, origin: Origin) -> None:
    """Store the origin of a file that is being written."""
    if hasattr(os, "setxattr"):
        note = json.dumps(origin._replace(source=_hash(origin.source)))
        with suppress(OSError):
            os.setxattr(target, _ATTRIBUTE, note.encode())


def read_origin(target: Path) -> Origin | None:
    """Return the origin of a file, with the hash of its source; None if unknown."""
    if hasattr(os, "getxattr"):
        with suppress(OSError, ValueError, TypeError):
            return Origin(*json.loads(os.getxattr(target, _ATTRIBUTE)))
    return None


def same_source(made: Origin, now: Origin) -> bool:
    """Whether an origin that was read and a new one name the same recording."""
    return made.source == _hash(now.source)


def _hash(path: str) -> str:
    return sha256(os.fsencode(path)).hexdigest()[:16]
