"""The commands of the training room: train, export, size, mix."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sordino.errors import SordinoError

app = typer.Typer(add_completion=False, no_args_is_help=True)
console = Console(markup=False)  # recipes and paths are the user's


def _overrides(settings: list[str]) -> dict[str, str]:
    pairs = [setting.partition("=") for setting in settings]
    for key, sign, _ in pairs:
        if not sign:
            raise SordinoError(f"--set {key}: write it as --set section.key=value")
    return {key: value for key, _, value in pairs}


@app.command()
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe file (TOML); may be left out with --init.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the run.")] = Path("runs"),
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="What to start from: a model's name, .onnx or .safetensors."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with speech/ and noise/ (and rir/), or noisy/ and clean/."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key: --set train.steps=500.")
    ] = None,
) -> None:
    """Train a network by a recipe, or go on with the run in the folder.

    Ctrl-C ends it after the current step and saves; the same command goes on from there.
    """
    from sordino.train.finetune import choose_recipe
    from sordino.train.loop import train as run

    chosen = choose_recipe(recipe, init, data, _overrides(settings or []))
    folder = out / chosen.name
    path = run(chosen, folder, init)
    console.print(f"{path}: `sordino export {path}` makes a model of it", soft_wrap=True)


@app.command()
def export(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="A .safetensors file of `sordino train`; several networks are averaged.",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The .onnx file.")] = None,
    version: Annotated[str, typer.Option(help="Version of the weights.")] = "1",
    register: Annotated[
        str, typer.Option(help="One line: enter the file into the registry.json beside it.")
    ] = "",
) -> None:
    """Make an ONNX model of a checkpoint: `sordino denoise --model FILE.onnx` runs it."""
    from sordino.train import export as exporting
    from sordino.train.checkpoint import load_pretrained, mean_checkpoint

    path = out or checkpoints[0].with_suffix(".onnx")
    checkpoint = mean_checkpoint([load_pretrained(each) for each in checkpoints])
    about = exporting.export_checkpoint(checkpoint, path, version)
    if register:
        exporting.register(path, register)
    _show_size(str(path), about["parameters"], about["macs_per_second"])


@app.command()
def size(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (TOML).")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key.")] = None,
) -> None:
    """Print the parameters and multiply-accumulates of a recipe's network."""
    from sordino.train.export import measure
    from sordino.train.recipe import load_recipe

    chosen = load_recipe(recipe, _overrides(settings or []))
    parameters, macs = measure(chosen)
    _show_size(chosen.name, parameters, macs)


@app.command()
def mix(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (TOML).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture (PNG).")] = Path("batch.png"),
    index: Annotated[int, typer.Option(help="Number of the batch.")] = 0,
    size: Annotated[int, typer.Option(help="Examples.")] = 4,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key.")] = None,
) -> None:
    """Draw a batch as the network will get it, to look at the data before training."""
    from sordino.train.data.corpus import Corpus
    from sordino.train.data.picture import draw_batch
    from sordino.train.loop import make_mixer
    from sordino.train.recipe import load_recipe
    from sordino.train.voice_encoder import VOICE_ENCODER

    chosen = load_recipe(recipe, _overrides(settings or []))
    if chosen.kind == VOICE_ENCODER:
        raise SordinoError(f"{recipe}: a voice encoder learns from recordings, not from mixtures")
    mixer = make_mixer(chosen, Corpus.open(chosen.data))
    batch = mixer.batch(chosen.train.seed, index, size)
    draw_batch(batch, out)
    console.print(f"{out}: {size} examples at {batch.sample_rate} Hz", soft_wrap=True)


def _show_size(name: str, parameters: int, macs: int) -> None:
    console.print(
        f"{name}: {parameters:,} parameters, {macs / 1e6:.0f} million multiply-accumulates "
        "per second of audio",
        soft_wrap=True,
    )
