"""What the unpacked files of a corpus are: kind, speaker, source, language, licence, split."""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from sordino.corpora.fetch import AUDIO
from sordino.corpora.registry import CorpusEntry, Rule
from sordino.errors import SordinoError
from sordino.train.data.decode import AUDIO_SUFFIXES

VAL_PERCENT = 5  # of speakers, or of sources where there are none
# Labels of FSD50K that are no noise: they hold voices that speak or sing.
VOICES = frozenset({"Human_voice", "Speech", "Singing", "Conversation", "Speech_synthesizer"})


@dataclass(frozen=True)
class Item:
    """A file of a corpus, or a pair of them.

    Attributes:
        path: under the corpus's `audio/`; of a pair the noisy file.
        kind: "speech", "noise", "rir" or "pair".
        clean: the clean file of a pair.
        speaker: with its namespace, such as "vctk-p232"; "" where unknown.
        source: recording that it is cut from; "" where unknown.
        label: category of a noise.
        language: ISO 639-1 or as the corpus writes it.
        licence: of this clip.
        split: "train", "val" or "test".
        excluded: why it is of no use; "" where it is.
    """

    path: str
    kind: str
    clean: str = ""
    speaker: str = ""
    source: str = ""
    label: str = ""
    language: str = ""
    licence: str = ""
    split: str = ""
    excluded: str = ""


@dataclass(frozen=True)
class Details:
    """What a corpus's own tables say of a clip."""

    label: str = ""
    licence: str = ""
    speaker: str = ""
    split: str = ""
    excluded: str = ""


def find_items(corpus: CorpusEntry, folder: Path) -> list[Item]:
    """Say what the files of a corpus are, by the rules of the registry.

    Args:
        corpus: of the registry.
        folder: of this corpus, with `audio/` in it.

    Raises:
        SordinoError: nothing is there that the rules know.
    """
    root = folder / AUDIO
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    read = METADATA.get(corpus.metadata)
    details: Mapping[str, Details] = read(root) if read else {}
    items: list[Item] = []
    halves: dict[str, dict[tuple[str, str], Item]] = {"noisy": {}, "clean": {}}
    for path in paths:
        name = path.relative_to(root).as_posix()
        found = _match(corpus.layout, name)
        if found is None or found[0].kind == "skip":
            continue
        rule, groups = found
        item = _item(corpus, rule, groups, name, details)
        if rule.kind in halves:
            halves[rule.kind][groups.get("set", ""), groups["name"]] = item
        else:
            items.append(item)
    for key, noisy in halves["noisy"].items():
        clean = halves["clean"].get(key)
        why = "" if clean else "there is no clean file of its name"
        partner = clean.path if clean else ""
        items.append(replace(noisy, kind="pair", clean=partner, excluded=why))
    if not items:
        raise SordinoError(
            f"{root}: holds nothing that the layout of {corpus.name} knows: "
            f"`sordino data fetch {corpus.name}` first"
        )
    return items


def _match(layout: Iterable[Rule], name: str) -> tuple[Rule, dict[str, str]] | None:
    for rule in layout:
        match = rule.match.fullmatch(name)
        if match:
            return rule, {key: value or "" for key, value in match.groupdict().items()}
    return None


def _item(
    corpus: CorpusEntry,
    rule: Rule,
    groups: Mapping[str, str],
    path: str,
    details: Mapping[str, Details],
) -> Item:
    own = details.get(groups.get("name", ""), Details())
    speaker = own.speaker or groups.get("speaker", "")
    source = groups.get("source", "")
    if speaker.isdecimal():
        speaker = speaker.lstrip("0")  # corpora pad the same numbers differently
    held_out = (corpus.held_out or {}).get(rule.speakers, ())
    split = "test" if held_out and (speaker in held_out or source in held_out) else ""
    # Whole testsets are named by their set where the rule serves training and test.
    if "testset" in groups.get("set", ""):
        split = "test"
    who = f"{rule.speakers or corpus.name}-{speaker}" if speaker else ""
    group = who or f"{corpus.name}-{source or path}"
    return Item(
        path=path,
        kind=rule.kind,
        speaker=who,
        source=source,
        label=own.label or groups.get("label", ""),
        language=groups.get("language", "") or rule.language or corpus.language,
        licence=own.licence or corpus.licence,
        split=split or own.split or rule.split or draw_split(group),
        excluded=own.excluded,
    )


def draw_split(group: str) -> str:
    """Put a speaker or source into training or validation, always the same.

    >>> [draw_split(f"vctk-p{n}") for n in (225, 226, 227)]
    ['train', 'train', 'train']
    """
    number = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16)
    return "val" if number % 100 < VAL_PERCENT else "train"


def licence_name(text: str) -> str:
    """Return the short name of a Creative Commons licence from its name or address.

    >>> licence_name("http://creativecommons.org/licenses/by-nc/3.0/"), licence_name("CC0")
    ('CC-BY-NC', 'CC0')
    """
    low = text.lower()
    if "publicdomain/zero" in low or low == "cc0":
        return "CC0"
    if "sampling" in low:
        return "CC-Sampling+"
    match = re.search(r"(?:licenses/|cc[- ])(by(?:-nc)?(?:-sa|-nd)?)", low)
    return f"CC-{match[1].upper()}" if match else text


def _esc50(root: Path) -> dict[str, Details]:
    """Read labels from meta/esc50.csv, and licences from the list in its LICENSE."""
    labels = {
        row["filename"].removesuffix(".wav"): row["category"] for row in _rows(root, "esc50.csv")
    }
    licences: dict[str, str] = {}
    for path in root.rglob("LICENSE"):
        for line in path.read_text("utf-8", "replace").splitlines():
            match = re.match(r"- \[?(\d-\d+-[A-Z])\S*\s.*\[([^\]]+)\]\s*$", line)
            if match:
                licences[match[1]] = licence_name(match[2])
    return {
        name: Details(label=label, licence=licences.get(name.rpartition("-")[0], ""))
        for name, label in labels.items()
    }


def _fsd50k(root: Path) -> dict[str, Details]:
    """Read labels and splits from the ground truth, licences from the clips' info."""
    licences: dict[str, str] = {}
    for path in root.rglob("*_clips_info_FSD50K.json"):
        for name, info in json.loads(path.read_text("utf-8")).items():
            licences[name] = licence_name(info["license"])
    details: dict[str, Details] = {}
    for table in ("dev.csv", "eval.csv"):
        for row in _rows(root, table):
            labels = row["labels"].split(",")
            voices = VOICES.intersection(labels)
            details[row["fname"]] = Details(
                label=labels[0],
                licence=licences.get(row["fname"], ""),
                split="test" if table == "eval.csv" else row["split"],
                excluded=f"label {min(voices)}: voices are no noise" if voices else "",
            )
    return details


def _common_voice(root: Path) -> dict[str, Details]:
    """Read speakers and splits from the tables of each language; only validated clips count."""
    splits: dict[str, str] = {}
    for table, split in (("dev.tsv", "val"), ("test.tsv", "test")):
        for row in _rows(root, table):
            splits[row["client_id"]] = split
    details: dict[str, Details] = {}
    for row in _rows(root, "validated.tsv"):
        who = row["client_id"]
        name = PurePosixPath(row["path"]).stem
        details[name] = Details(speaker=who[:16], split=splits.get(who, ""), licence="CC0")
    return _Validated(details)


class _Validated(dict[str, Details]):
    """Details of validated clips; all others are excluded."""

    def get(self, key: str, default: Details | None = None) -> Details:  # type: ignore[override]
        del default
        return super().get(key, Details(excluded="not validated by listeners"))


def _rows(root: Path, name: str) -> Iterable[dict[str, str]]:
    for path in sorted(root.rglob(name)):
        with path.open(encoding="utf-8", newline="") as file:
            quoting = csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL
            delimiter = "\t" if path.suffix == ".tsv" else ","
            yield from csv.DictReader(file, delimiter=delimiter, quoting=quoting)


METADATA: dict[str, Callable[[Path], Mapping[str, Details]]] = {
    "esc50": _esc50,
    "fsd50k": _fsd50k,
    "common-voice": _common_voice,
}
"""Readers of the tables that corpora bring, by the name that the registry has for them."""
