"""The commands of the training package: train, adapt, export, size, mix."""

from pathlib import Path
from typing import Annotated, Any

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
        Path | None, typer.Argument(help="Recipe file (TOML); optional with --init.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Write checkpoints and logs into a subfolder with the recipe's name.",
        ),
    ] = Path("runs"),
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from these weights: the name of a model, an .onnx or a .safetensors file.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Train on this folder, with speech/ and noise/ (and rir/), or noisy/ and clean/."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a key of the recipe, as in --set train.steps=500; repeatable."
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Train on this Ray cluster; local starts one on this machine."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes with --cluster, one for each GPU.")
    ] = 1,
) -> None:
    """Train a network by a recipe, or go on with the run in the folder.

    Ctrl-C ends it after the current step and saves; the same command goes on from there.
    """
    from sordino.train.checkpoint import choose_recipe
    from sordino.train.loop import train as run

    chosen = choose_recipe(recipe, init, data, _overrides(settings or []))
    folder = out / chosen.name
    if cluster is None:
        path = run(chosen, folder, init)
    else:
        from sordino.train.cluster import train_on_cluster

        path = train_on_cluster(chosen, folder, init, cluster, workers)
    console.print(f"{path}: `sordino export {path}` makes a model of it", soft_wrap=True)


@app.command()
def export(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Checkpoint (.safetensors) of `sordino train`; several are averaged.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the model to this .onnx file; beside the checkpoint if left out.",
        ),
    ] = None,
    version: Annotated[
        str, typer.Option(help="Version of the weights, written into the model.")
    ] = "1",
    register: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Enter the model into the registry.json beside it, with this description.",
        ),
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
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe; repeatable.")
    ] = None,
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
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the picture to this PNG file.")
    ] = Path("batch.png"),
    index: Annotated[int, typer.Option(help="Draw this batch of the run, counted from 0.")] = 0,
    size: Annotated[int, typer.Option(help="Number of examples to draw.")] = 4,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe; repeatable.")
    ] = None,
) -> None:
    """Draw a batch as the network will get it, to look at the data before training."""
    from sordino.train.data.corpus import Corpus
    from sordino.train.loop import make_mixer
    from sordino.train.monitor import draw_batch
    from sordino.train.recipe import load_recipe
    from sordino.train.voice_encoder import VOICE_ENCODER

    chosen = load_recipe(recipe, _overrides(settings or []))
    if chosen.kind == VOICE_ENCODER:
        raise SordinoError(f"{recipe}: a voice encoder learns from recordings, not from mixtures")
    mixer = make_mixer(chosen, Corpus.open(chosen.data))
    batch = mixer.batch(chosen.train.seed, index, size)
    draw_batch(batch, out)
    console.print(f"{out}: {size} examples at {batch.sample_rate} Hz", soft_wrap=True)


@app.command()
def adapt(
    noise: Annotated[
        Path, typer.Option(help="Folder with recordings of your noise, without speech.")
    ],
    speech: Annotated[
        Path | None,
        typer.Option(help="Folder with clean speech, ideally your own; the package's if left out."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the new model; that of the noise folder if left out."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Train for at most this many minutes.")
    ] = 20.0,
    model: Annotated[str, typer.Option("--model", "-m", help="Start from this model.")] = "default",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the run into a folder in this one.")
    ] = Path("runs/adapt"),
    steps: Annotated[int, typer.Option(hidden=True)] = 20_000,
    check_every: Annotated[int, typer.Option(hidden=True)] = 20,
    learning_rate: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Fine-tune a model for your own noise, and keep the result if it is better.

    A part of your recordings is held out: it says when to stop, and whether the new model is better
    than the one it came from. If it is, `--model NAME` finds it everywhere; if it is not, nothing
    changes and the exit code is 1.
    """
    from sordino.model import Model
    from sordino.train import adapt as adapting
    from sordino.train.export import export_checkpoint

    chosen = name or noise.stem
    work = _adapt_folder(chosen, out)
    adapting.split_sounds(noise, speech, work / "data")

    def show(step: int, loss: float, best: float) -> None:
        console.print(f"update {step}: held-out loss {loss:.4f}, best {best:.4f}", soft_wrap=True)

    budget = adapting.Budget(minutes, check_every, max_steps=steps)
    result = adapting.adapt(model, chosen, work / "data", work, budget, show, learning_rate)
    path = work / f"{chosen}.onnx"
    export_checkpoint(result.checkpoint, path, "1")
    adapting.write_judged(result.checkpoint.recipe, work / "data", work, work / "held-out")
    base, before = Path(model).stem, _base_model(model, work)
    verdict = adapting.judge(
        before, Path(model).stem, Model(path.read_bytes(), chosen), chosen, work / "held-out"
    )
    for metric in adapting.METRICS:
        gain = verdict.gain[metric]
        console.print(
            f"{adapting.TITLES[metric]:11} {verdict.before[metric].mean:7.3f} -> "
            f"{verdict.after[metric].mean:7.3f}  ({gain.low:+.3f} to {gain.high:+.3f}); "
            f"on other noise {verdict.elsewhere[metric]:+.3f}",
            soft_wrap=True,
        )
    console.print(f"report: {work / 'report.html'}", soft_wrap=True)
    if verdict.objections:
        console.print(
            f"{chosen} is not better than {base}: {'; '.join(verdict.objections)}. It was not "
            f"installed; it lies at {path}. More noise, or speech of your own, may help.",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    adapting.install(path, verdict, base, noise)
    console.print(f"installed: `sordino denoise --model {chosen} FILE`", soft_wrap=True)


def _adapt_folder(name: str, out: Path) -> Path:
    """Return a fresh folder for a run; refuse names that would hide another model."""
    import shutil

    from sordino.model import available_models

    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise SordinoError(f"--name {name!r}: use letters, digits, - and _")
    known = available_models().get(name)
    if known is not None and known.folder is None:
        raise SordinoError(f"--name {name}: the package has a model of this name; give another")
    shutil.rmtree(out / name, ignore_errors=True)
    return out / name


def _base_model(source: str, work: Path) -> Any:
    """Load the model that is adapted; a checkpoint is exported first."""
    from sordino.model import load_model
    from sordino.train.checkpoint import load_pretrained
    from sordino.train.export import export_checkpoint

    if not source.endswith(".safetensors"):
        return load_model(source)
    path = work / "base.onnx"
    export_checkpoint(load_pretrained(source), path, "1")
    return load_model(path)


def _show_size(name: str, parameters: int, macs: int) -> None:
    console.print(
        f"{name}: {parameters:,} parameters, {macs / 1e6:.0f} million multiply-accumulates "
        "per second of audio",
        soft_wrap=True,
    )
