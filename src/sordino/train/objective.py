"""The objective of training: network, estimate and loss for each kind of network.

A teacher, if there is one, is a larger network that shows a smaller one what can be told from a
mixture.  Clean speech asks for what nobody can hear in the noise; a good network's estimate asks
only for what can be done.

Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sordino.errors import SordinoError
from sordino.model import NOISE_MASK, SLICE_MAGNITUDE
from sordino.slices import FRAMES, HOP, RATE
from sordino.train.baselines.poc_unet import PocUNet, draw_pictures, picture_loss, without_noise
from sordino.train.checkpoint import load_pretrained, restore_weights
from sordino.train.losses import dnsmos
from sordino.train.losses.estoi import EstoiLoss
from sordino.train.losses.llr import LlrLoss
from sordino.train.losses.pesq import PesqLoss
from sordino.train.losses.spectral import total_loss
from sordino.train.recipe import Recipe
from sordino.train.stft import istft, stft, subtract
from sordino.train.unet import UNet

log = logging.getLogger("sordino")


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """The context to run a network in: in bfloat16 where it is wanted for and can be had.

    Args:
        device: that the network is on.
        bf16: whether it is wanted for; else all stays in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16 and _has_bf16(device.type))


@lru_cache
def _has_bf16(device: str) -> bool:
    """Whether recurrences run in bfloat16: oneDNN has none for processors without AVX-512."""
    try:
        with torch.autocast(device, torch.bfloat16), torch.device(device):
            nn.LSTM(8, 8)(torch.zeros(1, 1, 8))
    except RuntimeError:
        log.warning("this processor has no bfloat16 for recurrences: training in float32 (slower)")
        return False
    return True


class Teacher(nn.Module):
    """Averaged weights which do not learn any more.

    Args:
        path: of a causal U-Net of any size, see `load_pretrained`.

    Raises:
        SordinoError: if there is none, or one of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        saved = load_pretrained(path)
        if saved.recipe.kind != NOISE_MASK:
            raise SordinoError(
                f"train.teacher: {path} is a {saved.recipe.kind} network; give one of "
                f"kind {NOISE_MASK!r}, such as 'default'"
            )
        self.network = UNet(saved.recipe.network)
        restore_weights(self.network, saved.part("average"), str(path))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, noisy: Tensor, rate: int) -> Tensor:
        """What it makes of spectrum frames: a waveform.

        Args:
            noisy: real and imaginary part, shape = (B, T, K, 2).
            rate: sample rate in Hz.

        Returns:
            Shape = (B, (T - 1) * hop).
        """
        output = self.network(noisy, *self.network.start(len(noisy), noisy.device))
        return istft(subtract(noisy, output.mask), rate)


DNSMOS_EXAMPLES = (
    2  # examples of a batch that an opinion is predicted of: two cost a quarter of a step
)
PERCEIVED = ("pesq", "estoi", "llr", "dnsmos")  # terms of the loss at 16 kHz
SILENT = 1e-9  # mean square of a target without speech, -90 dBFS


class TensorBatch(NamedTuple):
    """A batch as tensors; see `sordino.train.data.mixing.Batch` for the fields."""

    noisy: Tensor
    clean: Tensor
    sample_rate: int
    bandwidth: Tensor
    speech: Tensor

    def to(self, device: torch.device) -> "TensorBatch":
        """The same batch on a device."""
        noisy, clean, bandwidth, speech = (
            v.to(device, non_blocking=True)
            for v in (self.noisy, self.clean, self.bandwidth, self.speech)
        )
        return TensorBatch(noisy, clean, self.sample_rate, bandwidth, speech)


class Step(NamedTuple):
    """The outcome of one forward pass."""

    loss: Tensor
    terms: dict[str, Tensor]
    estimate: Tensor  # waveform, shape = (B, M)


class Objective(nn.Module):
    """A network with its loss: called with a `TensorBatch`, it gives a `Step`.

    Args:
        network: what is trained.
        recipe: of the run.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.run = torch.compile(network) if recipe.train.compile else network
        self.bf16 = recipe.train.bf16


class MaskObjective(Objective):
    """The causal U-Net: take the mwanted noise out, compare the waveforms.

    Args:
        recipe: its `network` and `loss` sections, and the teacher of its `train` section.

    Raises:
        SordinoError: if the teacher cannot be used, or a batch is not made of whole chains.
    """

    def __init__(self, recipe: Recipe) -> None:
        batch, chain = recipe.train.batch, recipe.train.chain
        if chain < 1 or batch % chain:
            raise SordinoError(
                f"recipe: train.chain must divide train.batch, and {chain} does not divide {batch}"
            )
        network = UNet(recipe.network)
        super().__init__(network, recipe)
        self.start = network.start
        self.chain = chain
        self.config = recipe.loss
        self.pesq = PesqLoss()
        self.estoi = EstoiLoss()
        self.llr = LlrLoss()
        self.dnsmos: dnsmos.Dnsmos | None = None  # loaded when a loss is wanted for
        self.teacher = Teacher(recipe.train.teacher) if recipe.train.teacher else None

    def forward(self, batch: TensorBatch) -> Step:
        """Loss of a batch at its own sample rate."""
        device, rate = batch.noisy.device, batch.sample_rate
        noisy = stft(batch.noisy, rate)
        with autocast(device, self.bf16):
            # Memory goes on from one example of a chain to the next.
            chains = noisy.unflatten(0, (-1, self.chain)).flatten(1, 2)
            output = self.run(chains, *self.start(len(chains), device))
            taught = self.teacher(noisy, rate) if self.teacher else None
        mask, speech, presence = (
            x.unflatten(1, (self.chain, -1)).flatten(0, 1)
            for x in (output.mask, output.speech, output.noise)
        )
        estimate = istft(subtract(noisy, mask), rate)
        logits = (speech, presence)

        def compare(clean: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            targets = (batch.noisy, clean, batch.bandwidth, batch.speech)
            return total_loss(estimate, targets, logits, rate, self.config)

        loss, terms = compare(batch.clean)
        if taught is not None:
            rest = batch.clean[:, taught.shape[-1] :]
            other, _ = compare(torch.cat([taught, rest], -1))
            terms["teacher"] = other.detach()
            loss = torch.lerp(loss, other, self.config.teacher)
        if rate >= dnsmos.RATE:
            for name, term in self._perceived(estimate, batch).items():
                terms[name] = term
                loss = loss + getattr(self.config, name) * term
        return Step(loss, terms, estimate)

    def _perceived(self, estimate: Tensor, batch: TensorBatch) -> dict[str, Tensor]:
        """Terms of what a listener makes of it at 16 kHz, those that have a weight.

        All but the opinion are means over the batch, in which examples without
        speech count as 0.
        """
        wanted = [name for name in PERCEIVED if getattr(self.config, name)]
        share = self.config.dnsmos_share
        if "dnsmos" in wanted and share < 1 and torch.rand(()) >= share:
            wanted.remove("dnsmos")
        spoken = (batch.clean.square().mean(-1) > SILENT).nonzero()[:, 0]
        if not wanted or not len(spoken):
            return {name: estimate.new_zeros(()) for name in wanted}
        heard, clean = (
            dnsmos.lowered(x[spoken], batch.sample_rate)
            for x in (estimate, batch.clean[:, : estimate.shape[-1]])
        )
        size, bandwidth = len(estimate), batch.bandwidth[spoken]
        measures: dict[str, Callable[[], Tensor]] = {
            "pesq": lambda: self.pesq(heard, clean, bandwidth).sum() / size,
            "estoi": lambda: self.estoi(heard, clean).sum() / size,
            "llr": lambda: self.llr(heard, clean, bandwidth).sum() / size,
            "dnsmos": lambda: self._dnsmos_loss(heard[:DNSMOS_EXAMPLES]) / share,
        }
        return {name: measures[name]() for name in wanted}

    def _dnsmos_loss(self, heard: Tensor) -> Tensor:
        """What the predicted overall opinion of sounds at 16 kHz lacks to 5."""
        if self.dnsmos is None:
            self.dnsmos = dnsmos.Dnsmos().to(heard.device)
        with autocast(heard.device, self.bf16):
            scores = self.dnsmos(heard)
        return (5 - scores.float()).mean()


class SliceObjective(Objective):
    """The proof of concept: compare pictures of the noise, pixel by pixel.

    Args:
        recipe: its `poc` section; it mixes whole pictures at 8 kHz.

    Raises:
        SordinoError: if the recipe mixes anything else.
    """

    def __init__(self, recipe: Recipe) -> None:
        shortest = FRAMES * HOP / RATE
        if set(recipe.mix.rates) != {RATE} or recipe.mix.seconds < shortest:
            raise SordinoError(
                f"recipe: kind {SLICE_MAGNITUDE!r} needs mix.rates = {{ {RATE} = 1.0 }} and "
                f"mix.seconds = {shortest} or more"
            )
        super().__init__(PocUNet(recipe.poc), recipe)
        self.limit_db = recipe.poc.limit_db

    def forward(self, batch: TensorBatch) -> Step:
        """Loss of the whole pictures of a batch."""
        pictures = draw_pictures(batch.noisy, batch.clean, self.limit_db)
        with autocast(batch.noisy.device, self.bf16):
            noise = self.run(pictures.noisy)
        loss, terms = picture_loss(noise, pictures.noise, batch.bandwidth)
        return Step(loss, terms, without_noise(pictures.spectra, noise.detach()))


OBJECTIVES: dict[str, Callable[[Recipe], Objective]] = {
    NOISE_MASK: MaskObjective,
    SLICE_MAGNITUDE: SliceObjective,
}


def make_objective(recipe: Recipe) -> Objective:
    """The objective of a recipe's kind.

    Raises:
        SordinoError: if there is no such kind.
    """
    if recipe.kind not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise SordinoError(f"recipe: kind {recipe.kind!r} is unknown; known: {known}")
    return OBJECTIVES[recipe.kind](recipe)
