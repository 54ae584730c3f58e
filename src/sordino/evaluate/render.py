"""Renders the tables of an evaluation for the terminal, as Markdown and as JSON."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from sordino.evaluate.dataset import group_columns
from sordino.evaluate.parts import compared
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import MEASURES
from sordino.evaluate.tables import (
    Cell,
    Table,
    breakdown_table,
    checks_table,
    differences_table,
    numbers,
    summary_table,
    worst_table,
)

GAP = 2  # characters between two columns
STYLES = {"": "", "strong": "bold", "bad": "red"}
NUMBER = re.compile(r"[-–\d.*±→ to]*")  # a figure, an interval or a change


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
