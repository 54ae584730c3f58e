"""Which recipe to run: a file, or what a checkpoint was trained with, made gentle."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sordino.errors import SordinoError
from sordino.train.checkpoint import load_pretrained
from sordino.train.data.corpus import CorpusConfig, CorpusSource
from sordino.train.recipe import Recipe, from_tree, load_recipe, override, to_tree


def choose_recipe(
    recipe: Path | None, init: str | Path | None, data: Path | None, overrides: Mapping[str, str]
) -> Recipe:
    """The recipe of a command line.

    Without a recipe file, that of the checkpoint is taken, with a tenth of its learning
    rate, a thousand steps and smaller rates for the stages far from the output, so that a
    little data adapts the network and does not wipe out what it knows.

    Args:
        recipe: recipe file.
        init: what a new run starts from, see `load_pretrained`.
        data: folder that replaces the recipe's data.
        overrides: values by dotted key.

    Raises:
        SordinoError: if there is neither recipe nor checkpoint, or no data in the folder.
    """
    if recipe is not None:
        chosen = load_recipe(recipe, overrides)
    elif init is not None:
        tuned = gentle(load_pretrained(init).recipe)
        chosen = from_tree(Recipe, override(to_tree(tuned), overrides))
    else:
        raise SordinoError("give a recipe (recipes/*.toml), or --init MODEL to fine-tune")
    if data is not None:
        chosen = replace(chosen, data=replace(corpus_of(data), cache=chosen.data.cache))
    return chosen


def corpus_of(folder: Path) -> CorpusConfig:
    """The corpus in a folder: speech/ and noise/ (and rir/), or noisy/ and clean/, or both.

    Raises:
        SordinoError: if it has neither.
    """
    has = {name: (folder / name).is_dir() for name in ("speech", "noise", "rir", "noisy", "clean")}
    mixable, paired = has["speech"] and has["noise"], has["noisy"] and has["clean"]
    if not mixable and not paired:
        raise SordinoError(
            f"--data {folder}: put recordings into {folder}/speech and {folder}/noise, "
            f"or pairs of equal names into {folder}/noisy and {folder}/clean"
        )

    def sources(name: str, wanted: bool) -> tuple[CorpusSource, ...]:
        return (CorpusSource(str(folder / name)),) if wanted else ()

    return CorpusConfig(
        speech=sources("speech", mixable),
        noise=sources("noise", mixable),
        rirs=sources("rir", mixable and has["rir"]),
        pairs=(CorpusSource(str(folder)),) if paired else (),
    )


def gentle(recipe: Recipe) -> Recipe:
    """The recipe with little and slow learning, the more so the further from the output."""
    loop = replace(
        recipe.train,
        steps=1000,
        warmup=100,
        learning_rate=recipe.train.learning_rate / 10,
        layer_decay=0.7,
        teacher="",
    )
    return replace(recipe, name=f"{recipe.name}-tuned", train=loop)
