"""The summary for people (a table in the terminal) and for programs (JSON)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sordino.evaluate.measures import MEASURES
from sordino.evaluate.summary import Interval, Summary

CAPTION = "± half of the bootstrap 95 % interval of the mean over clips; best in bold"
GAP = 2  # characters between two columns
UNPROCESSED = "noisy"


def print_summary(
    console: Console, systems: Mapping[str, Summary], metrics: Sequence[str], title: str
) -> None:
    """Print one line per system, in as many tables side by side as the terminal needs.

    Args:
        console: Where to.
        systems: Summaries by name, in the order of the lines.
        metrics: Columns; those that no system has are left out.
        title: Heading.
    """
    columns = [name for name in metrics if any(_known(each.get(name)) for each in systems.values())]
    first = max(len(name) for name in ("system", *systems)) + GAP
    for chunk in _chunks(columns, systems, console.width - first):
        table = Table(
            title=title, title_justify="left", box=None, pad_edge=False, padding=(0, GAP, 0, 0)
        )
        table.add_column("system", no_wrap=True)
        for name in chunk:
            table.add_column(MEASURES[name].title, justify="right", width=_width(name, systems))
        best = {name: _best(name, systems) for name in chunk}
        for system, summary in systems.items():
            cells = (
                Text(_cell(name, summary.get(name)), "bold" if system in best[name] else "")
                for name in chunk
            )
            table.add_row(Text(system), *cells)
        console.print(table)
        console.print()
        title = ""
    console.print(CAPTION, style="dim")


def as_json(systems: Mapping[str, Summary]) -> dict[str, Any]:
    """Return the summaries as plain numbers; what is undefined is None."""
    return {
        system: {
            name: {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in interval._asdict().items()
            }
            for name, interval in summary.items()
        }
        for system, summary in systems.items()
    }


def _known(interval: Interval | None) -> bool:
    return interval is not None and not math.isnan(interval.mean)


def _cell(name: str, interval: Interval | None) -> str:
    if interval is None or math.isnan(interval.mean):
        return "–"
    decimals = MEASURES[name].decimals
    mean = f"{interval.mean:.{decimals}f}"
    if math.isnan(interval.low):
        return mean
    return f"{mean} ±{(interval.high - interval.low) / 2:.{decimals}f}"


def _best(name: str, systems: Mapping[str, Summary]) -> set[str]:
    """Systems with the best mean; the input, whose lag and cost are nothing, stands aside."""
    values = {
        system: summary[name].mean * MEASURES[name].better
        for system, summary in systems.items()
        if system != UNPROCESSED and _known(summary.get(name))
    }
    if not values or not MEASURES[name].better:
        return set()
    return {system for system, value in values.items() if value == max(values.values())}


def _width(name: str, systems: Mapping[str, Summary]) -> int:
    cells = max(len(_cell(name, summary.get(name))) for summary in systems.values())
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
