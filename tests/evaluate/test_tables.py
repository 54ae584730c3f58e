import io

import pytest
from rich.console import Console

from sordino.evaluate.parts import BETTER, Comparison
from sordino.evaluate.statistics import Interval
from sordino.evaluate.tables import (
    Cell,
    Column,
    Table,
    comparison_table,
    markdown,
    print_table,
    summary_table,
)

SUMMARIES = {
    f"system {i}": {name: Interval(i + 0.5, i, i + 1, 3) for name in ("pesq", "sisdr", "att_db")}
    for i in range(3)
}


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    print_table(console, table)
    return console.file.getvalue()


def test_a_table_wider_than_the_terminal_is_split_by_columns():
    table = summary_table("Title", "system", SUMMARIES, ["pesq", "sisdr", "att_db"])
    wide, narrow = printed(table, 200), printed(table, 36)
    assert wide.count("system 1") == 1
    assert narrow.count("system 1") == 2
    assert max(map(len, narrow.splitlines())) <= 36
    for row in table.rows:
        for cell in row:
            assert cell.text in narrow


def test_the_best_is_marked_and_losses_are_best_when_small():
    table = summary_table("", "system", SUMMARIES, ["pesq", "att_db"], best=True)
    marks = [[cell.mark for cell in row[1:]] for row in table.rows]
    assert marks == [["", "strong"], ["", ""], ["strong", ""]]
    assert "| system 0 | 0.50 ±0.50 | **0.50 ±0.50** |" in markdown(table)


def test_undefined_columns_are_left_out_and_undefined_figures_are_dashes():
    summaries = {"a": SUMMARIES["system 0"], "b": {}}
    table = summary_table("", "system", summaries, ["pesq", "wer"])
    assert [column.key for column in table.columns] == ["name", "pesq"]
    assert table.rows[1][1] == Cell("–")


def test_a_comparison_says_how_sure_it_is():
    interval = Interval(0.1, 0.05, 0.15, 20)
    systems = {"mine": Interval(2.1, 2.0, 2.2, 20), "other": Interval(2.0, 1.9, 2.1, 20)}
    row = Comparison("mixtures", "cold", "pesq", systems, "other", interval, BETTER)
    table = comparison_table("mine", ["mine", "other"], [row, row])
    assert table.sections == {0: "mixtures, cold: 20 clips"}
    text = printed(table, 200)
    for wanted in ("mixtures, cold: 20 clips", "+0.10 (+0.05 to +0.15)", "other", "better"):
        assert wanted in text


@pytest.mark.parametrize("text", ["[/red]", "[bold]x", ":smile:"])
def test_text_is_never_markup(text):
    table = Table(text, [Column("name", text, True)], [[Cell(text)]], text, {0: text})
    assert printed(table, 80).count(text) == 5
