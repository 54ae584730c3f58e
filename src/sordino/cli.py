"""The `sordino` command: parses arguments, calls the library, prints results.

Everything heavy is imported inside the commands, so that `--help` answers at once.
"""

import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from sordino.commands import (
    CommandGroup,
    FallbackOption,
    OthersOption,
    ProviderOption,
    VoiceOption,
    examples,
    needing,
    read_time,
)
from sordino.errors import SordinoError, with_whole_addresses

_BATCH: dict[str, Any] = {"rich_help_panel": "Many files"}
_PART: dict[str, Any] = {"rich_help_panel": "Part of a recording"}
_CLUSTER: dict[str, Any] = {"rich_help_panel": "On a cluster"}
_RAW: dict[str, Any] = {"rich_help_panel": "Samples without a header"}

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Name of a model (`sordino models` lists them) or an .onnx file.",
    ),
]


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},  # every command inherits them
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Take the noise out of speech: files, videos, microphones.",
    epilog=examples(),
)


def main() -> None:
    """Run the command line; a SordinoError is printed as one line and gives exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # Names and tags may have letters that the terminal's encoding has not.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="sordino")
    except SordinoError as error:
        message = with_whole_addresses(" ".join(str(error).split()))
        typer.secho(f"sordino: {message}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    finally:
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """Discard unread output after a broken pipe; else Python reports an error at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sordino {version('sordino')}")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None: ...


@app.command()
def denoise(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN...", help="Files, folders, patterns, or - for standard input."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File, folder, or - for standard output; if left out, NAME.clean.EXT beside IN.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="See `sordino models`; or an .onnx file. If left out, studio, which looks ahead; "
            "default, with 20 ms of latency, for what comes through a pipe.",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", "-s", help="Share of the noise to remove, 0 to 1.")
    ] = 1.0,
    attenuation_limit: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Attenuate nothing by more than this many dB."),
    ] = None,
    warm_up: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Adapt the network to this much of the beginning of a file first, so that the "
            "first words come out as clean as later ones.",
        ),
    ] = 5.0,
    listen: Annotated[float | None, typer.Option(hidden=True)] = None,
    voice: VoiceOption = None,
    others: OthersOption = None,
    voice_fallback: FallbackOption = "6",
    provider: ProviderOption = None,
    loudness: Annotated[
        float | None,
        typer.Option(
            metavar="LUFS",
            help="Bring the output to this loudness (EBU R 128), such as -16; peaks stay below "
            "-1 dBTP.",
        ),
    ] = None,
    extension: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="EXT", help="Write wav, flac, mp3, m4a, mkv ..."),
    ] = None,
    noise_out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Also write the noise that was removed (file or folder)."
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Also draw spectrograms of the input, the noise removed and the output (PNG).",
        ),
    ] = None,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Begin here: 90, 1:30, 0:01:30.", **_PART)
    ] = "0",
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="End here.", **_PART)
    ] = None,
    channel: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Use only this channel.", **_PART)
    ] = None,
    track: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Denoise only this audio track.", **_PART),
    ] = None,
    jobs: Annotated[
        str,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            help="Number of files to denoise at the same time; auto: one for each core.",
            **_BATCH,
        ),
    ] = "1",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--skip-existing",
            help="Replace or keep outputs that exist already.",
            **_BATCH,
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done.", **_BATCH)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show failures only.", **_BATCH)
    ] = False,
    raw_rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ",
            help="Read IN as raw samples without a header, at this sample rate.",
            **_RAW,
        ),
    ] = None,
    raw_format: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Sample format: s16le, s24le, s32le, f32le, u8, alaw ...", **_RAW
        ),
    ] = "s16le",
    raw_channels: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of interleaved channels.", **_RAW)
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on this Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT. IN may "
            "then be s3://, gs://, az:// or https:// too, a .tar or a .parquet, and OUT a folder "
            "of any but https://.",
            **_CLUSTER,
        ),
    ] = None,
    cluster_workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            help="Number of workers with one core each; if left out, one for each free core.",
            **_CLUSTER,
        ),
    ] = None,
    gpu_workers: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Number of additional workers with one GPU each.", **_CLUSTER
        ),
    ] = 0,
    section: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            min=0,
            help="Cut recordings of twice this or more into sections; 0 cuts none.",
            **_CLUSTER,
        ),
    ] = 30.0,
    attempts: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Maximum number of attempts for each file.", **_CLUSTER
        ),
    ] = 3,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", min=0, help="Time limit for one file or section.", **_CLUSTER
        ),
    ] = 60.0,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try again what failed in earlier runs.", **_CLUSTER),
    ] = False,
    ledger: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Folder for the work list and the results; if left out, OUT/.sordino.",
            **_CLUSTER,
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            min=0, help="Price of one worker for one hour, to show the costs.", **_CLUSTER
        ),
    ] = None,
) -> None:
    """Take the noise out of audio files and videos.

    Format, sample rate, channels and bit depth stay as they are; of a video only the sound
    changes.  The input is never overwritten, and a batch that was interrupted goes on where it
    stopped.
    """
    from sordino.batch.plan import PIPE, plan
    from sordino.batch.process import FileReport, check_done, denoise_files
    from sordino.batch.progress import BatchDisplay
    from sordino.batch.track import DenoiseSettings
    from sordino.io.atomic import is_special
    from sordino.io.formats import RawFormat
    from sordino.model import LIVE_MODEL, RECORDING_MODEL
    from sordino.voice import load_voices, read_fallback

    workers = _workers(jobs)
    if listen is not None:
        typer.echo("sordino: --listen is now called --warm-up; it will go with 0.13", err=True)
        warm_up = listen
    may_be_live = any(Path(name) == PIPE or is_special(Path(name)) for name in inputs)
    settings = DenoiseSettings(
        model or (LIVE_MODEL if may_be_live else RECORDING_MODEL),
        strength,
        attenuation_limit,
        warm_up,
        loudness,
        read_time("--from", begin),
        None if end is None else read_time("--to", end),
        channel,
        track,
        load_voices(voice),
        others,
        read_fallback(voice_fallback),
        tuple(provider or ()),
    )
    if cluster is not None:
        given: dict[str, object] = {"--noise-out": noise_out, "--plot": plot}
        given |= {"--raw-rate": raw_rate, "--provider": provider}
        if unfit := [option for option, value in given.items() if value is not None]:
            raise SordinoError(f"{unfit[0]} does not go with --cluster: leave it out")
        if output is None:
            raise SordinoError("--cluster needs -o OUT: the folder for outputs and the ledger")
        with needing("cluster", "sordino denoise --cluster"):
            from sordino.cluster.denoise import ClusterOptions, denoise_on_cluster
            from sordino.cluster.plan import find_work
        if dry_run:
            for work in find_work(inputs, output, extension):
                typer.echo(f"{work.source} -> {work.target}")
            return
        options = ClusterOptions(
            cluster,
            cluster_workers,
            gpu_workers,
            ledger,
            attempts,
            section,
            timeout,
            retry_failed,
            price,
        )
        try:
            failures = denoise_on_cluster(
                inputs,
                output,
                settings,
                options,
                extension=extension,
                overwrite=overwrite,
                quiet=quiet,
            )
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        if failures:
            raise typer.Exit(2)
        return
    raw = None if raw_rate is None else RawFormat(raw_format, raw_rate, raw_channels)
    planned = plan(inputs, output, noise_out=noise_out, plot=plot, extension=extension, raw=raw)
    if dry_run:
        for job in planned:
            typer.echo(f"{job.source_name} -> {job.target_name}")
            if not overwrite and job.target_exists:
                try:
                    notes = check_done(job, settings)
                except SordinoError as error:
                    typer.echo(f"  would fail: {error}")
                else:
                    typer.echo(f"  skipped: {'; '.join(notes) or 'done before'}")
        return
    display = BatchDisplay(planned, quiet)
    reports: list[FileReport] = []

    def finish(report: FileReport) -> None:
        reports.append(report)
        display.report(report)

    try:
        with display:
            denoise_files(
                planned,
                settings,
                workers=workers,
                overwrite=overwrite,
                on_progress=display.progress,
                on_report=finish,
            )
    except KeyboardInterrupt:
        display.summary(reports)
        raise typer.Exit(130) from None
    display.summary(reports)
    if any(each.status == "failed" for each in reports):
        raise typer.Exit(2)


def _workers(jobs: str) -> int:
    if jobs == "auto":
        return os.cpu_count() or 1
    if not jobs.isdecimal() or int(jobs) < 1:
        raise typer.BadParameter(f"{jobs!r} is neither a number of 1 or more nor auto")
    return int(jobs)


@app.command()
def plot(
    file: Annotated[Path, typer.Argument(help="Audio file or video.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PNG",
            help="Write the picture to this PNG file; FILE.png if left out.",
        ),
    ] = None,
    model: Model = "default",
    plain: Annotated[
        bool, typer.Option("--plain", help="Draw the sound as it is, without denoising.")
    ] = False,
) -> None:
    """Draw spectrograms of the input, the noise removed and the output."""
    from sordino.batch.track import DenoiseSettings, draw_file

    picture = output or file.with_suffix(".png")
    draw_file(file, picture, None if plain else DenoiseSettings(model))
    typer.echo(picture)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show the card of this model.")] = None,
) -> None:
    """List the models that are there, or show the card of one."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.table import Table

    from sordino.model import available_models, load_model

    entries = available_models()
    console = Console(width=None if sys.stdout.isatty() else 160)
    if name is not None:
        if name not in entries:
            raise SordinoError(f"no model is called {name!r}: choose one of {', '.join(entries)}")
        card = entries[name].card
        if console.is_terminal:
            console.print(Markdown(card))
        else:
            typer.echo(card)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "kind", "parameters", "MMAC/s", "licence", "sha256", "summary"):
        is_number = heading in ("parameters", "MMAC/s")
        table.add_column(heading, justify="right" if is_number else "left")
    for entry in entries.values():
        info = load_model(entry.name).info
        macs = f"{info.macs_per_second / 1e6:,.0f}"
        size = f"{info.parameters:,}"
        digest = entry.sha256[:12]
        table.add_row(entry.name, entry.kind, size, macs, info.licence, digest, entry.summary)
    console.print(table)


@app.command()
def bench(
    model: Model = "default",
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate.")] = 48000,
    seconds: Annotated[float, typer.Option(help="Length of the sound that is processed.")] = 10.0,
    provider: ProviderOption = None,
) -> None:
    """Measure whether a model fits this machine, on one thread, live (one step every 10 ms) and
    on files; on every execution provider that is there, if none is named."""
    from sordino.benchmark import bench as measure
    from sordino.model import available_providers

    for i, name in enumerate(provider or available_providers()):
        result = measure(model, rate, seconds, name)
        rows = {
            "machine": result.processor,
            "provider": result.provider,
            "model": f"{result.model} at {result.sample_rate} Hz",
            "latency": f"{1000 * result.latency:.0f} ms, by the algorithm",
            "live": f"{10 * result.live:.2f} ms of processor time a step of 10 ms, paced; "
            f"{10 * result.tight:.2f} ms in a tight loop",
            "one step": f"p50 {result.step_p50_ms:.2f} ms, p99 {result.step_p99_ms:.2f} ms",
            "files": f"real-time factor {result.file:.3f}",
            "verdict": result.verdict,
        }
        if i:
            typer.echo()
        for heading, value in rows.items():
            typer.echo(f"{heading:9} {value}")
