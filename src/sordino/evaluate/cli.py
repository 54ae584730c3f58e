"""``sordino evaluate`` and ``sordino compare``: how good systems are on a folder of clips."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sordino.errors import SordinoError
from sordino.evaluate.asked import (
    PRESETS,
    chosen_peers,
    curve_measures,
    known_records,
    named_macs,
    prepared,
    wanted_metrics,
)
from sordino.evaluate.card import check_cards, write_cards
from sordino.evaluate.clips import find_clips
from sordino.evaluate.conditions import CONDITIONS, Condition
from sordino.evaluate.curve import Cost, draw_curve
from sordino.evaluate.evaluation import Evaluation
from sordino.evaluate.measures import MEASURES
from sordino.evaluate.options import (
    Against,
    Beside,
    By,
    Cards,
    Csv,
    Curve,
    CurveMeasures,
    Figures,
    Folder,
    Jobs,
    Json,
    Limit,
    Macs,
    Meta,
    Metrics,
    Models,
    Outputs,
    Parquet,
    Pictures,
    Report,
    Resume,
)
from sordino.evaluate.printing import (
    as_json,
    print_breakdown,
    print_checks,
    print_differences,
    print_summary,
    print_worst,
)
from sordino.evaluate.records import write_records
from sordino.evaluate.systems import System, Unprocessed, networks, recordings
from sordino.evaluate.tables import check_parquet

app = typer.Typer(add_completion=False)

CURVES = "pesq,sisdr,ovrl"
DIFFERENCES = ("pesq", "estoi", "sisdr", "covl", "sig", "ovrl", "nr_db", "att_db", "rtf")


@app.command()
def evaluate(
    folder: Folder,
    model: Models = None,
    outputs: Outputs = None,
    figures: Figures = None,
    beside: Beside = None,
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
    heard_before: Annotated[
        bool,
        typer.Option(
            "--heard-before", help="Let a clip be heard once before, as in a long recording."
        ),
    ] = False,
    conditions: Annotated[
        bool,
        typer.Option(
            "--conditions",
            help="Also quieter, louder, by telephone, unmuted, known, clean, noise, silence.",
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
    card: Cards = None,
    pictures: Pictures = None,
    curve: Curve = None,
    curve_measure: CurveMeasures = CURVES,
    against: Against = Cost.WORK,
    macs: Macs = None,
    print_json: Json = False,
) -> None:
    """Measure models on a folder of clips, beside the unprocessed input and other systems.

    With clean/ beside noisy/, one file name per pair, everything is measured.

    Without it, DNSMOS and levels are.

    Figures are taken at 16 kHz; files are denoised at their own rate.
    """
    if conditions and (level is not None or band is not None or heard_before):
        raise SordinoError(
            "--conditions has its own levels, bands and scenes: "
            "leave --level, --band and --heard-before out."
        )
    systems: list[System] = [Unprocessed(), *recordings(outputs or [])]
    if model or not outputs:
        ours = networks(model or ["default"], strength, attenuation_limit)
        systems[1:1] = ours
    clips = find_clips(folder, limit, meta)
    wanted = wanted_metrics(metrics, clips)
    heard = [Condition(level_dbfs=level, band_hz=band, heard_before=heard_before, metrics=wanted)]
    heard += CONDITIONS if conditions else ()
    evaluation = prepared(folder, clips, systems, heard, figures, beside or [], by or [])
    known_macs = dict(named_macs(each) for each in macs or [])
    drawn = curve_measures(curve_measure, wanted) if curve else []
    if card:
        check_cards(card, evaluation)
    _run(evaluation, jobs, csv, parquet, resume)
    if report:
        _write_report(report, evaluation)
    if card:
        write_cards(card, evaluation, pictures)
    if curve:
        draw_curve(curve, evaluation, drawn, known_macs, against)
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
    beside: Beside = None,
    metrics: Metrics = "all",
    limit: Limit = None,
    jobs: Jobs = 1,
    meta: Meta = None,
    by: By = None,
    csv: Csv = None,
    parquet: Parquet = None,
    resume: Resume = False,
    report: Report = None,
    curve: Curve = None,
    curve_measure: CurveMeasures = CURVES,
    macs: Macs = None,
    print_json: Json = False,
) -> None:
    """Measure models beside other noise suppressors on the same clips, in one run.

    Others that are not installed are skipped; the extra "compare" brings them.

    Every system runs on one thread; its latency is taken out before it is scored.
    """
    systems: list[System] = [Unprocessed(), *networks(model or ["default"]), *chosen_peers(peer)]
    systems += recordings(outputs or [])
    clips = find_clips(folder, limit, meta)
    wanted = wanted_metrics(metrics, clips)
    heard = [Condition(metrics=wanted)]
    evaluation = prepared(folder, clips, systems, heard, figures, beside or [], by or [])
    known_macs = dict(named_macs(each) for each in macs or [])
    drawn = curve_measures(curve_measure, wanted) if curve else []
    _run(evaluation, jobs, csv, parquet, resume)
    if curve:
        draw_curve(curve, evaluation, drawn, known_macs)
    if report:
        _write_report(report, evaluation)
    _show(evaluation, metrics, by or [], print_json, paired=True)
    _end(evaluation)


def _run(
    evaluation: Evaluation, jobs: int, csv: Path | None, parquet: Path | None, resume: bool
) -> None:
    if resume and csv is None:
        raise SordinoError("--resume needs --csv OUT, the file to go on with.")
    if parquet:
        check_parquet()
    beside = dict(evaluation.records)
    if csv and resume and csv.exists():
        evaluation.records = known_records(csv, evaluation.systems) | beside
    evaluation.run(jobs, csv)
    for line in evaluation.errors:
        typer.echo(line, err=True)
    if parquet:
        write_records(parquet, evaluation.records, evaluation.traits, evaluation.versions)


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
