"""Optimiser, learning-rate schedule and averaged weights.

Sources: AdamW (Loshchilov and Hutter, 2019); SOAP, which is Adam in the eigenbases of Shampoo
(Vyas et al., "SOAP: Improving and stabilizing Shampoo using Adam", 2024).
"""

import copy
import math
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sordino.errors import SordinoError
from sordino.train.recipe import LoopConfig

BETAS = (0.9, 0.98)  # of Adam's moments; SOAP follows its bases at the second one's pace

# Stages of the U-Net from the input to the output, for layer-wise learning rates.
_STAGES = (r"down", r"position|film", r"blocks", r"speech|up|skip", r"input_skip|head|out")


def make_optimizer(network: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """The optimiser of a recipe, with weight decay on matrices only and a rate per stage.

    Args:
        network: whose trainable weights are to be learnt; with `freeze_encoder` those of
            the way down stop being trainable.
        config: kind, rates and decay.

    Raises:
        SordinoError: if there is no such kind.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            continue
        stage = next((i for i, s in enumerate(_STAGES) if re.match(s, name)), len(_STAGES) - 1)
        if config.freeze_encoder and stage == 0:
            weight.requires_grad_(False)
            continue
        rate = config.layer_decay ** (len(_STAGES) - 1 - stage)
        decay = config.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    weights = [
        {"params": weights, "weight_decay": decay, "scale": scale}
        for (scale, decay), weights in groups.items()
    ]
    return _kind(config.optimizer)(weights, lr=config.learning_rate, betas=BETAS)


def _kind(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name == "adamw":
        return torch.optim.AdamW
    if name == "soap":
        from pytorch_optimizer import SOAP  # takes half a second, which other runs can do without

        return SOAP
    raise SordinoError(f"recipe: optimizer {name!r} is unknown; known: adamw, soap")


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then a cosine down to `final_rate` of the height.

    >>> c = LoopConfig(steps=100, warmup=10, learning_rate=1.0, final_rate=0.1)
    >>> [round(learning_rate(s, c), 2) for s in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.55, 0.1]
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = min((step - config.warmup) / max(config.steps - config.warmup, 1), 1.0)
    share = config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * share


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


class AveragedWeights:
    """Exponential moving average of the weights (EMA), which is what is released.

    The decay warms up as min(decay, (1 + step) / (10 + step)), since a long average of
    early weights is useless.

    Args:
        network: whose weights are followed.
        decay: per update.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the weights of `network` after update number `step`."""
        keep = min(self.decay, (1 + step) / (10 + step))
        followers = self.network.state_dict()
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():
                followers[name].lerp_(weight, 1 - keep)
            else:
                followers[name].copy_(weight)
