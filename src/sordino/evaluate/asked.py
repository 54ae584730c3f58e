"""What a command line asks for, checked before anything is measured."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import typer

from sordino.errors import SordinoError, install_command
from sordino.evaluate.clips import Clip
from sordino.evaluate.conditions import Condition
from sordino.evaluate.evaluation import Evaluation
from sordino.evaluate.measures import ALL, FAST, MEASURES, check_metrics
from sordino.evaluate.peers import PEERS, Peer
from sordino.evaluate.recogniser import recogniser_installed
from sordino.evaluate.records import Records, read_figures, read_macs, read_records, read_versions
from sordino.evaluate.systems import System
from sordino.evaluate.traits import TRANSCRIPT

PRESETS = {"all": ALL, "fast": FAST}


def wanted_metrics(text: str, clips: Sequence[Clip]) -> tuple[str, ...]:
    """Return the measures meant, in the order of the report, that this set allows."""
    references = clips[0].clean is not None
    spoken = any(clip.traits.get(TRANSCRIPT) for clip in clips)
    asked = check_metrics(PRESETS.get(text, [name.strip() for name in text.split(",")]))
    if text in PRESETS:
        asked -= set() if spoken and recogniser_installed() else {"wer"}
        if not references:
            free = {name for name, each in MEASURES.items() if not each.reference}
            asked = (asked & free) | {"level_db", "pause_db"}
    if lacking := [n for n in MEASURES if n in asked and MEASURES[n].reference and not references]:
        raise SordinoError(f"{lacking[0]} needs a reference: there is no clean/ beside noisy/.")
    if "wer" in asked and not spoken:
        raise SordinoError("wer needs META.csv with a column 'transcript': what is said in a clip.")
    if "wer" in asked and not recogniser_installed():
        raise SordinoError(f"wer needs a recogniser: {install_command('asr')}")
    return tuple(name for name in MEASURES if name in asked)


def chosen_peers(chosen: Sequence[str] | None) -> list[Peer]:
    """Return the peers that are installed; say of the others how to get them."""
    names = [each.name for each in PEERS]
    if unknown := [name for name in chosen or [] if name not in names]:
        raise SordinoError(f"No other system is called {unknown[0]!r}: choose {', '.join(names)}.")
    found = [each for each in PEERS if not chosen or each.name in chosen]
    for each in found:
        if not each.installed:
            typer.echo(f"{each.name} is skipped: pip install {each.package}", err=True)
    return [each for each in found if each.installed]


def prepared(
    folder: Path,
    clips: Sequence[Clip],
    systems: Sequence[System],
    conditions: Sequence[Condition],
    figures: Path | None = None,
    beside: Sequence[str] = (),
    by: Sequence[str] = (),
) -> Evaluation:
    """Return the evaluation that is asked for; nothing is measured yet.

    Args:
        folder: Of the clips; the title of reports.
        clips: Of the set.
        systems: What is measured.
        conditions: Under which; the first one is that of the summary.
        figures: Folder of CSV files with the figures of other systems on these clips.
        beside: Which of those systems, as NAME or NAME=TITLE; all where none is named.
        by: Columns of META.csv that some clip must have.

    Raises:
        SordinoError: Two systems have one name, a column or a system is not there.
    """
    called = [system.name for system in systems]
    if twice := [name for name in called if called.count(name) > 1]:
        raise SordinoError(f"Two systems are called {twice[0]!r}: rename one with NAME=DIR.")
    for column in by:
        if not any(clip.traits.get(column) for clip in clips):
            raise SordinoError(f"--by {column}: META.csv has no such column for these clips.")
    if conditions[0].name:  # what ran elsewhere has heard the set as it is
        systems = [system for system in systems if system.runs]
    titles = dict(_title(each) for each in beside)
    known: Records = {}
    macs: Mapping[str, float] = {}
    if figures:
        found, macs = read_figures(figures, {clip.name for clip in clips}), read_macs(figures)
        if lacking := sorted(titles.keys() - {key.system for key in found}):
            raise SordinoError(f"--beside {lacking[0]}: {figures} has no figures of it.")
        known = {key: row for key, row in found.items() if not titles or key.system in titles}
    elif titles:
        raise SordinoError("--beside chooses among the systems of --figures: give that too.")
    known = {
        key._replace(system=titles.get(key.system, key.system)): row
        for key, row in known.items()
        if titles.get(key.system, key.system) not in called
    }
    macs = {titles.get(name, name): value for name, value in macs.items()}
    # In the order asked for, else of the files.
    others = [*titles.values()] or list(dict.fromkeys(key.system for key in known))
    return Evaluation(str(folder), clips, systems, conditions, known, others, macs=macs)


def known_records(path: Path, systems: Collection[System]) -> Records:
    """Read what a CSV file has already, but for models that changed since it was written.

    Raises:
        SordinoError: It cannot be read.
    """
    was = read_versions(path)
    changed = {each.name for each in systems if was.get(each.name, each.version) != each.version}
    for name in sorted(changed):
        typer.echo(f"{name} is another one than in {path}: it is measured again", err=True)
    return {key: row for key, row in read_records(path).items() if key.system not in changed}


def named_macs(text: str) -> tuple[str, float]:
    """Return a system and its multiply-accumulates per second of sound.

    >>> named_macs("UL-UNAS=34")
    ('UL-UNAS', 34000000.0)
    """
    name, _, number = text.rpartition("=")
    try:
        millions = float(number)
    except ValueError:
        millions = float("nan")
    if not name or not millions > 0:
        raise SordinoError(f"--macs {text}: expected NAME=MILLIONS, as UL-UNAS=34")
    return name, millions * 1e6


def curve_measures(text: str, metrics: Collection[str]) -> list[str]:
    """Return the measures of the curve that are taken.

    Raises:
        SordinoError: One is unknown, or none of them is taken.
    """
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in MEASURES]:
        raise SordinoError(f"Unknown measure {unknown[0]!r}. There are: {', '.join(MEASURES)}.")
    if not (shown := [name for name in names if name in metrics]):
        raise SordinoError(f"The curve is of {text}, but --metrics leaves that out.")
    return shown


def _title(text: str) -> tuple[str, str]:
    name, _, title = text.partition("=")
    return name, title or name
