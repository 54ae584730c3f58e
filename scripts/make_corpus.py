"""Make the training corpus from recordings on this machine, by the list of those that were chosen.

    python scripts/make_corpus.py DATA_ROOT CORPUS

The list, recipes/corpus.csv.gz, names every chosen file by its path under DATA_ROOT, with the
first 10 hexadecimal digits of the file's SHA-256, its split (train or val) and its licence.
Files of the split "train" appear as CORPUS/speech/SOURCE/NAME, CORPUS/noise/SOURCE/NAME and
CORPUS/rir/NAME, hard links where the file system allows and copies where it does not, which
is the layout that the [data] table of a recipe reads.  CORPUS/MANIFEST.csv lists them with
their label, seconds, sample rate and licence.  Files of the split "val" are what
scripts/make_val.py mixes the validation set from; they never enter CORPUS.  Held out is every
twelfth of the new speakers (the SHA-1 of the label, as a number, is a multiple of 12), of the
rooms (of the file name) and of the noise recordings (of "freesound:ID", else of "SOURCE/NAME").

Exit status 2 where a listed file is missing, or is another file than the one on the list:
what is made then is not the corpus that the packaged weights were trained on.
"""

import argparse
import csv
import gzip
import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import soundfile as sf

LIST = Path(__file__).parent.parent / "recipes" / "corpus.csv.gz"
KINDS = ("speech", "noise", "rir")
DIGITS = 10  # of the SHA-256 that the list holds
SHOWN = 10  # faults that are printed one by one


@dataclass(frozen=True)
class Entry:
    """A chosen recording: a row of the list."""

    path: str  # under DATA_ROOT, with forward slashes
    sha256: str  # first digits
    split: str  # "train" or "val"
    licence: str

    @property
    def kind(self) -> str:
        """ "speech", "noise" or "rir", from the folders of the path."""
        folders = PurePosixPath(self.path).parts[:-1]
        return next((kind for kind in KINDS if kind in folders), "noise")

    @property
    def source(self) -> str:
        """The collection it belongs to: the folder that it lies in."""
        return PurePosixPath(self.path).parent.name

    @property
    def label(self) -> str:
        """Its speaker or category: what stands before the last dash of the name."""
        stem = PurePosixPath(self.path).stem
        return stem.rpartition("-")[0] or stem

    @property
    def place(self) -> str:
        """Where it lies in a corpus: speech/SOURCE/NAME, noise/SOURCE/NAME or rir/NAME."""
        name = PurePosixPath(self.path).name
        return f"rir/{name}" if self.kind == "rir" else f"{self.kind}/{self.source}/{name}"


def read_list(path: Path = LIST) -> list[Entry]:
    """The chosen recordings."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [Entry(**row) for row in csv.DictReader(file)]


def fault(root: Path, entry: Entry) -> str | None:
    """What is wrong with the file of an entry: it is missing, or it is another one."""
    try:
        data = (root / entry.path).read_bytes()
    except OSError as error:
        return f"{entry.path}: {error.strerror}"
    if not hashlib.sha256(data).hexdigest().startswith(entry.sha256):
        return f"{entry.path}: differs from the file on the list"
    return None


def checked(root: Path, entries: list[Entry]) -> Iterator[Entry]:
    """The entries whose files are there and are the right ones.

    Raises:
        SystemExit: status 2, after the last entry, where one was not.
    """
    faults: list[str] = []
    for entry in entries:
        message = fault(root, entry)
        if message is None:
            yield entry
        else:
            faults.append(message)
    if faults:
        more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        print(*faults[:SHOWN], *more, sep="\n", file=sys.stderr)
        raise SystemExit(2)


def place(file: Path, target: Path) -> None:
    """Hard-link `file` to `target`, or copy it onto another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(file.resolve(), target)
    except OSError:
        shutil.copy2(file, target)


def main() -> None:
    """Make the corpus, print its hours and its labels."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder of the recordings")
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="folder to make")
    parser.add_argument("--list", type=Path, default=LIST, help="default: %(default)s")
    options = parser.parse_args()

    chosen = [entry for entry in read_list(options.list) if entry.split == "train"]
    wanted = {entry.place for entry in chosen}
    options.corpus.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:  # what an earlier list had and this one has not
        for old in (options.corpus / kind).rglob("*"):
            if old.is_file() and old.relative_to(options.corpus).as_posix() not in wanted:
                old.unlink()

    hours: Counter[str] = Counter()
    labels: dict[str, set[str]] = {kind: set() for kind in KINDS}
    with open(options.corpus / "MANIFEST.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "kind", "source", "label", "sample_rate", "seconds", "licence"])
        for entry in checked(options.root, chosen):
            place(options.root / entry.path, options.corpus / entry.place)
            info = sf.info(options.corpus / entry.place)
            rows.writerow(
                [
                    entry.place,
                    entry.kind,
                    entry.source,
                    entry.label,
                    info.samplerate,
                    round(info.duration, 2),
                    entry.licence,
                ]
            )
            hours[entry.kind] += info.duration / 3600
            labels[entry.kind].add(entry.label)
    for kind in KINDS:
        print(f"{kind}: {hours[kind]:.2f} h, {len(labels[kind])} labels")


if __name__ == "__main__":
    main()
