"""The summary for people (tables in the terminal) and for programs (JSON)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sordino.evaluate.conditions import CHECKS
from sordino.evaluate.evaluation import Evaluation
from sordino.evaluate.measures import MEASURES
from sordino.evaluate.summary import Interval, Summary, differences, summarize, worst
from sordino.evaluate.traits import breakdown_columns, groups

CAPTION = "± half of the bootstrap 95 % interval of the mean over clips; best in bold"
GAP = 2  # characters between two columns
UNPROCESSED = "noisy"


def print_summary(
    console: Console,
    systems: Mapping[str, Summary],
    metrics: Sequence[str],
    title: str,
    heading: str = "system",
    caption: str = CAPTION,
    rank: bool = True,
) -> None:
    """Print one line per system, in as many tables side by side as the terminal needs.

    Args:
        console: Where to.
        systems: Summaries by name, in the order of the lines.
        metrics: Columns; those that no system has are left out.
        title: Heading of the table.
        heading: Of the first column.
        caption: Below it.
        rank: Whether the best of a column is marked.
    """
    columns = [name for name in metrics if any(name in each for each in systems.values())]
    first = max(len(name) for name in (heading, *systems)) + GAP
    for chunk in _chunks(columns, systems, console.width - first):
        table = _table(title, heading)
        for name in chunk:
            table.add_column(MEASURES[name].title, justify="right", width=_width(name, systems))
        best = {name: best_systems(name, systems) if rank else () for name in chunk}
        for system, summary in systems.items():
            cells = (
                Text(cell(name, summary.get(name)), "bold" if system in best[name] else "")
                for name in chunk
            )
            table.add_row(Text(system), *cells)
        console.print(table)
        console.print()
        title = ""
    if caption:
        console.print(caption, style="dim")


def print_differences(console: Console, evaluation: Evaluation, metrics: Sequence[str]) -> None:
    """Print how the subject differs from every other system, clip by clip."""
    ours, subject = evaluation.rows(evaluation.subject), evaluation.subject
    table = {
        f"{subject} - {name}": differences(ours, evaluation.rows(name))
        for name in evaluation.names
        if name != subject
    }
    shown = [name for name in metrics if MEASURES[name].better]
    print_summary(
        console,
        {name: each for name, each in table.items() if each},
        shown,
        "Paired differences",
        caption="± half of the bootstrap 95 % interval of the mean difference, clip by clip",
        rank=False,
    )


def print_checks(console: Console, evaluation: Evaluation) -> None:
    """Print the figures under other conditions beside their limits."""
    systems = [system.name for system in evaluation.systems if system.runs]
    table = _table("Under other conditions", "input")
    table.add_column("figure", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    for name in systems:
        table.add_column(name, justify="right")
    for check in CHECKS:
        results = {name: check.result(evaluation.records, name) for name in systems}
        if not any(results.values()):
            continue
        cells = [
            Text(cell(check.measure, each), "" if each and check.holds(each.mean) else "red")
            for each in results.values()
        ]
        table.add_row(check.condition.name, check.title, check.goal, *cells)
    console.print(table)
    console.print("beyond the goal in red", style="dim")


def print_breakdown(
    console: Console, evaluation: Evaluation, column: str, metrics: Sequence[str]
) -> None:
    """Print the subject's figures by the values of a column of META.csv."""
    found = {
        value: summarize(evaluation.rows(evaluation.subject, clips).values())
        for value, clips in groups(evaluation.traits, column).items()
    }
    title = f"{evaluation.subject} by {column}"
    print_summary(console, found, metrics, title, column, caption="", rank=False)


def print_worst(console: Console, evaluation: Evaluation) -> None:
    """Print the subject's worst clips."""
    rows = evaluation.rows(evaluation.subject)
    measure, clips = worst(rows)
    columns = breakdown_columns(list(evaluation.traits.values()))
    table = _table(f"Worst clips of {evaluation.subject}", "clip")
    for name in (*columns, MEASURES[measure].title if measure else ""):
        table.add_column(name, justify="right")
    for clip in clips:
        traits = (evaluation.traits[clip].get(column, "") for column in columns)
        value = f"{rows[clip][measure]:.{MEASURES[measure].decimals}f}"
        table.add_row(Text(clip), *map(Text, traits), value)
    if clips:
        console.print(table)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything as plain numbers; what is undefined is None."""
    subject, rows = evaluation.subject, evaluation.rows(evaluation.subject)
    traits = evaluation.traits
    return {
        "set": evaluation.title,
        "clips": len(evaluation.clips),
        "condition": evaluation.conditions[0].name,
        "systems": {name: _plain(each) for name, each in evaluation.summaries().items()},
        "differences": {
            name: _plain(differences(rows, evaluation.rows(name)))
            for name in evaluation.names
            if name != subject
        },
        "checks": [
            {"condition": check.condition.name, "figure": check.title, "goal": check.goal}
            | {"system": system.name, "holds": check.holds(result.mean), **_numbers(result)}
            for check in CHECKS
            for system in evaluation.systems
            if (result := check.result(evaluation.records, system.name))
        ],
        "breakdown": {
            column: {
                value: _plain(summarize(evaluation.rows(subject, clips).values()))
                for value, clips in groups(traits, column).items()
            }
            for column in breakdown_columns(list(traits.values()))
        },
        "worst": worst(rows)[1],
        "errors": evaluation.errors,
    }


def cell(name: str, interval: Interval | None) -> str:
    """Return a mean and half of its interval as text."""
    if interval is None or math.isnan(interval.mean):
        return "–"
    decimals = MEASURES[name].decimals
    mean = f"{interval.mean:.{decimals}f}"
    if math.isnan(interval.low):
        return mean
    return f"{mean} ±{(interval.high - interval.low) / 2:.{decimals}f}"


def best_systems(name: str, systems: Mapping[str, Summary]) -> set[str]:
    """Name the best by their mean; the input, whose lag and cost are nothing, stands aside."""
    values = {
        system: summary[name].mean * MEASURES[name].better
        for system, summary in systems.items()
        if system != UNPROCESSED and name in summary
    }
    if not values or not MEASURES[name].better:
        return set()
    return {system for system, value in values.items() if value == max(values.values())}


def _plain(summary: Summary) -> dict[str, dict[str, float | None]]:
    return {name: _numbers(interval) for name, interval in summary.items()}


def _numbers(interval: Interval) -> dict[str, float | None]:
    values = interval._asdict()
    return {key: None if math.isnan(value) else value for key, value in values.items()}


def _table(title: str, heading: str) -> Table:
    table = Table(
        title=title, title_justify="left", box=None, pad_edge=False, padding=(0, GAP, 0, 0)
    )
    table.add_column(heading, no_wrap=True)
    return table


def _width(name: str, systems: Mapping[str, Summary]) -> int:
    cells = max(len(cell(name, summary.get(name))) for summary in systems.values())
    return max(cells, *(len(word) for word in MEASURES[name].title.split()))


def _chunks(names: Sequence[str], systems: Mapping[str, Summary], width: int) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    left = width
    for name in names:
        needed = _width(name, systems) + GAP
        if needed > left and chunks[-1]:
            chunks.append([])
            left = width
        chunks[-1].append(name)
        left -= needed
    return chunks
