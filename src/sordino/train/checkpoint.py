"""Checkpoints: one safetensors file that a run resumes from, or that another starts from, gently.

Tensors are named `network.*`, `average.*` (EMA) and, for resuming, `adam.*`; the moments
of AdamW are kept in bfloat16, whose range holds the tiny second moments, and those of SOAP in
full: in its bases a rounded one would push where the gradient never goes.  The recipe, the
step and the hours of audio are in the metadata, as JSON.
"""

# No types: safetensors.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.model import available_models
from sordino.train.data.corpus import CorpusConfig, CorpusSource
from sordino.train.optim import AveragedWeights
from sordino.train.recipe import Recipe, from_tree, load_recipe, override, to_tree

MOMENTS = ("exp_avg", "exp_avg_sq")
BASES = ("GG", "Q")  # of SOAP: correlations of the gradient along each axis, and their eigenvectors


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: updates done.
        hours: of mixed audio that the weights have seen, in runs before too.
        batch: examples of an update over all processes; 0 where an earlier version wrote it.
            With `step` and the recipe's seed, it is the state of the sampler.
    """

    step: int = 0
    hours: float = 0.0
    batch: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    recipe: Recipe
    progress: Progress
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part: "network", "average" or "adam"."""
        return {k[len(name) + 1 :]: v for k, v in self.tensors.items() if k.startswith(name + ".")}


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    progress: Progress,
    network: nn.Module,
    average: AveragedWeights,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint in one piece: to a temporary name, then renamed."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.network.state_dict().items()}
    names = {id(p): n for n, p in network.named_parameters()}
    for weight, slot in optimizer.state.items():
        name = names[id(weight)]
        kept = torch.float32 if BASES[0] in slot else torch.bfloat16
        tensors |= {f"adam.{key}.{name}": slot[key].to(kept) for key in MOMENTS}
        for key in BASES:
            axes = enumerate(slot.get(key, ()))
            tensors |= {f"adam.{key}{axis}.{name}": basis for axis, basis in axes if len(basis)}
    _write(path, tensors, to_tree(recipe), progress)


def _write(
    path: Path, tensors: Mapping[str, Tensor], recipe: dict[str, Any], progress: Progress
) -> None:
    kept = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with atomic_write(path) as part:
        about = {"sordino": json.dumps({"recipe": recipe, **asdict(progress)})}
        part.write_bytes(save(kept, about))  # `save_file` lets nobody but the owner read it


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        SordinoError: if the file is missing, damaged or not a checkpoint of Sordino.
    """
    try:
        with safe_open(path, "pt") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["sordino"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise SordinoError(
            f"cannot read the checkpoint {path}: {error or type(error).__name__}; "
            "give a .safetensors file that `sordino train` wrote, or the name of a model"
        ) from error
    progress = Progress(about["step"], about["hours"], about.get("batch", 0))
    return Checkpoint(from_tree(Recipe, about["recipe"]), progress, tensors)


def load_pretrained(source: str | Path) -> Checkpoint:
    """Read weights to start from, or to learn from.

    Args:
        source: a .safetensors file of `sordino train` or `sordino export`, an .onnx file with
            such a file of the same name beside it, or the name of a packaged model.

    Raises:
        SordinoError: if it is none of these.
    """
    path = Path(source)
    models = available_models()
    if str(source) in models and not path.is_file():
        path = Path(str(models[str(source)].place / f"{source}.safetensors"))
        missing = f"the model {source!r} has no weights to start from"
    else:
        path = path.with_suffix(".safetensors") if path.suffix == ".onnx" else path
        missing = f"{source} has no weights to start from beside it ({path.name})"
    if (str(source) in models or Path(source).suffix == ".onnx") and not path.is_file():
        raise SordinoError(f"{missing}: give the .safetensors file of its training")
    return load_checkpoint(path)


def save_weights(
    path: Path, recipe: Recipe, progress: Progress, weights: Mapping[str, Tensor]
) -> None:
    """Write averaged weights without what a run needs to resume; the data's folders stay out.

    Args:
        path: of the .safetensors file.
        recipe: of the run.
        progress: of the run.
        weights: by name; each in its own shape.
    """
    _write(path, {f"average.{k}": v for k, v in weights.items()}, _public(recipe), progress)


def save_small(path: Path, checkpoint: Checkpoint) -> None:
    """Write a copy that a run resumes from: without moments, in half precision.

    Args:
        path: of the .safetensors file.
        checkpoint: of a run.
    """
    kept = ("network.", "average.")
    tensors = {k: v.half() for k, v in checkpoint.tensors.items() if k.startswith(kept)}
    _write(path, tensors, _public(checkpoint.recipe), checkpoint.progress)


def _public(recipe: Recipe) -> dict[str, Any]:
    about = to_tree(recipe)
    about.pop("data")  # paths of the machine that trained are private
    return about


def mean_checkpoint(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The first checkpoint, its averaged weights replaced by the mean over all.

    Runs that part from the same weights end near each other, and what lies between them is
    often better than either (Wortsman et al., "Model soups", 2022).

    Raises:
        SordinoError: if they belong to networks of different shapes.
    """
    first, *others = checkpoints
    tensors = dict(first.tensors)
    for name, tensor in first.part("average").items():
        parts = [tensor, *(other.tensors.get(f"average.{name}") for other in others)]
        same = [part for part in parts if part is not None and part.shape == tensor.shape]
        if len(same) < len(parts):
            raise SordinoError(
                f"the checkpoints have weights of different shapes ({name}); "
                "average only runs of the same network"
            )
        if tensor.is_floating_point():  # others count batches
            tensors[f"average.{name}"] = torch.stack(same).mean(0)
    return replace(first, tensors=tensors)


def restore_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Put weights into a network.

    It may have weights that they lack, where it says in `identities` that these start as an
    identity: what an earlier version trained is still of use.

    Args:
        network: that takes them.
        weights: by name.
        where: they come from, for messages.

    Raises:
        SordinoError: if they belong to a network of another shape.
    """
    new = getattr(network, "identities", ())
    own = {k: v for k, v in network.state_dict().items() if k.startswith(new)}
    weights = own | weights
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise SordinoError(
            f"{where} does not fit the network of the recipe ({first}); "
            "use the same [network] section"
        ) from error


def restore_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, adam: dict[str, Tensor], step: int
) -> None:
    """Put the moments of Adam back, and the bases of SOAP.

    A run that was begun with one of them and goes on with the other starts without either.

    Args:
        optimizer: that goes on.
        network: whose weights it changes.
        adam: moments and bases by the names of weights; moments have the shape of their weight.
        step: number of updates so far.
    """
    soap = "shampoo_beta" in optimizer.param_groups[0]
    if soap != any(key.startswith("Q0.") for key in adam):
        return
    names = {id(w): n for n, w in network.named_parameters()}
    kept = {key: tensor.to(next(network.parameters())) for key, tensor in adam.items()}
    for group in optimizer.param_groups:
        group["step"] = step  # where SOAP counts; AdamW counts for each weight
        for weight in group["params"]:
            name = names[id(weight)]
            if f"exp_avg.{name}" not in kept:
                continue
            slot: dict[str, Any] = {key: kept[f"{key}.{name}"] for key in MOMENTS}
            slot["step"] = torch.tensor(float(step))
            if soap:
                axes = range(weight.ndim)
                slot |= {k: [kept.get(f"{k}{axis}.{name}", []) for axis in axes] for k in BASES}
                slot["precondition_frequency"] = group["precondition_frequency"]
                slot["shampoo_beta"] = group["betas"][1]
            optimizer.state[weight] = slot


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
