"""Commands of the rooms that stand beside the run-time ones: training, evaluation.

They are found through the entry-point group "sordino.commands": the name of an entry point is the
name of a command, its value is a Typer app that has this command, and it is loaded only when the
command is called.  Packages that the room `sordino.ROOM` needs are those of the extra
`sordino[ROOM]`.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer.core
import typer.main

from sordino.errors import SordinoError, install_command

GROUP = "sordino.commands"
_BENCH = "bench"

_SUMMARIES = {
    "train": "Train or fine-tune a network by a recipe.",
    "export": "Make an ONNX model of a trained network.",
    "size": "Print the parameters and multiply-accumulates of a recipe's network.",
    "mix": "Draw a batch of training data, to look at it.",
    "evaluate": "Measure models on a folder of noisy (and clean) recordings.",
    "compare": "Measure models beside other noise suppressors, in one run.",
    "live": "Clean a microphone into a virtual one, or what others send before the loudspeaker.",
    "devices": "List microphones and loudspeakers.",
    "doctor": "Check whether live use will work here, and say what mends it.",
    "tray": "Show live use as an icon on the desktop.",
    "serve": "Serve the page, uploads, WebSocket streams and WebRTC peers.",
}

_PANELS = {
    "live": "Live",
    "serve": "On a server",
    "train": "Training and evaluation",
    "evaluate": "Training and evaluation",
}


class CommandGroup(typer.core.TyperGroup):
    """Commands of this file, and by name those of the other rooms."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Name all commands, without loading any."""
        rooms = _rooms()
        return [*self.commands, *sorted(rooms.keys() - self.commands.keys(), key=_order)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; one of another room is only announced."""
        entry = None if cmd_name in self.commands else _rooms().get(cmd_name)
        if entry is not None:
            about = _SUMMARIES.get(cmd_name, f"`sordino {cmd_name} --help` tells more.")
            panel = _PANELS.get(_room(entry), "More")
            return typer.core.TyperCommand(cmd_name, help=about, rich_help_panel=panel)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        rooms = _rooms()
        entry = None if name in self.commands else rooms.get(str(name))
        if name == _BENCH and rest and rest[0] in rooms:  # `sordino bench serve`: the room's own
            entry, rest = rooms[rest[0]], rest[1:]
        if entry is not None:
            try:
                command = typer.main.get_command(entry.load())
            except ModuleNotFoundError as error:
                raise _lacking(entry, error) from error
            if isinstance(command, typer.core.TyperGroup):
                command = command.commands[_BENCH if name == _BENCH else entry.name]
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command; rooms may import their packages only then."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            entry = _rooms().get(str(ctx.invoked_subcommand))
            if entry is None:
                raise
            raise _lacking(entry, error) from error


def _rooms() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _room(entry: EntryPoint) -> str:
    return entry.module.removeprefix("sordino.").partition(".")[0]


def _order(name: str) -> tuple[int, str]:
    known = list(_SUMMARIES)
    return (known.index(name) if name in known else len(known), name)


def _lacking(entry: EntryPoint, error: ModuleNotFoundError) -> Exception:
    """Say which extra has the missing package."""
    if error.name is None or error.name.startswith("sordino"):
        return error  # a mistake in the room, nothing that the user can install
    return SordinoError(
        f"`sordino {entry.name}` needs the package {error.name}: {install_command(_room(entry))}"
    )
