"""The tables of an evaluation, and how they are rendered: terminal, Markdown, JSON."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import rich.table
from rich.console import Console
from rich.text import Text

from sordino.evaluate.conditions import CHECKS
from sordino.evaluate.dataset import group_columns, groups
from sordino.evaluate.parts import BETTER, WORSE, Comparison, compared
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import MEASURES
from sordino.evaluate.statistics import Interval, Summary, differences, summarize, worst
from sordino.evaluate.systems import UNPROCESSED

MEANS_NOTE = "± half of the bootstrap 95 % interval of the mean over clips; best in bold"
DIFFERENCES_NOTE = (
    "± half of the bootstrap 95 % interval of the mean paired difference; "
    "bold where it excludes zero, elsewhere it is no gain"
)
CHECKS_NOTE = "marked: beyond the goal"
COMPARISON_NOTE = (
    "difference: paired bootstrap over clips, 95 % interval; where it includes zero there is "
    "no clear difference and no gain; noise alone by its median, other figures by their mean"
)
Mark = Literal["", "strong", "bad"]
MARKS: Mapping[str, Mark] = {BETTER: "strong", WORSE: "bad"}
GAP = 2  # characters between two columns
STYLES = {"": "", "strong": "bold", "bad": "red"}
NUMBER = re.compile(r"[-–\d.*±→ to]*")  # a figure, an interval or a change


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: For people.
        mark: ``strong`` for the best or a clear figure, ``bad`` for one beyond its limit.
        value: For programs; None if undefined.
    """

    text: str = ""
    mark: Mark = ""
    value: Any = None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Name for programs.
        title: Heading.
        label: Whether it says what a row is about; other columns hold figures.
    """

    key: str
    title: str
    label: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: Above it.
        columns: Labels first.
        rows: Cells in the order of the columns.
        note: Below it.
        sections: Headings between rows, by the index of the row that follows.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    sections: Mapping[int, str] = field(default_factory=dict[int, str])


def summary_table(
    title: str,
    heading: str,
    summaries: Mapping[str, Summary],
    measures: Sequence[str],
    note: str = "",
    best: bool = False,
) -> Table:
    """Return statistics, a row for each system or group.

    Args:
        title: Of the table.
        heading: Of the first column.
        summaries: By name of the row.
        measures: Columns; those that no row has are left out.
        note: Below the table.
        best: Whether the best figure of each column is marked.
    """
    shown = [name for name in measures if any(name in each for each in summaries.values())]
    first = {name: best_systems(name, summaries) if best else set[str]() for name in shown}
    rows = [
        [
            Cell(label),
            *(
                figure_cell(name, each.get(name), "strong" if label in first[name] else "")
                for name in shown
            ),
        ]
        for label, each in summaries.items()
    ]
    return Table(title, [Column("name", heading, True), *map(measure_column, shown)], rows, note)


def differences_table(evaluation: Evaluation, measures: Sequence[str]) -> Table:
    """Return the paired differences between the subject and every other system."""
    subject = evaluation.subject
    ours = evaluation.rows(subject)
    found = {
        name: differences(ours, evaluation.rows(name))
        for name in evaluation.names
        if name != subject
    }
    shown = [name for name in measures if any(name in each for each in found.values())]
    rows = [
        [
            Cell(f"{subject} - {name}", value=name),
            *(
                figure_cell(
                    key, each.get(key), "strong" if key in each and each[key].significant else ""
                )
                for key in shown
            ),
        ]
        for name, each in found.items()
        if each
    ]
    columns = [Column("name", "system", True), *map(measure_column, shown)]
    return Table("Paired differences", columns, rows, DIFFERENCES_NOTE)


def checks_table(evaluation: Evaluation, systems: Sequence[str]) -> Table:
    """Return figures under other conditions with their limits, a column for each system."""
    rows: list[list[Cell]] = []
    for check in CHECKS:
        results = {name: evaluation.check(check, name) for name in systems}
        if any(results.values()):
            labels = [Cell(check.condition.name), Cell(check.title), Cell(check.goal)]
            cells = [
                figure_cell(check.measure, each, "" if check.holds(each.mean) else "bad")
                if each
                else Cell("–")
                for each in results.values()
            ]
            rows.append([*labels, *cells])
    labels = [Column(key, key, True) for key in ("condition", "figure", "goal")]
    columns = [*labels, *(Column(name, name) for name in systems)]
    return Table("Under other conditions", columns, rows, CHECKS_NOTE)


def breakdown_table(evaluation: Evaluation, column: str, measures: Sequence[str]) -> Table:
    """Return the subject's figures by the values of a column of META.csv."""
    traits = {clip.name: clip.traits for clip in evaluation.summarized}
    found = {
        value: summarize(evaluation.rows(evaluation.subject, clips).values())
        for value, clips in groups(traits, column).items()
    }
    return summary_table(f"{evaluation.subject} by {column}", column, found, measures)


def comparison_table(subject: str, names: Sequence[str], rows: Sequence[Comparison]) -> Table:
    """Return the comparison of all systems on every part of the set.

    Args:
        subject: The system that is compared with others.
        names: Systems in the order of the columns.
        rows: See `sordino.evaluate.parts.compared`.
    """
    body: list[list[Cell]] = []
    sections: dict[int, str] = {}
    last = ""
    for row in rows:
        section = f"{row.part}, {row.start}"
        if section != last:
            count = row.systems[subject].files
            sections[len(body)] = f"{section}: {count} clip{'' if count == 1 else 's'}"
            last = section
        places = MEASURES[row.measure].decimals
        gap = row.difference
        interval = (
            "" if math.isnan(gap.low) else f" ({gap.low:+.{places}f} to {gap.high:+.{places}f})"
        )
        difference = "–" if math.isnan(gap.mean) else f"{gap.mean:+.{places}f}{interval}"
        figures = [
            Cell(f"{row.systems[name].mean:z.{places}f}" if name in row.systems else "–")
            for name in names
        ]
        mark = MARKS.get(row.verdict, "")
        body.append(
            [
                Cell(MEASURES[row.measure].title),
                *figures,
                Cell(difference),
                Cell(row.against or "–"),
                Cell(row.verdict, mark),
            ]
        )
    columns = [
        Column("figure", "figure", True),
        *(Column(name, name) for name in names),
        Column("difference", "difference"),
        Column("against", "against"),
        Column("verdict", "verdict"),
    ]
    return Table("By part of the set", columns, body, COMPARISON_NOTE, sections)


def worst_table(evaluation: Evaluation) -> Table:
    """Return the subject's worst clips with what META.csv says about them."""
    measure, clips = worst(evaluation.rows(evaluation.subject))
    title = f"Worst clips of {evaluation.subject}"
    return _clips_table(evaluation, clips, [measure] if measure else [], title)


def clips_table(evaluation: Evaluation, measures: Sequence[str], max_clips: int) -> Table:
    """Return the subject's figures for every clip, up to `max_clips`."""
    rows = evaluation.rows(evaluation.subject)
    shown = [name for name in measures if any(name in row for row in rows.values())]
    return _clips_table(evaluation, list(rows)[:max_clips], shown, "Every clip")


def _clips_table(
    evaluation: Evaluation, clips: Sequence[str], measures: Sequence[str], title: str
) -> Table:
    rows, traits = evaluation.rows(evaluation.subject), evaluation.traits
    columns = group_columns([clip.traits for clip in evaluation.summarized])
    body = [
        [
            Cell(clip),
            *(Cell(traits[clip].get(column, "")) for column in columns),
            *(Cell(number(name, rows[clip].get(name))) for name in measures),
        ]
        for clip in clips
    ]
    labels = [Column(name, name, True) for name in ("clip", *columns)]
    return Table(title, [*labels, *map(measure_column, measures)], body)


def measure_column(name: str) -> Column:
    """Return the column of a measure."""
    return Column(name, MEASURES[name].title)


def figure_cell(name: str, interval: Interval | None, mark: Mark = "") -> Cell:
    """Return a mean with half of its interval."""
    if interval is None or math.isnan(interval.mean):
        return Cell("–")
    text = number(name, interval.mean)
    if not math.isnan(interval.low):
        text += f" ±{(interval.high - interval.low) / 2:.{MEASURES[name].decimals}f}"
    return Cell(text, mark, numbers(interval))


def number(name: str, value: float | None) -> str:
    """Return a figure with the decimals of its measure."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{MEASURES[name].decimals}f}"


def numbers(interval: Interval) -> dict[str, float | None]:
    """Return an interval for JSON; what is undefined is None."""
    values = interval._asdict()
    return {key: None if math.isnan(value) else value for key, value in values.items()}


def best_systems(name: str, systems: Mapping[str, Summary]) -> set[str]:
    """Return the systems with the best mean, without the unprocessed input."""
    values = {
        system: summary[name].mean * MEASURES[name].better
        for system, summary in systems.items()
        if system != UNPROCESSED and name in summary
    }
    if not values or not MEASURES[name].better:
        return set()
    return {system for system, value in values.items() if value == max(values.values())}


def print_table(console: Console, table: Table) -> None:
    """Print a table to a terminal, split by columns if it is wider.

    Args:
        console: Where to print.
        table: A table without rows prints nothing.
    """
    if not table.rows:
        return
    labels = [i for i, column in enumerate(table.columns) if column.label]
    figures = [i for i, column in enumerate(table.columns) if not column.label]
    widths = [_width(table, i) for i in range(len(table.columns))]
    space = console.width - sum(widths[i] + GAP for i in labels)
    if table.title:
        console.print(Text(table.title, "italic"))
    for chunk in _chunks(figures, widths, space):
        starts = sorted({0, *table.sections, len(table.rows)})
        for start, stop in pairwise(starts):
            if start in table.sections:
                console.print(Text(table.sections[start], "bold"))
            drawn = rich.table.Table(
                box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=start == 0
            )
            for i in labels:
                drawn.add_column(Text(table.columns[i].title), no_wrap=True, width=widths[i])
            for i in chunk:
                drawn.add_column(Text(table.columns[i].title), justify="right", width=widths[i])
            for row in table.rows[start:stop]:
                drawn.add_row(*(Text(row[i].text, STYLES[row[i].mark]) for i in (*labels, *chunk)))
            console.print(drawn)
        console.print()
    if table.note:
        console.print(Text(table.note, "dim"))
        console.print()


def markdown(table: Table) -> str:
    """Return a table as Markdown; columns of figures are right-aligned, empty ones left out.

    >>> from sordino.evaluate.tables import Column
    >>> rows = [["a", "1.5 ±0.2", ""], ["b", "**12.0**", ""]]
    >>> columns = [Column("name", "", True), Column("db", "dB"), Column("why", "why")]
    >>> print(markdown(Table("", columns, [[Cell(text) for text in row] for row in rows])))
    |  | dB |
    | --- | --: |
    | a | 1.5 ±0.2 |
    | b | **12.0** |
    """
    head = [column.title for column in table.columns]
    rows = [[_marked(cell) for cell in row] for row in table.rows]
    keep = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    right = [i and all(NUMBER.fullmatch(row[i]) for row in rows) for i in keep]
    rule = ["--:" if each else "---" for each in right]
    lines = [[head[i] for i in keep], rule, *([row[i] for i in keep] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_json(evaluation: Evaluation, versus: str | None = None) -> dict[str, Any]:
    """Return everything as plain numbers; undefined figures are None.

    Args:
        evaluation: What was measured.
        versus: The system that the subject is compared with; the best other one by default.
    """
    everything = list(MEASURES)
    columns = group_columns([clip.traits for clip in evaluation.summarized])
    return {
        "set": evaluation.title,
        "clips": len(evaluation.clips),
        "condition": evaluation.conditions[0].name,
        "systems": _by_row(summary_table("", "", evaluation.summaries(), everything)),
        "differences": _by_row(differences_table(evaluation, everything)),
        "comparison": [
            {
                "part": row.part,
                "start": row.start,
                "measure": row.measure,
                "systems": {name: numbers(each) for name, each in row.systems.items()},
                "against": row.against,
                "difference": numbers(row.difference),
                "verdict": row.verdict,
            }
            for row in compared(evaluation, versus)
        ],
        "checks": _checks(checks_table(evaluation, evaluation.checked)),
        "breakdown": {
            column: _by_row(breakdown_table(evaluation, column, everything)) for column in columns
        },
        "worst": [row[0].text for row in worst_table(evaluation).rows],
        "errors": evaluation.errors,
    }


def _by_row(table: Table) -> dict[str, dict[str, Any]]:
    """Return the defined figures by row and column."""
    return {
        row[0].value or row[0].text: {
            column.key: cell.value
            for column, cell in zip(table.columns, row, strict=True)
            if not column.label and cell.value is not None
        }
        for row in table.rows
    }


def _checks(table: Table) -> list[dict[str, Any]]:
    """Return one record for each check and system."""
    return [
        {
            **{c.key: cell.text for c, cell in zip(table.columns, row, strict=True) if c.label},
            "system": column.key,
            "holds": cell.mark != "bad",
            **cell.value,
        }
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
        if cell.value is not None
    ]


def _marked(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.mark else cell.text


def _width(table: Table, column: int) -> int:
    cells = max(len(row[column].text) for row in table.rows)
    title = table.columns[column].title
    return max(cells, *(len(word) for word in title.split() or [""]))


def _chunks(columns: Sequence[int], widths: Sequence[int], space: int) -> list[list[int]]:
    """Divide columns into groups that fit a width."""
    chunks: list[list[int]] = [[]]
    left = space
    for column in columns:
        needed = widths[column] + GAP
        if needed > left and chunks[-1]:
            chunks.append([])
            left = space
        chunks[-1].append(column)
        left -= needed
    return chunks
