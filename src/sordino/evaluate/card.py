"""A model card on disk, and the sections of it that are generated.

A card is Markdown.  Most of it is written by hand; `sordino evaluate --card` replaces what stands
between two marks:

    <!-- facts -->          size, cost, latency and training, from the ONNX file
    <!-- figures SET -->    the tables of one set, by the name of its folder
    <!-- pictures SET -->   spectrograms of its worst clips
    <!-- end -->            after each of them
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sordino.errors import SordinoError
from sordino.evaluate.card_sections import facts, figures, pictures
from sordino.evaluate.plots import comparison, comparison_strip
from sordino.evaluate.results import replace
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.statistics import worst
from sordino.evaluate.systems import Network

MARK = re.compile(r"<!-- (facts|figures|pictures)(?: ([^ \n]+))? -->\n")
END = "<!-- end -->"
PICTURES = 5  # of a card; few, because a repository keeps every version
NEW = """# {name}

{{facts}}

## How good it is

{{figures}}

## The worst clips, seen

{{pictures}}
"""


def check_cards(paths: Sequence[Path], evaluation: Evaluation) -> None:
    """Report unusable cards before hours of measuring.

    Raises:
        SordinoError: No model is measured, a card cannot be read, a mark has no end, or no
            card has a mark for this set.
    """
    _subject(evaluation)
    texts = [_text(path, evaluation) for path in paths]
    found = {set_ for text in texts for _, set_ in _marks(text)}
    if _set(evaluation) not in found:
        raise SordinoError(
            f"{paths[0]} has no line <!-- figures {_set(evaluation)} -->: add it, and "
            f"{END} below it, where the figures belong"
        )


def write_cards(paths: Sequence[Path], evaluation: Evaluation, folder: Path | None = None) -> None:
    """Write facts, figures and pictures of the first model between the marks of cards.

    A missing card is created with all marks.  Each card is replaced atomically.

    Args:
        paths: The cards.
        evaluation: What was measured.
        folder: For the pictures; by default one beside the card with its name.

    Raises:
        SordinoError: See `check_cards`; or a file cannot be written.
    """
    for path in paths:
        text = _text(path, evaluation)
        parts: list[str] = []
        for start, kind, set_, stop in _marked(text):
            body = text[start:stop]
            if kind == "facts":
                body = facts(_subject(evaluation))
            elif set_ == _set(evaluation):
                where = folder or path.with_suffix("")
                body = figures(evaluation) if kind == "figures" else _drawn(path, where, evaluation)
            parts.append(body)
        whole = _filled(text, parts)
        replace(path, lambda partial, whole=whole: partial.write_text(whole, encoding="utf-8"))


def _drawn(card: Path, folder: Path, evaluation: Evaluation) -> str:
    """Draw the worst clips into a folder, and return the text with them."""
    subject = _subject(evaluation)
    clips = {clip.name: clip for clip in evaluation.clips}
    links: dict[str, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SordinoError(f"{folder} cannot be made: {error.strerror or error}.") from error
    for rank, name in enumerate(worst(evaluation.rows(subject.name))[1][:PICTURES], 1):
        sounds, rate = comparison(subject, clips[name], evaluation.conditions[0])
        # Named by rank and not by clip, so that the next model's pictures replace these.
        path = folder / f"{_set(evaluation)}-{rank}.webp"
        data = comparison_strip(sounds, rate)
        replace(path, lambda partial, data=data: partial.write_bytes(data))
        links[name] = Path(os.path.relpath(path, card.parent)).as_posix()
    return pictures(evaluation, links)


def _subject(evaluation: Evaluation) -> Network:
    """Return the model that the card is about."""
    subject = next((s for s in evaluation.systems if s.name == evaluation.subject), None)
    if not isinstance(subject, Network):
        raise SordinoError("A card describes a model: give --model.")
    if evaluation.conditions[0].name:
        raise SordinoError(
            "A card has the figures of the unchanged set: leave --level, --band and --warm-up out."
        )
    return subject


def _set(evaluation: Evaluation) -> str:
    return Path(evaluation.title).resolve().name.replace(" ", "-")


def _text(path: Path, evaluation: Evaluation) -> str:
    """Return the card, or a new one."""
    if not path.exists():
        kinds = {
            kind: f"<!-- {kind}{set_} -->\n{END}"
            for kind, set_ in (
                ("facts", ""),
                ("figures", f" {_set(evaluation)}"),
                ("pictures", f" {_set(evaluation)}"),
            )
        }
        new = NEW.format(name=evaluation.subject)
        return new.format(**kinds)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SordinoError(f"{path} cannot be read: {error}") from error


def _marks(text: str) -> list[tuple[str, str]]:
    return [(kind, set_) for _, kind, set_, _ in _marked(text)]


def _marked(text: str) -> list[tuple[int, str, str, int]]:
    """Return start, kind, set and stop of the text between marks."""
    found: list[tuple[int, str, str, int]] = []
    for mark in MARK.finditer(text):
        following, stop = MARK.search(text, mark.end()), text.find(END, mark.end())
        if stop < 0 or (following and stop > following.start()):
            raise SordinoError(f"{mark[0].strip()} has no {END} below it in the card: add one.")
        found.append((mark.end(), mark[1], mark[2] or "", stop))
    return found


def _filled(text: str, parts: Sequence[str]) -> str:
    """Return the text with new parts between its marks."""
    whole, done = "", 0
    for (start, _, _, stop), part in zip(_marked(text), parts, strict=True):
        whole += text[done:start] + "\n" + part.strip() + "\n\n"
        done = stop
    return whole + text[done:]
