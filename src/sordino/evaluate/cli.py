"""``sordino evaluate`` and ``sordino compare``: how good systems are on a folder of clips."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip, find_clips
from sordino.evaluate.conditions import CONDITIONS, Condition
from sordino.evaluate.evaluation import Evaluation
from sordino.evaluate.measures import ALL, FAST, MEASURES, check_metrics
from sordino.evaluate.options import (
    By,
    Csv,
    Figures,
    Folder,
    Jobs,
    Json,
    Limit,
    Meta,
    Metrics,
    Models,
    Outputs,
    Parquet,
    Report,
    Resume,
)
from sordino.evaluate.peers import PEERS, Peer
from sordino.evaluate.printing import (
    as_json,
    print_breakdown,
    print_checks,
    print_differences,
    print_summary,
    print_worst,
)
from sordino.evaluate.recogniser import recogniser_installed
from sordino.evaluate.records import read_figures, read_records, write_records
from sordino.evaluate.systems import System, Unprocessed, networks, recordings
from sordino.evaluate.tables import check_parquet
from sordino.evaluate.traits import TRANSCRIPT

app = typer.Typer(add_completion=False)

PRESETS = {"all": ALL, "fast": FAST}
DIFFERENCES = ("pesq", "estoi", "sisdr", "covl", "sig", "ovrl", "nr_db", "att_db", "rtf")


@app.command()
def evaluate(
    folder: Folder,
    model: Models = None,
    outputs: Outputs = None,
    figures: Figures = None,
    strength: Annotated[float, typer.Option(min=0, max=1, help="Share of the noise to take.")] = 1,
    attenuation_limit: Annotated[
        float | None, typer.Option(min=0, metavar="DB", help="Attenuate nothing by more than this.")
    ] = None,
    level: Annotated[
        float | None, typer.Option(metavar="DBFS", help="Bring the input to this level first.")
    ] = None,
    band: Annotated[
        float | None, typer.Option(metavar="HZ", help="Cut the input off above this first.")
    ] = None,
    conditions: Annotated[
        bool,
        typer.Option(
            "--conditions",
            help="Also quieter, louder, over the telephone, clean speech, noise, silence.",
        ),
    ] = False,
    metrics: Metrics = "all",
    limit: Limit = None,
    jobs: Jobs = 1,
    meta: Meta = None,
    by: By = None,
    csv: Csv = None,
    parquet: Parquet = None,
    resume: Resume = False,
    report: Report = None,
    print_json: Json = False,
) -> None:
    """Measure models on a folder of clips, beside the unprocessed input and other systems.

    With clean/ beside noisy/, one file name per pair, everything is measured.

    Without it, DNSMOS and levels are.

    Figures are taken at 16 kHz; files are denoised at their own rate.
    """
    if conditions and (level is not None or band is not None):
        raise SordinoError("--conditions has its own levels and bands: leave --level, --band out.")
    systems: list[System] = [Unprocessed(), *recordings(outputs or [])]
    if model or not outputs:
        ours = networks(model or ["default"], strength, attenuation_limit)
        systems[1:1] = ours
    clips = find_clips(folder, limit, meta)
    wanted = _parse_metrics(metrics, clips)
    heard = Condition(level_dbfs=level, band_hz=band, metrics=wanted)
    evaluation = _prepared(
        folder, clips, systems, [heard, *(CONDITIONS if conditions else ())], figures, by or []
    )
    _run(evaluation, jobs, csv, parquet, resume)
    if report:
        _write_report(report, evaluation)
    _show(evaluation, metrics, by or [], print_json, paired=False)
    _end(evaluation)


@app.command()
def compare(
    folder: Folder,
    model: Models = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Only this other system; repeatable.")
    ] = None,
    outputs: Outputs = None,
    figures: Figures = None,
    metrics: Metrics = "all",
    limit: Limit = None,
    jobs: Jobs = 1,
    meta: Meta = None,
    by: By = None,
    csv: Csv = None,
    parquet: Parquet = None,
    resume: Resume = False,
    report: Report = None,
    curve: Annotated[
        Path | None,
        typer.Option(metavar="OUT.png", help="Draw quality against cost, all systems on it."),
    ] = None,
    curve_measure: Annotated[str, typer.Option(help="The quality on the curve.")] = "pesq",
    macs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MILLIONS", help="Multiply-accumulates per second of a system; repeatable."
        ),
    ] = None,
    print_json: Json = False,
) -> None:
    """Measure models beside other noise suppressors on the same clips, in one run.

    Others that are not installed are skipped; the extra "compare" brings them.

    Every system runs on one thread; its latency is taken out before it is scored.
    """
    known_macs = dict(_named_number(each) for each in macs or [])
    if curve and curve_measure not in MEASURES:
        raise SordinoError(f"Unknown measure {curve_measure!r}. There are: {', '.join(MEASURES)}.")
    systems: list[System] = [Unprocessed(), *networks(model or ["default"]), *_peers(peer)]
    systems += recordings(outputs or [])
    clips = find_clips(folder, limit, meta)
    heard = Condition(metrics=_parse_metrics(metrics, clips))
    evaluation = _prepared(folder, clips, systems, [heard], figures, by or [])
    _run(evaluation, jobs, csv, parquet, resume)
    if curve:
        from sordino.evaluate.curve import draw_curve

        draw_curve(curve, evaluation, curve_measure, known_macs)
    if report:
        _write_report(report, evaluation)
    _show(evaluation, metrics, by or [], print_json, paired=True)
    _end(evaluation)


def _parse_metrics(text: str, clips: Sequence[Clip]) -> tuple[str, ...]:
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
        raise SordinoError("wer needs a recogniser: pip install 'sordino[asr]'")
    return tuple(name for name in MEASURES if name in asked)


def _peers(chosen: Sequence[str] | None) -> list[Peer]:
    """Return the peers that are installed; say of the others how to get them."""
    names = [each.name for each in PEERS]
    if unknown := [name for name in chosen or [] if name not in names]:
        raise SordinoError(f"No other system is called {unknown[0]!r}: choose {', '.join(names)}.")
    found = [each for each in PEERS if not chosen or each.name in chosen]
    for each in found:
        if not each.installed:
            typer.echo(f"{each.name} is skipped: pip install {each.package}", err=True)
    return [each for each in found if each.installed]


def _prepared(
    folder: Path,
    clips: Sequence[Clip],
    systems: Sequence[System],
    conditions: Sequence[Condition],
    figures: Path | None,
    by: Sequence[str],
) -> Evaluation:
    """Check what is asked before anything is measured."""
    called = [system.name for system in systems]
    if twice := [name for name in called if called.count(name) > 1]:
        raise SordinoError(f"Two systems are called {twice[0]!r}: rename one with NAME=DIR.")
    for column in by:
        if not any(clip.traits.get(column) for clip in clips):
            raise SordinoError(f"--by {column}: META.csv has no such column for these clips.")
    if conditions[0].name:  # what ran elsewhere has heard the set as it is
        systems = [system for system in systems if system.runs]
    known = read_figures(figures, {clip.name for clip in clips}) if figures else {}
    beside = {key: row for key, row in known.items() if key.system not in called}
    others = list(dict.fromkeys(key.system for key in beside))
    return Evaluation(str(folder), clips, systems, conditions, beside, others)


def _run(
    evaluation: Evaluation, jobs: int, csv: Path | None, parquet: Path | None, resume: bool
) -> None:
    if resume and csv is None:
        raise SordinoError("--resume needs --csv OUT, the file to go on with.")
    if parquet:
        check_parquet()
    beside = dict(evaluation.records)
    if csv and resume and csv.exists():
        evaluation.records = read_records(csv) | beside
    evaluation.run(jobs, csv)
    for line in evaluation.errors:
        typer.echo(line, err=True)
    if parquet:
        write_records(parquet, evaluation.records, evaluation.traits)


def _show(
    evaluation: Evaluation, metrics: str, by: Sequence[str], print_json: bool, paired: bool
) -> None:
    if print_json:
        typer.echo(json.dumps(as_json(evaluation), indent=2))
        return
    console, systems = Console(), evaluation.summaries()
    brief = metrics in PRESETS and evaluation.clips[0].clean is not None
    wanted = evaluation.conditions[0].metrics
    columns = [name for name in wanted if not (brief and MEASURES[name].detail)]
    heard = evaluation.conditions[0].name
    title = f"{evaluation.title}: {len(evaluation.clips)} clips" + (f", {heard}" if heard else "")
    if systems:
        print_summary(console, systems, columns, title)
    if paired:
        print_differences(console, evaluation, [name for name in DIFFERENCES if name in columns])
    if len(evaluation.conditions) > 1:
        print_checks(console, evaluation)
    for column in by:
        print_breakdown(console, evaluation, column, [n for n in columns if MEASURES[n].better])
    print_worst(console, evaluation)


def _write_report(path: Path, evaluation: Evaluation) -> None:
    from sordino.evaluate.report import write_report

    write_report(path, evaluation)


def _end(evaluation: Evaluation) -> None:
    if evaluation.errors:
        count = sum(1 for _ in evaluation.tasks())
        raise SordinoError(f"{len(evaluation.errors)} of {count} outputs not measured.")


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        millions = float(number)
    except ValueError:
        millions = float("nan")
    if not name or not millions > 0:
        raise SordinoError(f"--macs {text}: expected NAME=MILLIONS, as UL-UNAS=34")
    return name, millions * 1e6
