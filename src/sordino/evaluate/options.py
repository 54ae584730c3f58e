"""Options of `sordino evaluate` and `sordino compare`, and their checks before measuring."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sordino.errors import SordinoError, install_command
from sordino.evaluate.asr import recogniser_installed
from sordino.evaluate.conditions import (
    CONDITIONS,
    MAX_WARM_UP_SECONDS,
    WHOLE_CLIP,
    Condition,
)
from sordino.evaluate.curve import CostAxis
from sordino.evaluate.dataset import MIXTURE, TRANSCRIPT, Clip
from sordino.evaluate.results import Records, read_figures, read_macs, read_records, read_versions
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import ALL, FAST, MEASURES, check_metrics
from sordino.evaluate.systems import BASELINES, Baseline, System

PRESETS = {"all": ALL, "fast": FAST}
CURVE_MEASURES = "pesq,sisdr,ovrl"
MAX_JOBS = 8  # systems run in one process, which cannot feed more

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Noisy recordings, or a folder with noisy/ and, if there are references, clean/",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Name of a model or .onnx file; repeat it to compare several."),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline", metavar="NAME", help="Compare with this noise suppressor only; repeatable."
    ),
]
OldPeers = Annotated[list[str] | None, typer.Option("--peer", hidden=True)]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--outputs",
        metavar="[NAME=]DIR",
        help="Folder of another system's outputs; those under other conditions are in "
        "DIR/CONDITION/; repeatable.",
    ),
]
ExportInputs = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write the inputs under all conditions, to run other systems on them, and stop.",
    ),
]
Figures = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of CSV files with the figures of earlier runs."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[=TITLE]", help="Show only this system of --figures; repeatable."),
]
Versus = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Compare with this system; by default with the best other one."
    ),
]
Level = Annotated[
    float | None, typer.Option(metavar="DBFS", help="Scale the input to this RMS level.")
]
Band = Annotated[
    float | None, typer.Option(metavar="HZ", help="Low-pass the input at this frequency.")
]
Voice = Annotated[
    bool,
    typer.Option(
        "--voice", help="Measure how well an enrolled voice is kept and other voices are removed."
    ),
]
Judge = Annotated[
    Path | None,
    typer.Option(
        metavar="WHEEL",
        help="With --voice: also count outputs that another speaker encoder takes for the other "
        "talker; Resemblyzer's wheel (pip download --no-deps resemblyzer). Needs PyTorch.",
    ),
]
WarmUp = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="Warm up on this much of each clip first, without scoring it."
    ),
]
OldHeardBefore = Annotated[bool, typer.Option("--heard-before", hidden=True)]
AllConditions = Annotated[
    bool,
    typer.Option(
        "--conditions",
        help="Also measure under all other conditions, and compare with their goals.",
    ),
]
OneCondition = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        metavar="NAME",
        help=f"Measure only under this one of {', '.join(CONDITIONS)}; repeatable.",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        "--measures",
        help="all, fast, or names separated by commas, as in the CSV; no others are computed.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Use only the first N clips.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of processes that compute metrics; by default one for each core."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Measure on this Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT; --jobs are "
        "its workers then. All its machines need DIR under the same path.",
    ),
]
Meta = Annotated[
    Path | None,
    typer.Option(help="CSV file that describes the clips; by default META.csv in or above DIR."),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="Break the figures down by this column of META.csv; repeatable."
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(metavar="OUT", help="Write the figures of every clip to this CSV file."),
]
Parquet = Annotated[
    Path | None,
    typer.Option(metavar="OUT", help="Write the figures of every clip to this Parquet file."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Keep the figures in --csv and measure the rest.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.html", help="Write an HTML page with plots, spectrograms and players."
    ),
]
Curve = Annotated[
    Path | None,
    typer.Option(metavar="OUT.png", help="Plot quality against cost of all systems."),
]
CurveMeasures = Annotated[
    str,
    typer.Option("--curve-measure", help="Measures of quality on the curve, separated by commas."),
]
Macs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=MILLIONS", help="Multiply-accumulates per second of a system; repeatable."
    ),
]
Against = Annotated[
    CostAxis,
    typer.Option("--curve-against", help="Horizontal axis of the curve.", show_default=True),
]
Cards = Annotated[
    list[Path] | None,
    typer.Option(
        "--card",
        metavar="CARD.md",
        help="Write the figures into this model card, between its markers; repeatable.",
    ),
]
Pictures = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder for the pictures of the card; by default one of the card's name.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


def default_jobs() -> int:
    """Return the number of processes that score: the cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, MAX_JOBS)


def wanted_metrics(text: str, clips: Sequence[Clip]) -> tuple[str, ...]:
    """Return the wanted measures that this set allows, in the order of the report."""
    references = any(clip.clean is not None for clip in clips)
    spoken = any(clip.traits.get(TRANSCRIPT) for clip in clips)
    wanted = check_metrics(PRESETS.get(text, [name.strip() for name in text.split(",")]))
    if text in PRESETS:
        wanted -= set() if spoken and recogniser_installed() else {"wer"}
        if any(clip.part != MIXTURE for clip in clips):
            wanted |= {"level_db", "level_loss_db"}
        if not references:
            free = {name for name, each in MEASURES.items() if not each.reference}
            wanted = (wanted & free) | {"level_db", "pause_db"}
    if lacking := [n for n in MEASURES if n in wanted and MEASURES[n].reference and not references]:
        raise SordinoError(f"{lacking[0]} needs a reference: there is no clean/ beside noisy/.")
    if "wer" in wanted and not spoken:
        raise SordinoError(
            "wer needs META.csv with a column 'transcript': the spoken words of a clip."
        )
    if "wer" in wanted and not recogniser_installed():
        raise SordinoError(f"wer needs a recogniser: {install_command('asr')}")
    return tuple(name for name in MEASURES if name in wanted)


def chosen_baselines(chosen: Sequence[str] | None) -> list[Baseline]:
    """Return the installed baselines; tell for the others how to install them."""
    names = [each.name for each in BASELINES]
    if unknown := [name for name in chosen or [] if name not in names]:
        raise SordinoError(f"No other system is called {unknown[0]!r}: choose {', '.join(names)}.")
    found = [each for each in BASELINES if not chosen or each.name in chosen]
    for each in found:
        if not each.installed:
            typer.echo(f"{each.name} is skipped: pip install {each.package}", err=True)
    return [each for each in found if each.installed]


def chosen_conditions(
    level: float | None,
    band: float | None,
    warm_up: float | None,
    heard_before: bool,
    everything: bool,
    some: Sequence[str],
    metrics: tuple[str, ...],
) -> list[Condition]:
    """Return the condition of the summary, and the others that are wanted.

    Args:
        level: Level of the input, dBFS.
        band: Cut-off frequency of the input, Hz.
        warm_up: Length of the warm-up, s.
        heard_before: Old option: a warm-up with the whole clip.
        everything: Whether all other conditions are measured.
        some: Names of those that are.
        metrics: Measured under the first condition.
    """
    if unknown := [name for name in some if name not in CONDITIONS]:
        raise SordinoError(f"Unknown condition {unknown[0]!r}: choose {', '.join(CONDITIONS)}.")
    if warm_up == WHOLE_CLIP:  # only --heard-before means that
        raise SordinoError(
            f"the warm-up is {warm_up} s: expected 0 to {MAX_WARM_UP_SECONDS:g} seconds"
        )
    if heard_before:
        typer.echo("--heard-before is now --warm-up SECONDS; it will be removed", err=True)
        warm_up = WHOLE_CLIP if warm_up is None else warm_up
    others = [
        replace(each, metrics=_also_wanted(each, metrics)) if each.plain else each
        for name, each in CONDITIONS.items()
        if everything or name in some
    ]
    if others and not (level is None and band is None and not warm_up):
        raise SordinoError(
            "--conditions and --condition have their own levels, bands and warm-up: "
            "leave --level, --band and --warm-up out."
        )
    first = Condition(
        level_dbfs=level, band_hz=band, warm_up_seconds=warm_up or 0.0, metrics=metrics
    )
    return [first, *others]


def _also_wanted(condition: Condition, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the measures of a warm start that are wanted of a cold start, too."""
    return tuple(name for name in condition.metrics if name in wanted) or condition.metrics


def prepared(
    folder: Path,
    clips: Sequence[Clip],
    systems: Sequence[System],
    conditions: Sequence[Condition],
    figures: Path | None = None,
    beside: Sequence[str] = (),
    by: Sequence[str] = (),
) -> Evaluation:
    """Return an evaluation that is ready to run.

    Args:
        folder: Of the clips; the title of reports.
        clips: Of the set.
        systems: What is measured.
        conditions: Test conditions; the first one is that of the summary.
        figures: Folder of CSV files with the figures of other systems on these clips.
        beside: Which of those systems, as NAME or NAME=TITLE; all by default.
        by: Columns of META.csv that some clip must have.

    Raises:
        SordinoError: Two systems have one name, a column or a system is missing.
    """
    names = [system.name for system in systems]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SordinoError(f"Two systems are called {twice[0]!r}: rename one with NAME=DIR.")
    for column in by:
        if not any(clip.traits.get(column) for clip in clips):
            raise SordinoError(f"--by {column}: META.csv has no such column for these clips.")
    systems = [each for each in systems if any(map(each.supports, conditions))]
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
        if titles.get(key.system, key.system) not in names
    }
    macs = {titles.get(name, name): value for name, value in macs.items()}
    # In the order of --beside, else of the files.
    others = [*titles.values()] or list(dict.fromkeys(key.system for key in known))
    return Evaluation(str(folder), clips, systems, conditions, known, others, macs=macs)


def check_versus(versus: str | None, evaluation: Evaluation) -> None:
    """Raise SordinoError unless the system to compare with takes part."""
    others = [name for name in evaluation.names if name != evaluation.subject]
    if versus is not None and versus not in others:
        raise SordinoError(f"--versus {versus}: choose one of {', '.join(others)}.")


def known_records(path: Path, systems: Collection[System]) -> Records:
    """Read the figures in a CSV file, without those of models that changed since.

    Raises:
        SordinoError: It cannot be read.
    """
    was = read_versions(path)
    changed = {each.name for each in systems if was.get(each.name, each.version) != each.version}
    for name in sorted(changed):
        typer.echo(f"{name} has changed since {path} was written: it is measured again", err=True)
    return {key: row for key, row in read_records(path).items() if key.system not in changed}


def named_macs(text: str) -> tuple[str, float]:
    """Return a system and its multiply-accumulates per second of audio.

    >>> named_macs("UL-UNAS=34")
    ('UL-UNAS', 34000000.0)
    """
    name, _, number = text.rpartition("=")
    try:
        millions = float(number)
    except ValueError:
        millions = float("nan")
    if not name or not 0 < millions < float("inf"):
        raise SordinoError(f"--macs {text}: expected NAME=MILLIONS, as UL-UNAS=34")
    return name, millions * 1e6


def curve_measures(text: str, metrics: Collection[str]) -> list[str]:
    """Return those measures of the curve that are taken.

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
