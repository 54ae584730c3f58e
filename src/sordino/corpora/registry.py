"""The registry of corpora: `corpora.toml`, and files of the same form that users give."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from sordino.errors import SordinoError

KINDS = ("speech", "noise", "rir", "noisy", "clean", "skip")
SPLITS = ("", "train", "val", "test")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a corpus and where it lies.

    Attributes:
        name: of the file, without folders.
        url: address.
        checksum: "sha256:..." or "md5:..."; "" where none is known.
    """

    name: str
    url: str
    checksum: str


@dataclass(frozen=True)
class CorpusPart:
    """What can be fetched on its own.

    Attributes:
        name: of the part.
        files: its files.
        split: "test" is never fetched or trained on unless it is named; "" for training.
        optional: fetched only when it is named, though it is for training.
    """

    name: str
    files: tuple[RemoteFile, ...]
    split: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Rule:
    """Which unpacked files are what, see `corpora.toml`."""

    kind: str
    match: re.Pattern[str]
    split: str = ""
    language: str = ""
    speakers: str = ""


@dataclass(frozen=True)
class CorpusEntry:
    """A corpus of the registry.

    Attributes:
        name: as `sordino data` takes it.
        title: one line that says what it is.
        home: page with its terms.
        licence: as its home states it.
        parts: in the order in which they are fetched.
        layout: rules, the first that fits counts.
        language: of its speech, where no rule says otherwise.
        manual: how to get it where no address can be given; "" where it can.
        metadata: reader of labels and licences of single clips, see `sordino.corpora.layout`.
        checksum_source: where the checksums stand.
        held_out: namespace of speakers or sources -> those that are in no training.
    """

    name: str
    title: str
    home: str
    licence: str
    parts: tuple[CorpusPart, ...]
    layout: tuple[Rule, ...]
    language: str = ""
    manual: str = ""
    metadata: str = ""
    checksum_source: str = ""
    held_out: Mapping[str, tuple[str, ...]] | None = None

    def choose(self, names: tuple[str, ...]) -> tuple[CorpusPart, ...]:
        """Return the parts of these names; without names, those that training needs.

        Raises:
            SordinoError: there is no part of such a name.
        """
        known = {part.name: part for part in self.parts}
        for name in names:
            if name not in known:
                raise SordinoError(
                    f"{self.name} has no part {name!r}; there are: {', '.join(known)}"
                )
        if names:
            return tuple(part for part in self.parts if part.name in names)
        return tuple(p for p in self.parts if p.split != "test" and not p.optional)


def load_registry(extra: Path | None = None) -> dict[str, CorpusEntry]:
    """Read the registry of the package, and a file of the user's that adds to it.

    Args:
        extra: TOML file of the same form; its corpora replace those of equal names.

    Raises:
        SordinoError: the file cannot be read, or lacks or misspells a key.
    """
    tree = tomllib.loads((files("sordino.corpora") / "corpora.toml").read_text("utf-8"))
    if extra is not None:
        try:
            tree |= tomllib.loads(extra.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SordinoError(f"cannot read the registry {extra}: {error}") from error
    held_out = {name: tuple(each) for name, each in tree.pop("held_out", {}).items()}
    return {name: _corpus(name, tree, held_out) for name in tree}


def find_corpus(registry: Mapping[str, CorpusEntry], name: str) -> CorpusEntry:
    """Return a corpus by its name.

    Raises:
        SordinoError: there is none; it names the nearest.
    """
    if name not in registry:
        near = get_close_matches(name, registry, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(registry)}"
        raise SordinoError(f"no corpus is called {name!r}; {hint}")
    return registry[name]


def _corpus(
    name: str, tree: Mapping[str, Mapping[str, Any]], held_out: Mapping[str, tuple[str, ...]]
) -> CorpusEntry:
    entry = tree[name]
    try:
        base, sums = entry.get("base", ""), entry.get("checksums", {})
        parts = tuple(_part(each, base, sums) for each in entry["parts"])
        layout = tree[entry.get("layout_of", name)]["layout"]
        keys = ("language", "manual", "metadata", "checksum_source")
        return CorpusEntry(
            name=name,
            title=entry["title"],
            home=entry["home"],
            licence=entry["licence"],
            parts=parts,
            layout=tuple(_rule(each) for each in layout),
            held_out=held_out,
            **{key: entry[key] for key in keys if key in entry},
        )
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise SordinoError(f"registry: {name}: {error!r}; see corpora.toml for the keys") from error


def _part(entry: Mapping[str, Any], base: str, checksums: Mapping[str, str]) -> CorpusPart:
    base = entry.get("base", base)
    names = [name for pattern in entry["files"] for name in braceexpand(pattern)]
    remote = tuple(
        RemoteFile(Path(name).name, f"{base}/{name}", checksums.get(Path(name).name, ""))
        for name in names
    )
    return CorpusPart(
        entry["name"], remote, _one_of(SPLITS, entry.get("split", "")), "optional" in entry
    )


def _rule(entry: Mapping[str, str]) -> Rule:
    match = re.compile(entry["match"])
    kind, split = _one_of(KINDS, entry["kind"]), _one_of(SPLITS, entry.get("split", ""))
    return Rule(kind, match, split, entry.get("language", ""), entry.get("speakers", ""))


def _one_of(known: tuple[str, ...], value: str) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(filter(None, known))}")
    return value
