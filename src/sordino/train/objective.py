"""What a kind of network makes of a batch: its estimate and its loss."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sordino.errors import SordinoError
from sordino.model import NOISE_MASK, SLICE_MAGNITUDE
from sordino.slices import FRAMES, HOP, RATE
from sordino.train import mos
from sordino.train.disturbance import Disturbance
from sordino.train.intelligibility import Intelligibility
from sordino.train.losses import total_loss
from sordino.train.pictures import draw_pictures, picture_loss, without_noise
from sordino.train.poc_unet import PocUNet
from sordino.train.recipe import Recipe
from sordino.train.stft import istft, stft, subtract
from sordino.train.unet import UNet

OPINIONS = 4  # examples of a batch that an opinion is predicted of: it costs half a step
SILENT = 1e-9  # mean square of a target without speech, -90 dBFS


class TensorBatch(NamedTuple):
    """A batch as tensors; see `sordino.train.mixing.Batch` for the fields."""

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

    Attributes:
        identities: prefixes of the names of weights that start as an identity, so that a run
            can begin from a checkpoint of a network that does not have them yet.
    """

    identities: tuple[str, ...] = ()

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.run = torch.compile(network) if recipe.train.compile else network
        self.bf16 = recipe.train.bf16


class MaskObjective(Objective):
    """The causal U-Net: take the masked noise out, compare the waveforms.

    Args:
        recipe: its `network` and `loss` sections.
    """

    identities = ("memory.",)

    def __init__(self, recipe: Recipe) -> None:
        network = UNet(recipe.network)
        super().__init__(network, recipe)
        self.initial_state = network.initial_state
        self.voice_size = recipe.network.voice_size
        self.config = recipe.loss
        self.disturbance = Disturbance()
        self.intelligibility = Intelligibility()
        self.opinion: mos.OpinionScore | None = None  # loaded when a loss is asked for

    def forward(self, batch: TensorBatch) -> Step:
        """Loss of a batch at its own sample rate."""
        device = batch.noisy.device
        size, rate = len(batch.noisy), batch.sample_rate
        noisy = stft(batch.noisy, rate)
        voice = torch.zeros(size, self.voice_size, device=device)
        state = self.initial_state(size, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            output = self.run(noisy, voice, state)
        estimate = istft(subtract(noisy, output.mask), rate)
        targets = (batch.noisy, batch.clean, batch.bandwidth, batch.speech)
        loss, terms = total_loss(estimate, targets, output.speech, rate, self.config)
        if rate >= mos.RATE:
            spoken = (batch.clean.square().mean(-1) > SILENT).nonzero()[:, 0]
            for name, term in (
                ("disturbance", self._disturbed),
                ("intelligibility", self._misheard),
                ("opinion", self._disliked),
            ):
                if weight := getattr(self.config, name):
                    none = estimate.new_zeros(())
                    terms[name] = term(estimate, batch, spoken) if len(spoken) else none
                    loss = loss + weight * terms[name]
        return Step(loss, terms, estimate)

    def _disturbed(self, estimate: Tensor, batch: TensorBatch, spoken: Tensor) -> Tensor:
        """Audible disturbance, mean over the batch; examples without speech count as 0."""
        heard, clean = self._lowered(estimate, batch, spoken)
        return self.disturbance(heard, clean, batch.bandwidth[spoken]).sum() / len(estimate)

    def _misheard(self, estimate: Tensor, batch: TensorBatch, spoken: Tensor) -> Tensor:
        """What is lost of intelligibility, mean over the batch as above."""
        return self.intelligibility(*self._lowered(estimate, batch, spoken)).sum() / len(estimate)

    def _lowered(
        self, estimate: Tensor, batch: TensorBatch, spoken: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimate and clean sound of the examples with speech, at 16 kHz."""
        heard = mos.lowered(estimate[spoken], batch.sample_rate)
        return heard, mos.lowered(batch.clean[spoken, : estimate.shape[-1]], batch.sample_rate)

    def _disliked(self, estimate: Tensor, batch: TensorBatch, spoken: Tensor) -> Tensor:
        """What the predicted overall opinion of some examples with speech lacks to 5."""
        if self.opinion is None:
            self.opinion = mos.OpinionScore().to(estimate.device)
        with torch.autocast(estimate.device.type, torch.bfloat16, enabled=self.bf16):
            scores = self.opinion(mos.lowered(estimate[spoken[:OPINIONS]], batch.sample_rate))
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
        with torch.autocast(batch.noisy.device.type, torch.bfloat16, enabled=self.bf16):
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
