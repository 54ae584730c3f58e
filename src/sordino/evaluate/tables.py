"""The tables of an evaluation, independent of how they are rendered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sordino.evaluate.conditions import CHECKS
from sordino.evaluate.dataset import group_columns, groups
from sordino.evaluate.parts import BETTER, WORSE, Comparison
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
