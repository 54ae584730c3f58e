"""``sordino evaluate``: how good models and other systems are on a folder of clips."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip, find_clips
from sordino.evaluate.measures import ALL, FAST, MEASURES, check_metrics
from sordino.evaluate.records import Records, read_peers, read_records, write_records
from sordino.evaluate.report import as_json, print_summary
from sordino.evaluate.sets import walk
from sordino.evaluate.summary import summarize
from sordino.evaluate.systems import System, Unprocessed, networks, recordings

app = typer.Typer(add_completion=False)

PRESETS = {"all": ALL, "fast": FAST}


@app.command()
def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with noisy/ and, if you have it, clean/")
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="Name or .onnx file; repeat it to compare several.")
    ] = None,
    estimates: Annotated[
        list[Path] | None, typer.Option(help="A folder of another system's outputs; repeatable.")
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(help="A folder of CSV files with other systems' figures.")
    ] = None,
    strength: Annotated[float, typer.Option(min=0, max=1, help="Share of the noise to take.")] = 1,
    attenuation_limit: Annotated[
        float | None, typer.Option(min=0, metavar="DB", help="Attenuate nothing by more than this.")
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="all, fast, or names separated by commas, as in the CSV.")
    ] = "all",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N clips.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    csv: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the figures of every clip there.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the clips that --csv already has.")
    ] = False,
    print_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Measure models on a folder of clips, beside the unprocessed input and other systems.

    With clean/ beside noisy/, one file name per pair, everything is measured.

    Without it, DNSMOS and levels are.

    All figures are taken at 16 kHz; files are denoised at their own rate.
    """
    clips = find_clips(folder, limit)
    wanted = _parse_metrics(metrics, references=clips[0].clean is not None)
    if resume and csv is None:
        raise SordinoError("--resume needs --csv OUT, the file to go on with.")
    systems: list[System] = [Unprocessed(), *recordings(estimates or [])]
    if model or not estimates:
        systems += networks(model or ["default"], strength, attenuation_limit)
    called = [system.name for system in systems]
    if twice := [name for name in called if called.count(name) > 1]:
        raise SordinoError(f"Two systems are called {twice[0]!r}: rename a file or a folder.")
    names = [clip.name for clip in clips]
    others = read_peers(peers, names) if peers else {}
    done = read_records(csv) if csv and resume and csv.exists() else {}

    records, errors = _measure(systems, clips, wanted, jobs, csv, done)
    for line in errors:
        typer.echo(line, err=True)
    shown = dict.fromkeys([*called, *others])
    figures = {**others, **records}
    summaries = {
        name: summarize(row for clip, row in figures[name].items() if clip in names)
        for name in shown
        if figures[name]
    }
    if print_json:
        report = {"set": str(folder), "clips": len(clips), "systems": as_json(summaries)}
        typer.echo(json.dumps({**report, "errors": errors}, indent=2))
    elif summaries:
        title = f"{folder}: {len(clips)} clips"
        brief = metrics in PRESETS and clips[0].clean is not None
        columns = [name for name in wanted if not (brief and MEASURES[name].detail)]
        print_summary(Console(), summaries, columns, title)
    if errors:
        raise SordinoError(f"{len(errors)} of {len(clips) * len(systems)} outputs not measured.")


def _parse_metrics(text: str, references: bool) -> list[str]:
    """Return the measures meant, in the order of the report, that this set allows."""
    asked = check_metrics(PRESETS.get(text, [name.strip() for name in text.split(",")]))
    if not references and text in PRESETS:
        free = {name for name, each in MEASURES.items() if not each.reference}
        asked = (asked & free) | {"level_db", "pause_db"}
    if lacking := [n for n in MEASURES if n in asked and MEASURES[n].reference and not references]:
        raise SordinoError(f"{lacking[0]} needs a reference: there is no clean/ beside noisy/.")
    return [name for name in MEASURES if name in asked]


def _measure(
    systems: Sequence[System],
    clips: Sequence[Clip],
    wanted: Sequence[str],
    jobs: int,
    csv: Path | None,
    done: Records,
) -> tuple[Records, list[str]]:
    """Score what is not done yet; write the CSV after every clip, so that little is lost."""
    records: Records = {system.name: dict(done.get(system.name, {})) for system in systems}
    tasks = [
        (system, clip)
        for system in systems
        for clip in clips
        if clip.name not in records[system.name]
    ]
    errors: list[str] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as progress:
        bar = progress.add_task("evaluate", total=len(tasks))
        for result in walk(tasks, wanted, jobs):
            progress.update(bar, advance=1, description=result.system)
            if result.error:
                errors.append(result.error)
                continue
            records[result.system][result.clip] = result.row
            if csv:
                write_records(csv, {**done, **records})
    return records, errors
