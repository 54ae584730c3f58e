"""The commands for voice profiles: enroll, and voices with list, rename, delete, similarity."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sordino.errors import SordinoError

METER_STEPS = 30
METER_FLOOR_DB = -60.0

app = typer.Typer(add_completion=False, no_args_is_help=True)
voices = typer.Typer(
    add_completion=False, help="List, rename, delete and compare the voice profiles."
)
app.add_typer(voices, name="voices")


@app.command()
def enroll(
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Recordings of one person, at least 3 s of speech."),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", "-n", metavar="NAME", help="What to call the voice.")
    ] = "",
    record: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=5, max=300, help="Record the microphone; 20 is good."),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="NAME", help="Microphone; see `sordino devices`."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the profile there instead."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the profile of that name.")
    ] = False,
) -> None:
    """Make a voice profile of recordings or of the microphone, to keep one voice only.

    The profile is 192 numbers in a file that only you can read; the sound is not kept.
    """
    from sordino.voice import Voice, check_name, saved_voices

    if not recordings and record is None:
        raise SordinoError(
            "there is nothing to enrol: give recordings of the voice, or --record 20 to record one"
        )
    if not name and output is None:
        raise SordinoError("the voice has no name: add --name me")
    if name:
        check_name(name)
    taken = output.exists() if output else name in saved_voices()
    if taken and not overwrite:
        raise SordinoError(
            f"there is a voice {str(output or name)!r} already: --overwrite replaces it"
        )
    sounds = [*(recordings or ()), *([] if record is None else [_recorded(record, input)])]
    voice = Voice.enroll(sounds, name)
    path = voice.save(output)
    typer.echo(f"{path}: made of {voice.seconds:.0f} s of speech; the sound is not kept")
    typer.echo(f"Try it: sordino live --voice {name or path}")


@voices.callback(invoke_without_command=True)
def _voices(context: typer.Context) -> None:  # pyright: ignore[reportUnusedFunction]
    """List the profiles if nothing else is to be done."""
    if context.invoked_subcommand is None:
        list_voices()


@voices.command("list")
def list_voices() -> None:
    """List the saved profiles."""
    from sordino.voice import Voice, saved_voices, voices_folder

    saved = saved_voices()
    if not saved:
        typer.echo(f"no voices in {voices_folder()}: `sordino enroll --record 20 --name me`")
        return
    for name, path in saved.items():
        try:
            voice = Voice.load(path)
        except SordinoError as error:
            typer.echo(f"{name:16} {error}")
        else:
            typer.echo(f"{name:16} {voice.seconds:4.0f} s of speech  {voice.encoder}  {path}")


@voices.command()
def rename(old: str, new: str) -> None:
    """Give a profile another name."""
    from sordino.voice import rename_voice

    typer.echo(f"{rename_voice(old, new)}")


@voices.command()
def delete(names: list[str]) -> None:
    """Delete profiles; nothing else keeps them."""
    from sordino.voice import delete_voice

    for each in names:
        typer.echo(f"{delete_voice(each)}: deleted")


@voices.command()
def similarity(
    voice: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A profile.")],
    other: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Another profile, or a recording.")
    ],
) -> None:
    """Print how similar two voices are: 1 is the same voice, 0 a quite different one.

    The second one may be a recording: that tells whether a profile fits a voice.
    """
    from sordino.voice import SUFFIX, Voice, saved_voices

    first = Voice.load(voice)
    is_profile = other in saved_voices() or other.endswith(SUFFIX) or not Path(other).exists()
    second = Voice.load(other) if is_profile else Voice.enroll(other)
    typer.echo(f"{first.similarity(second):.2f}")


def _recorded(seconds: float, input: str | None) -> tuple[np.ndarray, int]:
    """Have a text read aloud into the microphone."""
    from sordino.live.backends import choose_backend
    from sordino.live.voices import record
    from sordino.voice.enrolment import SENTENCES

    backend = choose_backend()
    try:
        typer.echo(f"Read this aloud, as you would speak in a meeting ({seconds:g} s):\n")
        typer.echo(f"    {SENTENCES}\n")
        sound = record(backend, seconds, input, _show if sys.stderr.isatty() else None)
    finally:
        backend.close()
        if sys.stderr.isatty():
            typer.echo(err=True)
    return sound


def _show(seconds: float, sound: np.ndarray) -> None:
    """Show the time and the level of the newest sound."""
    level = 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12)
    steps = round(METER_STEPS * min(1.0, max(0.0, 1 - level / METER_FLOOR_DB)))
    typer.echo(f"\r{seconds:5.1f} s  {'#' * steps:{METER_STEPS}}", nl=False, err=True)
