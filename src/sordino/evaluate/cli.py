"""``sordino evaluate`` and ``sordino compare``: quality of systems on a folder of clips."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from sordino.commands import needing
from sordino.errors import SordinoError
from sordino.evaluate import options as o
from sordino.evaluate.card import check_cards, write_cards
from sordino.evaluate.conditions import CONDITIONS
from sordino.evaluate.curve import CostAxis, draw_curve
from sordino.evaluate.dataset import MIXTURE, find_clips
from sordino.evaluate.parts import compared
from sordino.evaluate.results import check_parquet, write_records
from sordino.evaluate.runner import Evaluation, export_inputs
from sordino.evaluate.scores import MEASURES
from sordino.evaluate.systems import System, Unprocessed, networks, recordings
from sordino.evaluate.tables import (
    MEANS_NOTE,
    as_json,
    breakdown_table,
    checks_table,
    comparison_table,
    differences_table,
    print_table,
    summary_table,
    worst_table,
)
from sordino.evaluate.voice_clips import find_voice_clips

app = typer.Typer(add_completion=False)

DIFFERENCES = ("pesq", "estoi", "sisdr", "covl", "sig", "ovrl", "nr_db", "att_db", "rtf")


@app.command()
def evaluate(
    folder: o.Folder,
    model: o.Models = None,
    outputs: o.Outputs = None,
    figures: o.Figures = None,
    beside: o.Beside = None,
    versus: o.Versus = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the noise to remove.")
    ] = 1,
    attenuation_limit: Annotated[
        float | None,
        typer.Option(min=0, metavar="DB", help="Attenuate nothing by more than this many dB."),
    ] = None,
    level: o.Level = None,
    band: o.Band = None,
    warm_up: o.WarmUp = None,
    heard_before: o.OldHeardBefore = False,
    conditions: o.AllConditions = False,
    condition: o.OneCondition = None,
    metrics: o.Metrics = "all",
    limit: o.Limit = None,
    jobs: o.Jobs = None,
    cluster: o.Cluster = None,
    meta: o.Meta = None,
    by: o.By = None,
    csv: o.Csv = None,
    parquet: o.Parquet = None,
    resume: o.Resume = False,
    report: o.Report = None,
    card: o.Cards = None,
    pictures: o.Pictures = None,
    curve: o.Curve = None,
    curve_measure: o.CurveMeasures = o.CURVE_MEASURES,
    against: o.Against = CostAxis.WORK,
    macs: o.Macs = None,
    export_inputs: o.ExportInputs = None,
    print_json: o.Json = False,
    voice: o.Voice = False,
    judge: o.Judge = None,
) -> None:
    """Measure models on a folder of clips, beside the unprocessed input and other systems.

    With clean/ beside noisy/, one file name per pair, everything is measured.

    Without it, DNSMOS and levels are.

    Figures are taken at 16 kHz; files are denoised at their own rate.

    Example: sordino evaluate dev/16k --model default --csv figures.csv --report report.html

    With --voice the folder holds two-talker clips: mixture/, target/, enrolment/ and META.csv.
    """
    if voice:
        models = model or ["default-voice"]
        _evaluate_voice(folder, models, limit, by or [], csv, print_json, judge)
        return
    if judge:
        raise SordinoError("--judge goes with --voice: it judges whose voice is kept")
    ours: list[System] = []
    if model or not outputs:
        ours = [*networks(model or ["default"], strength, attenuation_limit)]
    clips = find_clips(folder, limit, meta)
    wanted = o.wanted_metrics(metrics, clips)
    under = o.chosen_conditions(
        level, band, warm_up, heard_before, conditions, condition or [], wanted
    )
    theirs = recordings(outputs or [], CONDITIONS)
    systems = [Unprocessed(), *ours, *theirs]
    evaluation = o.prepared(folder, clips, systems, under, figures, beside or [], by or [])
    _run(
        evaluation,
        _Results(
            metrics, by or [], csv, parquet, resume, report, print_json, versus, cluster=cluster
        ),
        jobs,
        _Curve(curve, curve_measure, macs or [], against),
        export_inputs,
        card or [],
        pictures,
    )


@app.command()
def compare(
    folder: o.Folder,
    model: o.Models = None,
    baseline: o.Baselines = None,
    peer: o.OldPeers = None,
    outputs: o.Outputs = None,
    figures: o.Figures = None,
    beside: o.Beside = None,
    versus: o.Versus = None,
    level: o.Level = None,
    band: o.Band = None,
    warm_up: o.WarmUp = None,
    conditions: o.AllConditions = False,
    condition: o.OneCondition = None,
    metrics: o.Metrics = "all",
    limit: o.Limit = None,
    jobs: o.Jobs = None,
    meta: o.Meta = None,
    by: o.By = None,
    csv: o.Csv = None,
    parquet: o.Parquet = None,
    resume: o.Resume = False,
    report: o.Report = None,
    curve: o.Curve = None,
    curve_measure: o.CurveMeasures = o.CURVE_MEASURES,
    macs: o.Macs = None,
    export_inputs: o.ExportInputs = None,
    print_json: o.Json = False,
) -> None:
    """Measure models beside other noise suppressors on the same clips, in one run.

    Others that are not installed are skipped; the extra "compare" brings them.

    Every system runs on one thread; its latency is removed before it is scored.

    Example: sordino compare val --condition warm --outputs GTCRN=gtcrn/ --versus GTCRN
    """
    if peer:
        typer.echo("--peer is now --baseline; it will be removed", err=True)
    ours = networks(model or ["default"])
    others = o.chosen_baselines([*(baseline or []), *(peer or [])])
    clips = find_clips(folder, limit, meta)
    wanted = o.wanted_metrics(metrics, clips)
    under = o.chosen_conditions(level, band, warm_up, False, conditions, condition or [], wanted)
    systems = [Unprocessed(), *ours, *others, *recordings(outputs or [], CONDITIONS)]
    evaluation = o.prepared(folder, clips, systems, under, figures, beside or [], by or [])
    results = _Results(metrics, by or [], csv, parquet, resume, report, print_json, versus, True)
    _run(evaluation, results, jobs, _Curve(curve, curve_measure, macs or []), export_inputs)


def _evaluate_voice(
    folder: Path,
    models: Sequence[str],
    limit: int | None,
    by: Sequence[str],
    csv: Path | None,
    print_json: bool,
    wheel: Path | None,
) -> None:
    """Measure how well one model keeps enrolled voices."""
    from sordino.evaluate import voice

    judge = None
    if wheel is not None:
        from sordino.evaluate.voice_judge import Judge

        judge = Judge(wheel)

    if len(models) > 1:
        raise SordinoError("--voice measures one --model at a time")
    clips = find_voice_clips(folder, limit)
    if missing := [column for column in by if column not in clips[0].traits]:
        raise SordinoError(f"--by {missing[0]}: META.csv has no such column")
    evaluation = voice.VoiceEvaluation(clips, models[0], judge)
    console = Console()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=len(clips))
        evaluation.run(lambda: bar.advance(task))
    if csv:
        voice.write_figures(evaluation, csv)
    if print_json:
        typer.echo(json.dumps(evaluation.rows, indent=2))
        return
    for table in voice.tables(evaluation, by):
        print_table(console, table)


@dataclass(frozen=True)
class _Results:
    """Where results go, as given on the command line."""

    metrics: str
    by: Sequence[str]
    csv: Path | None
    parquet: Path | None
    resume: bool
    report: Path | None
    print_json: bool
    versus: str | None
    paired: bool = False
    cluster: str | None = None


@dataclass(frozen=True)
class _Curve:
    """The curve, as given on the command line."""

    path: Path | None
    measures: str
    macs: Sequence[str]
    against: CostAxis = CostAxis.WORK


def _run(
    evaluation: Evaluation,
    results: _Results,
    jobs: int | None,
    curve: _Curve,
    inputs: Path | None,
    cards: Sequence[Path] = (),
    pictures: Path | None = None,
) -> None:
    if inputs:
        export_inputs(evaluation, inputs)
        return
    known_macs = dict(o.named_macs(each) for each in curve.macs)
    wanted = evaluation.conditions[0].metrics
    drawn = o.curve_measures(curve.measures, wanted) if curve.path else []
    o.check_versus(results.versus, evaluation)
    if cards:
        check_cards(cards, evaluation)
    _measure(evaluation, results, jobs)
    if results.report:
        from sordino.evaluate.html import write_report

        write_report(results.report, evaluation, results.versus)
    if cards:
        write_cards(cards, evaluation, pictures)
    if curve.path:
        draw_curve(curve.path, evaluation, drawn, known_macs, curve.against)
    _show(evaluation, results)
    if evaluation.errors:
        count = sum(1 for _ in evaluation.tasks())
        raise SordinoError(f"{len(evaluation.errors)} of {count} outputs not measured.")


def _measure(evaluation: Evaluation, results: _Results, jobs: int | None) -> None:
    if results.resume and results.csv is None:
        raise SordinoError("--resume needs --csv OUT, the file to continue.")
    if results.parquet:
        check_parquet()
    beside = dict(evaluation.records)
    if results.csv and results.resume and results.csv.exists():
        evaluation.records = o.known_records(results.csv, evaluation.systems) | beside
    if results.cluster is None:
        evaluation.run(jobs or o.default_jobs(), results.csv)
    else:
        with needing("cluster", "sordino evaluate --cluster"):
            from sordino.evaluate.cluster import TasksOnCluster
        evaluation.run(jobs or 0, results.csv, TasksOnCluster(results.cluster))
    for line in evaluation.errors:
        typer.echo(line, err=True)
    if results.parquet:
        write_records(results.parquet, evaluation.records, evaluation.traits, evaluation.versions)


def _show(evaluation: Evaluation, results: _Results) -> None:
    if results.print_json:
        typer.echo(json.dumps(as_json(evaluation, results.versus), indent=2))
        return
    console, subject = Console(), evaluation.subject
    references = any(clip.clean is not None for clip in evaluation.clips)
    brief = results.metrics in o.PRESETS and references
    wanted = evaluation.conditions[0].metrics
    columns = [name for name in wanted if not (brief and MEASURES[name].detail)]
    condition = evaluation.conditions[0].name
    title = f"{evaluation.title}: {len(evaluation.summarized)} clips"
    title += f", {condition}" if condition else ""
    print_table(
        console,
        summary_table(title, "system", evaluation.summaries(), columns, MEANS_NOTE, best=True),
    )
    if results.paired:
        shown = [name for name in DIFFERENCES if name in columns]
        print_table(console, differences_table(evaluation, shown))
    if results.paired or any(clip.part != MIXTURE for clip in evaluation.clips):
        rows = compared(evaluation, results.versus)
        print_table(console, comparison_table(subject, evaluation.names, rows))
    if len(evaluation.conditions) > 1:
        print_table(console, checks_table(evaluation, evaluation.checked))
    judged = [name for name in columns if MEASURES[name].better]
    for column in results.by:
        print_table(console, breakdown_table(evaluation, column, judged))
    print_table(console, worst_table(evaluation))
