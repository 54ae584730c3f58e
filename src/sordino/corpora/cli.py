"""The command `sordino data`: list, fetch, prepare, stats, shard."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sordino.errors import SordinoError

app = typer.Typer(add_completion=False, no_args_is_help=True)
data = typer.Typer(
    no_args_is_help=True, help="Fetch public corpora and make training data of them."
)
app.add_typer(data, name="data")
console = Console(markup=False, highlight=False)

Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Names of corpora; see `sordino data list`.")
]
Folder = Annotated[
    Path, typer.Option("--folder", "-d", help="Folder with one subfolder for each corpus.")
]
Registry = Annotated[
    Path | None,
    typer.Option(
        metavar="TOML", help="Further corpora, in the format of the package's corpora.toml."
    ),
]
DATA = Path("data")


@data.command("list")
def list_corpora(
    name: Annotated[str | None, typer.Argument(help="Show the parts of this corpus.")] = None,
    folder: Folder = DATA,
    registry: Registry = None,
) -> None:
    """List the corpora, their licences, and what has been fetched of them."""
    from rich.table import Table

    from sordino.corpora.fetch import Record
    from sordino.corpora.manifest import MANIFEST
    from sordino.corpora.registry import find_corpus, load_registry

    known = load_registry(registry)
    table = Table(box=None, pad_edge=False, header_style="bold")
    if name is not None:
        corpus = find_corpus(known, name)
        have = Record.read(folder / name).parts
        console.print(f"{corpus.title}\n{corpus.home}\nlicence: {corpus.licence}")
        if corpus.checksum_source:
            console.print(f"checksums: {corpus.checksum_source}")
        for heading in ("part", "files", "for", "here"):
            table.add_column(heading)
        for part in corpus.parts:
            use = part.split or ("training, if named" if part.optional else "training")
            there = "yes" if part.name in have else ""
            table.add_row(part.name, str(len(part.files)), use, there)
        console.print(table)
        return
    for heading in ("name", "what it is", "licence", "here"):
        table.add_column(heading, overflow="fold")
    for corpus in known.values():
        home = folder / corpus.name
        parts = Record.read(home).parts
        state = "prepared" if (home / MANIFEST).exists() else ", ".join(parts)
        table.add_row(corpus.name, corpus.title, corpus.licence.partition(";")[0], state)
    console.print(table)


@data.command()
def fetch(
    names: Names,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--part", metavar="PART", help="Fetch only this part; may be given several times."
        ),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence that is shown.")
    ] = False,
    folder: Folder = DATA,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Number of downloads at the same time.")
    ] = 2,
    mirror: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Folder with the files, to be used instead of the corpus's own address.",
        ),
    ] = "",
    archives: Annotated[
        list[Path] | None,
        typer.Option("--archive", metavar="FILE", help="Archive that was downloaded before."),
    ] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep the archives after unpacking.")
    ] = False,
    registry: Registry = None,
) -> None:
    """Fetch corpora after their licence is accepted; interrupted downloads resume.

    Test sets are fetched only if --part names them.
    """
    from sordino.corpora.fetch import describe
    from sordino.corpora.fetch import fetch as run
    from sordino.corpora.registry import find_corpus, load_registry

    known = load_registry(registry)
    chosen = [find_corpus(known, name) for name in names]
    plans = [(corpus, corpus.choose(tuple(parts or ()))) for corpus in chosen]
    for corpus, wanted in plans:
        console.print(describe(corpus, wanted), soft_wrap=True)
        if not accept and not (
            sys.stdin.isatty() and typer.confirm(f"Do you accept the licence of {corpus.name}?")
        ):
            raise SordinoError(
                f"nothing was fetched: read the licence of {corpus.name} at {corpus.home}, and "
                "add --accept-licence"
            )
    for corpus, wanted in plans:
        record = run(
            corpus,
            wanted,
            folder / corpus.name,
            jobs=jobs,
            mirror=mirror,
            archives=archives or (),
            keep_archives=keep_archives,
            progress=console.is_terminal,
        )
        there = len(record.unpacked)
        console.print(f"{folder / corpus.name}: {there} archives unpacked", soft_wrap=True)


@data.command()
def prepare(
    names: Names,
    folder: Folder = DATA,
    min_dnsmos: Annotated[
        float,
        typer.Option(help="Leave out clean speech with a lower DNSMOS OVRL; 0 keeps all."),
    ] = 2.7,
    min_seconds: Annotated[
        float, typer.Option(help="Leave out recordings shorter than this, in seconds.")
    ] = 0.5,
    licences: Annotated[
        list[str] | None,
        typer.Option(
            "--licence",
            metavar="NAME",
            help="Use only clips with this licence, such as CC0 or CC-BY; may be given several "
            "times.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Number of processes; 0: one for each core.")
    ] = 0,
    registry: Registry = None,
) -> None:
    """Measure the recordings and write a manifest of what is of use, with its splits."""
    from sordino.corpora.prepare import Choice
    from sordino.corpora.prepare import prepare as run
    from sordino.corpora.registry import find_corpus, load_registry

    known = load_registry(registry)
    choice = Choice(min_dnsmos, min_seconds, tuple(licences or ()))
    for corpus in [find_corpus(known, name) for name in names]:
        home = folder / corpus.name
        rows = run(corpus, home, choice, jobs or os.cpu_count() or 1, console.is_terminal)
        kept = [row for row in rows if row.kept]
        hours = sum(row.hours for row in kept)
        console.print(
            f"{home}: {len(kept)} of {len(rows)} recordings are kept, {hours:.2f} h", soft_wrap=True
        )


@data.command()
def stats(
    names: Names,
    folder: Folder = DATA,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the page to this HTML file.")
    ] = Path("data.html"),
) -> None:
    """Draw what the manifests hold: hours by language, speaker, SNR and bandwidth."""
    from sordino.corpora.manifest import read_manifest
    from sordino.corpora.stats import write_stats

    write_stats(out, [row for name in names for row in read_manifest(folder / name)])
    console.print(str(out), soft_wrap=True)


@data.command()
def shard(
    names: Names,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="Write the shards to this folder or URL, such as s3://bucket/shards.",
        ),
    ],
    folder: Folder = DATA,
    split: Annotated[str, typer.Option(help="Split to pack: train, val or test.")] = "train",
    megabytes: Annotated[float, typer.Option(help="Begin a new shard at this size, in MB.")] = 500,
) -> None:
    """Pack what the manifests keep into tar shards that `sordino train` reads."""
    from sordino.corpora.manifest import read_manifest
    from sordino.corpora.shard import write_shards

    if split not in ("train", "val", "test"):
        raise SordinoError(f"--split {split}: give train, val or test")
    rows = [row for name in names for row in read_manifest(folder / name)]
    counts = write_shards(rows, folder, out, split, megabytes, console.is_terminal)
    for kind, count in counts.items():
        console.print(f"{out}/{kind}: {count} shards", soft_wrap=True)
