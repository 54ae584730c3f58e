"""The commands for live use: live, devices, doctor, tray."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sordino.commands import FallbackOption, OthersOption

app = typer.Typer(add_completion=False, no_args_is_help=True)

Input = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="NAME", help="Microphone; see `sordino devices`."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Name of a model (see `sordino models`) or .onnx file.",
    ),
]
Rate = Annotated[int, typer.Option(metavar="HZ", help="Sample rate of the engine.")]


class Toggle(StrEnum):
    """What a keyboard shortcut can switch."""

    mute = "mute"
    noise = "noise"


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command()
def live(
    input: Input = None,
    channel: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Channel of the microphone, from 1; if left out, the one with sound."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="NAME", help="Device to play to; see `sordino devices`."
        ),
    ] = None,
    no_virtual_mic: Annotated[
        bool,
        typer.Option(
            "--no-virtual-mic", help="Create no virtual microphone; play to a real device."
        ),
    ] = False,
    speaker: Annotated[
        bool,
        typer.Option(
            "--speaker", help="Clean what other participants send, before the loudspeaker."
        ),
    ] = False,
    rate: Rate = 48000,
    model: Model = "default",
    strength: Annotated[
        float,
        typer.Option("--strength", "-s", help="Share of the noise to remove, 0 to 1."),
    ] = 1.0,
    attenuation_limit: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Attenuate nothing by more than this many dB."),
    ] = None,
    voice: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE|auto",
            help="Keep this voice and remove others, see `sordino voices`; auto: whoever speaks "
            "first. May be given several times.",
            rich_help_panel="One voice only",
        ),
    ] = None,
    others: OthersOption = None,
    voice_fallback: FallbackOption = "6",
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Record noisy and clean sound into this folder."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after this many seconds.")
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="If a device or the sound server is missing, wait for it."),
    ] = False,
    on_demand: Annotated[
        bool,
        typer.Option(
            "--on-demand", help="Open the microphone only while a program records the virtual one."
        ),
    ] = False,
    echo_cancel: Annotated[
        bool,
        typer.Option(
            "--echo-cancel",
            help="Take what other programs play out of the microphone (PulseAudio, PipeWire).",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the state as JSON, one line a second.")
    ] = False,
    install_service: Annotated[
        bool,
        typer.Option(
            "--install-service",
            help="Install a systemd user service that runs with these options, now and at login.",
        ),
    ] = False,
) -> None:
    """Clean a microphone into a virtual one that every meeting program can choose.

    Keys while it runs: b bypass, + and - strength, m mute, r record the next minute, q quit.
    """
    from sordino.live.config import LiveSettings
    from sordino.voice import read_fallback

    settings = LiveSettings(
        input=input,
        channel=channel,
        output=output,
        model=model,
        strength=strength,
        attenuation_limit_db=attenuation_limit,
        voice=tuple(voice) if voice else None,
        others_db=others,
        voice_fallback=read_fallback(voice_fallback),
        virtual_mic=not no_virtual_mic,
        speaker=speaker,
        record=record,
        seconds=seconds,
        on_demand=on_demand,
        echo_cancel=echo_cancel,
        wait=wait or install_service,  # at login the sound server may come later
        sample_rate=rate,
    )
    settings.load_models()
    if install_service:
        from sordino.live.systemd import arguments, install

        path, note = install(arguments(settings))
        typer.echo(f"{path}: {note}")
        return
    from sordino.live.terminal import run_live

    run_live(settings, as_json)


@app.command()
def devices(as_json: Json = False) -> None:
    """List microphones and loudspeakers, by the names that --input and --output take."""
    from dataclasses import asdict

    from sordino.errors import SordinoError
    from sordino.live.backends import choose_backend
    from sordino.live.backends.base import DeviceLost

    backend = choose_backend()
    try:
        found = backend.devices()
    except DeviceLost as error:
        raise SordinoError(f"{error}: `sordino doctor` says how to fix it") from error
    finally:
        backend.close()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "kind", "label", "name", "Hz", "channels", ""):
        is_number = heading in ("Hz", "channels")
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for each in found:
        remark = (
            "Sordino's own" if each.virtual else "records a loudspeaker" if each.monitor else ""
        )
        row = (each.kind, each.label, each.name, str(each.rate), str(each.channels), remark)
        # A label may hold brackets: it is no markup.
        table.add_row("*" if each.default else "", *map(Text, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@app.command()
def doctor(
    input: Input = None,
    model: Model = "default",
    rate: Rate = 48000,
    as_json: Json = False,
) -> None:
    """Check whether live use will work here, and say how to fix what does not.

    Exit code 0: it will work (there may be warnings); 1: a check failed.
    """
    from dataclasses import asdict

    from sordino.live.config import LiveSettings
    from sordino.live.doctor import Check, examine

    checks = examine(LiveSettings(input=input, model=model, sample_rate=rate))
    if as_json:
        report = list(checks)
        typer.echo(json.dumps([asdict(each) for each in report], indent=2))
    else:
        report: list[Check] = []
        colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
        for each in checks:
            report.append(each)
            mark = typer.style(f"{each.level:5}", fg=colours[each.level])
            typer.echo(f"{mark} {each.name:19} {each.found}")
            if each.advice:
                typer.echo(f"{'':25} -> {each.advice}")
    if any(each.level == "fail" for each in report):
        raise typer.Exit(1)


@app.command()
def tray(
    input: Input = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Name of a model; see `sordino models`."
        ),
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", "-s", help="Share of the noise to remove, 0 to 1.")
    ] = None,
    attenuation_limit: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Attenuate nothing by more than this many dB."),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Keep this voice only, see `sordino voices`."),
    ] = None,
    rate: Rate = 48000,
    toggle: Annotated[
        Toggle | None,
        typer.Option(help="Toggle this in the running tray and exit; for keyboard shortcuts."),
    ] = None,
) -> None:
    """Show live use as an icon on the desktop, with a window.

    Options that are left out keep the values chosen last. If a tray runs already, its window opens.
    """
    from sordino.live.config import LiveSettings
    from sordino.live.tray import run

    options: dict[str, Any] = {
        "input": input,
        "model": model,
        "strength": strength,
        "attenuation_limit_db": attenuation_limit,
        "voice": voice,
        "sample_rate": rate,
    }
    given = {name: value for name, value in options.items() if value is not None}
    LiveSettings(
        **given
    )  # an option that is out of range is an error wherever there is no desktop, too
    run(given, toggle.value if toggle else None)
