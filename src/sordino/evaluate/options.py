"""Options that the commands of this room share."""

from pathlib import Path
from typing import Annotated

import typer

from sordino.evaluate.curve import Cost

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Noisy recordings, or noisy/ and, if you have it, clean/"),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Name or .onnx file; repeat it to compare several."),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--outputs", metavar="[NAME=]DIR", help="A folder of another system's outputs; repeatable."
    ),
]
Figures = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A folder of CSV files with figures measured before."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[=TITLE]", help="Of --figures, only this system; repeatable."),
]
Metrics = Annotated[
    str, typer.Option(help="all, fast, or names separated by commas, as in the CSV.")
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N clips.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that score.")]
Meta = Annotated[
    Path | None,
    typer.Option(help="A CSV that describes the clips; META.csv in or above DIR by default."),
]
By = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Break the figures down by a column of it; repeatable."),
]
Csv = Annotated[
    Path | None, typer.Option(metavar="OUT", help="Write the figures of every clip there.")
]
Parquet = Annotated[Path | None, typer.Option(metavar="OUT", help="The same as Parquet.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Keep what --csv already has; go on with the rest.")
]
Report = Annotated[
    Path | None,
    typer.Option(metavar="OUT.html", help="One HTML file with plots, pictures and players."),
]
Curve = Annotated[
    Path | None,
    typer.Option(metavar="OUT.png", help="Draw quality against cost, all systems on it."),
]
CurveMeasures = Annotated[
    str,
    typer.Option("--curve-measure", help="The quality on the curve: names separated by commas."),
]
Macs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=MILLIONS", help="Multiply-accumulates per second of a system; repeatable."
    ),
]
Against = Annotated[
    Cost, typer.Option("--curve-against", help="What stands below the curve.", show_default=True)
]
Cards = Annotated[
    list[Path] | None,
    typer.Option(
        "--card",
        metavar="CARD.md",
        help="Write the figures into this model card, between its marks; repeatable.",
    ),
]
Pictures = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Of the card's pictures; a folder of its name by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
