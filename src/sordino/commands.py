"""The table of the commands of other packages, each loaded only when it is called.

`COMMANDS` names the module and the Typer app of each.  So nothing here imports training or
evaluation code, `sordino --help` answers at once, and a new command needs no entry point in
pyproject.toml.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NamedTuple, cast

import typer
import typer.core
import typer.main

from sordino.errors import SordinoError, install_command

_BENCH = "bench"
_VOICE: dict[str, Any] = {"rich_help_panel": "One voice only"}

ProviderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Execution provider of ONNX Runtime, such as cuda. May be given several times, the "
        "preferred one first.",
    ),
]
VoiceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--voice",
        metavar="NAME|FILE",
        help="Keep this voice and remove others, see `sordino voices`. May be given several times.",
        **_VOICE,
    ),
]
OthersOption = Annotated[
    float | None,
    typer.Option(
        "--others",
        metavar="DB",
        help="Attenuate other voices by no more than this many dB.",
        **_VOICE,
    ),
]
FallbackOption = Annotated[
    str,
    typer.Option(
        "--voice-fallback",
        metavar="SECONDS|never",
        help="Keep everybody after this much speech without the voice, until it is heard again.",
        **_VOICE,
    ),
]


class LazyCommand(NamedTuple):
    """A command that is not loaded yet."""

    app: str
    """"module:name" of the Typer app that has it."""
    extra: str
    """The optional part of the package that has what it needs."""
    panel: str
    """The heading above it in `sordino --help`."""
    summary: str
    """One line for `sordino --help`."""


_LIVE, _SERVER, _TRAINING = "Live", "On a server", "Training and evaluation"
_VOICES = "Voices"

COMMANDS = {
    "live": LazyCommand(
        "sordino.live.cli:app",
        "live",
        _LIVE,
        "Clean a microphone into a virtual one, or what others send before the loudspeaker.",
    ),
    "devices": LazyCommand(
        "sordino.live.cli:app", "live", _LIVE, "List microphones and loudspeakers."
    ),
    "doctor": LazyCommand(
        "sordino.live.cli:app",
        "live",
        _LIVE,
        "Check whether live use will work here, and say how to fix what does not.",
    ),
    "tray": LazyCommand(
        "sordino.live.cli:app", "gui", _LIVE, "Show live use as an icon on the desktop."
    ),
    "enroll": LazyCommand(
        "sordino.voice.cli:app", "live", _VOICES, "Make a voice profile, to keep one voice only."
    ),
    "voices": LazyCommand(
        "sordino.voice.cli:app",
        "live",
        _VOICES,
        "List, rename, delete and compare the voice profiles.",
    ),
    "serve": LazyCommand(
        "sordino.serve.cli:app",
        "serve",
        _SERVER,
        "Serve the page, uploads, WebSocket streams and WebRTC peers.",
    ),
    "train": LazyCommand(
        "sordino.train.cli:app", "train", _TRAINING, "Train or fine-tune a network by a recipe."
    ),
    "adapt": LazyCommand(
        "sordino.train.cli:app",
        "adapt",
        _TRAINING,
        "Fine-tune a model for your own noise, on this machine.",
    ),
    "export": LazyCommand(
        "sordino.train.cli:app", "train", _TRAINING, "Make an ONNX model of a trained network."
    ),
    "size": LazyCommand(
        "sordino.train.cli:app",
        "train",
        _TRAINING,
        "Print the parameters and multiply-accumulates of a recipe's network.",
    ),
    "mix": LazyCommand(
        "sordino.train.cli:app",
        "train",
        _TRAINING,
        "Draw a batch of training data, to look at it.",
    ),
    "data": LazyCommand(
        "sordino.corpora.cli:app",
        "data",
        _TRAINING,
        "Fetch public corpora, measure them, and pack them for training.",
    ),
    "evaluate": LazyCommand(
        "sordino.evaluate.cli:app",
        "evaluate",
        _TRAINING,
        "Measure models on a folder of noisy (and clean) recordings.",
    ),
    "compare": LazyCommand(
        "sordino.evaluate.cli:app",
        "compare",
        _TRAINING,
        "Measure models beside other noise suppressors, in one run.",
    ),
}
"""Name -> where it is, in the order of `sordino --help`."""

_EXAMPLES = {
    "": ("sordino denoise talk.mp4", "sordino live", "sordino bench", "sordino COMMAND -h"),
    "denoise": (
        "sordino denoise talk.mp4",
        "sordino denoise interviews/ -o clean/",
        "sordino denoise '*.wav' -o clean/ --strength 0.8 --jobs auto",
    ),
    "plot": ("sordino plot talk.wav", "sordino plot --plain talk.wav -o x.png"),
    "models": ("sordino models", "sordino models small"),
    "bench": ("sordino bench", "sordino bench --model small --rate 16000", "sordino bench serve"),
    "bench serve": ("sordino bench serve", "sordino bench serve --rate 16000"),
    "live": (
        "sordino live",
        'sordino live --input "USB Microphone" --attenuation-limit 18',
        "sordino live --speaker",
    ),
    "devices": ("sordino devices",),
    "doctor": ("sordino doctor",),
    "tray": ("sordino tray", "sordino tray --toggle mute"),
    "enroll": ("sordino enroll me.wav --name me", "sordino enroll --record 20 --name me"),
    "voices": ("sordino voices", "sordino voices similarity me today.wav"),
    "serve": ("sordino serve", "sordino serve --host 0.0.0.0 --token-file /etc/sordino/token"),
    "train": (
        "sordino train recipes/tiny.toml",
        "sordino train --init default --data mydata",
        "sordino train recipes/default.toml --set train.steps=5000",
    ),
    "adapt": ("sordino adapt --noise my-office/ --minutes 20",),
    "export": ("sordino export runs/tiny/last.safetensors",),
    "size": ("sordino size recipes/default.toml",),
    "mix": ("sordino mix recipes/tiny.toml -o batch.png",),
    "data": ("sordino data list", "sordino data fetch voicebank-demand --accept-licence"),
    "evaluate": (
        "sordino evaluate FOLDER --report report.html",
        "sordino evaluate FOLDER --model default --model runs/mine/last.onnx",
    ),
    "compare": ("sordino compare FOLDER --metrics pesq,estoi,sisdr",),
}


def examples(name: str = "") -> str:
    """Return the examples at the end of a command's help, or of the whole, in Markdown."""
    return "\n\n".join(["Examples:", *(f"`{line}`" for line in _EXAMPLES[name])])


class CommandGroup(typer.core.TyperGroup):
    """The commands of `sordino.cli`, and by name those of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Name all commands, without loading any."""
        return [*self.commands, *(name for name in COMMANDS if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; one of another package only as a stub with its summary."""
        lazy = None if cmd_name in self.commands else COMMANDS.get(cmd_name)
        if lazy is not None:
            return typer.core.TyperCommand(cmd_name, help=lazy.summary, rich_help_panel=lazy.panel)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that is called."""
        name, command, rest = cast(Any, super()).resolve_command(ctx, args)
        if name == _BENCH and rest and rest[0] in COMMANDS:  # `sordino bench serve`
            name, command, rest = f"{name} {rest[0]}", _loaded(rest[0], _BENCH), rest[1:]
        elif name in COMMANDS and name not in self.commands:
            command = _loaded(name, name)
        if command is not None:
            command.epilog = examples(name)
            command.rich_markup_mode = self.rich_markup_mode
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command; some packages import their dependencies only then."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            name = str(ctx.invoked_subcommand)
            if name not in COMMANDS:
                raise
            raise _lacking(f"sordino {name}", COMMANDS[name].extra, error) from error


@contextmanager
def needing(extra: str, command: str) -> Generator[None]:
    """Say which extra has a package that is missing in what follows.

    Args:
        extra: its name in pyproject.toml.
        command: that needs it, such as "sordino denoise --cluster".

    Raises:
        SordinoError: a package is missing; the message says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise _lacking(command, extra, error) from error


def _loaded(entry: str, name: str) -> Any:
    """Import the module of the entry `entry` in `COMMANDS`; return its command `name`."""
    module, _, app = COMMANDS[entry].app.partition(":")
    try:
        command: Any = typer.main.get_command(getattr(import_module(module), app))
    except ModuleNotFoundError as error:
        raise _lacking(f"sordino {entry}", COMMANDS[entry].extra, error) from error
    return command.commands[name] if isinstance(command, typer.core.TyperGroup) else command


def _lacking(command: str, extra: str, error: ModuleNotFoundError) -> Exception:
    """Say which extra has the missing package."""
    if error.name is None or error.name.startswith("sordino"):
        return error  # a bug in Sordino: nothing that the user could install
    return SordinoError(f"`{command}` needs the package {error.name}: {install_command(extra)}")


def read_time(option: str, time: str) -> float:
    """Read a time such as 90, 1:30 or 0:01:30.5.

    Args:
        option: that it was given to, for messages.
        time: as it was written.

    Returns:
        Seconds.

    Raises:
        SordinoError: it is no time.
    """
    try:
        parts = [float(each) for each in time.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 <= each < float("inf") for each in parts):
        raise SordinoError(f"{option} {time} is no time: write seconds (90) or 0:01:30")
    return sum(each * 60**place for place, each in enumerate(reversed(parts)))
