"""What a kind of network makes of a batch: its estimate and its loss."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sordino.errors import SordinoError
from sordino.train.losses import total_loss
from sordino.train.recipe import Recipe
from sordino.train.stft import istft, stft, subtract
from sordino.train.unet import UNet


class TensorBatch(NamedTuple):
    """A batch as tensors; see `sordino.train.mixing.Batch` for the fields."""

    noisy: Tensor
    clean: Tensor
    sample_rate: int
    bandwidth: Tensor
    speech: Tensor

    def to(self, device: torch.device) -> "TensorBatch":
        """The same batch on a device."""
        moved = (v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for v in self)
        return TensorBatch(*moved)


class Step(NamedTuple):
    """The outcome of one forward pass."""

    loss: Tensor
    terms: dict[str, Tensor]
    estimate: Tensor  # waveform, shape = (B, M)


class Objective(Protocol):
    """A network with its loss; a `torch.nn.Module`."""

    network: nn.Module

    def __call__(self, batch: TensorBatch) -> Step:
        """Run the network on a batch."""
        ...


class MaskObjective(nn.Module):
    """The causal U-Net: take the masked noise out, compare the waveforms.

    Args:
        recipe: its `network` and `loss` sections.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.network = UNet(recipe.network)
        self.config = recipe.loss
        self.run = torch.compile(self.network) if recipe.train.compile else self.network
        self.bf16 = recipe.train.bf16

    def forward(self, batch: TensorBatch) -> Step:
        """Loss of a batch at its own sample rate."""
        device = batch.noisy.device
        size, rate = len(batch.noisy), batch.sample_rate
        noisy = stft(batch.noisy, rate)
        voice = torch.zeros(size, self.network.config.voice_size, device=device)
        state = self.network.initial_state(size, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            output = self.run(noisy, voice, state)
        estimate = istft(subtract(noisy, output.mask), rate)
        targets = (batch.noisy, batch.clean, batch.bandwidth, batch.speech)
        loss, terms = total_loss(estimate, targets, output.speech, rate, self.config)
        return Step(loss, terms, estimate)


OBJECTIVES: dict[str, type[nn.Module]] = {"noise-mask": MaskObjective}


def make_objective(recipe: Recipe) -> nn.Module:
    """The objective of a recipe's kind.

    Raises:
        SordinoError: if there is no such kind.
    """
    if recipe.kind not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise SordinoError(f"recipe: kind {recipe.kind!r} is unknown; known: {known}")
    return OBJECTIVES[recipe.kind](recipe)
