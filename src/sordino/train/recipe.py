"""A recipe: everything that decides a training run, in one TOML file.

The sections of the file are the frozen dataclasses below; unknown keys and wrong types
are refused with the name of the nearest known key.
"""

import math
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from sordino.errors import SordinoError
from sordino.train.baselines.poc_unet import PocUNetConfig
from sordino.train.data.corpus import CorpusConfig
from sordino.train.data.enrolment import EnrolmentConfig
from sordino.train.data.mixing import MixConfig
from sordino.train.data.talkers import TalkersConfig
from sordino.train.layers import UNetConfig
from sordino.train.losses.spectral import LossConfig
from sordino.train.voice_encoder import EncoderConfig

RETIRED = frozenset(
    {"mix.creatures", "mix.creature_speed", "network.voice_blocks", "network.target"}
)
"""Keys of earlier recipes and checkpoints that have no effect any more; 0 never had one."""


RENAMED = {
    "loss.disturbance": "pesq",
    "loss.intelligibility": "estoi",
    "loss.envelope": "llr",
    "loss.opinion": "dnsmos",
    "loss.opinion_share": "dnsmos_share",
    "mix.calls": "tones",
    "mix.cries": "animals",
}
"""Keys of earlier recipes and checkpoints, and what they are called now."""


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to learn.

    Attributes:
        seed: of the weights and of every mixture.
        steps: updates of the weights.
        batch: examples in a batch, on each process.
        global_batch: examples of an update over all processes, whose gradients are added up in
            as many passes as it takes; 0 makes one pass of `batch` on each process.
        chain: examples that are processed in sequence with the state kept; divides `batch`.
        optimizer: "adamw" or "soap", see `sordino.train.optim`.
        learning_rate: at its height.
        final_rate: share of `learning_rate` that the cosine ends at.
        warmup: updates of linear rise.
        weight_decay: on matrices only.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, per update, once warmed up.
        bf16: autocast to bfloat16, where the machine can.
        compile: run the network through `torch.compile`.
        threads: intra-op threads of PyTorch; 0 leaves its own choice.
        workers: processes that mix ahead; 0 mixes between the steps.
        log_every: updates between log lines.
        media_every: updates between logged sounds and spectrograms.
        save_every: seconds between checkpoints.
        teacher: network whose estimates are learnt from, too, as `load_pretrained` finds
            it; "" for none.
        layer_decay: fine-tuning: factor on the learning rate for every stage further
            from the output; 1 trains all alike.
        freeze_encoder: fine-tuning: leave the way down of the U-Net as it is.
        match_steps: updates at the beginning in which a network for an enrolled voice learns only
            who speaks (`network.match`).
    """

    seed: int = 0
    steps: int = 10_000
    batch: int = 12
    global_batch: int = 0
    chain: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    warmup: int = 300
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    bf16: bool = True
    compile: bool = False
    threads: int = 1
    workers: int = 0
    log_every: int = 20
    media_every: int = 2000
    save_every: float = 300.0
    teacher: str = ""
    layer_decay: float = 1.0
    freeze_encoder: bool = False
    match_steps: int = 0


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        name: of the model that comes out.
        description: one sentence for the model card.
        kind: "noise-mask" (the causal U-Net), "voice-encoder", or "slice-magnitude" (the proof
            of concept).
        data, mix, train: the recordings, how they are mixed, and the training loop.
        network, loss: of the causal U-Net.
        talkers: who speaks in mixtures for an enrolled voice (`network.voice_units`).
        enrolment: recordings that voices are enrolled from.
        encoder: of the voice encoder.
        poc: of the proof of concept's network.
    """

    name: str = "unnamed"
    description: str = ""
    kind: str = "noise-mask"
    data: CorpusConfig = field(default_factory=CorpusConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    network: UNetConfig = field(default_factory=UNetConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    talkers: TalkersConfig = field(default_factory=TalkersConfig)
    enrolment: EnrolmentConfig = field(default_factory=EnrolmentConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    poc: PocUNetConfig = field(default_factory=PocUNetConfig)
    train: LoopConfig = field(default_factory=LoopConfig)


def load_recipe(path: str | Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe file.

    Args:
        path: of the TOML file.
        overrides: values by dotted key, as in `{"train.steps": "500"}`; written as TOML.

    Raises:
        SordinoError: if the file cannot be read or a key or value does not fit.
    """
    try:
        tree = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SordinoError(f"cannot read the recipe {path}: {error}") from error
    return from_tree(Recipe, override(tree, overrides or {}))


def override(tree: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Change a nested dictionary by dotted keys and return it.

    >>> override({"train": {"steps": 1, "batch": 8}}, {"train.steps": "500"})
    {'train': {'steps': 500, 'batch': 8}}
    """
    for key, text in values.items():
        *sections, last = key.split(".")
        node = tree
        for section in sections:
            below: Any = node.setdefault(section, {})
            if not isinstance(below, dict):
                raise SordinoError(f"--set {key}: {section} is a value, not a section")
            node = cast(dict[str, Any], below)
        node[last] = _parse_value(text)
    return tree


def to_tree(config: Any) -> dict[str, Any]:
    """A recipe as nested dictionaries that JSON and TOML can hold."""
    return asdict(config)


def from_tree(kind: type, tree: Mapping[str, Any], where: str = "") -> Any:
    """Build a dataclass from nested dictionaries, checking names and types.

    Raises:
        SordinoError: naming the key at fault and, for a misspelt one, the nearest known.
    """
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    tree = _up_to_date(tree, where)
    for key in tree:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise SordinoError(f"recipe: there is no key {where}{key}; {hint}")
    return kind(**{k: _convert(hints[k], v, f"{where}{k}") for k, v in tree.items()})


def _up_to_date(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The section of a recipe with today's keys; a warning names what was changed."""
    current: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{where}{key}"
        if name in RETIRED:
            if value:
                warnings.warn(f"recipe: {name} has no effect any more", stacklevel=2)
        elif name in RENAMED:
            warnings.warn(f"recipe: {name} is called {where}{RENAMED[name]} now", stacklevel=2)
            current[RENAMED[name]] = value
        else:
            current[key] = value
    return current


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    items: Any = value  # whose type is not known yet
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_tree(hint, items, f"{where}.")
    if origin is tuple and isinstance(value, list | tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], v, where) for v in items)
        if len(args) == len(items):
            return tuple(_convert(a, v, where) for a, v in zip(args, items, strict=True))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise SordinoError(f"recipe: {where} must be a finite number, not {value}")
        return float(value)
    elif origin is None and isinstance(hint, type) and type(value) is hint:
        return value
    elif origin is dict and isinstance(value, Mapping):
        # TOML and JSON keys are strings; those of a table by number are read as numbers.
        keys = {int(k) if args[0] is int and str(k).isdecimal() else k: k for k in items}
        return {
            _convert(args[0], k, where): _convert(args[1], items[raw], where)
            for k, raw in keys.items()
        }
    wanted = getattr(hint, "__name__", str(hint))
    raise SordinoError(f"recipe: {where} must be {wanted}, not {value!r}")
