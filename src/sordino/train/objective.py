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
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.errors import SordinoError
from sordino.model import NOISE_MASK, SLICE_MAGNITUDE
from sordino.slices import FRAMES, HOP, RATE
from sordino.train.baselines.poc_unet import PocUNet, draw_pictures, picture_loss, without_noise
from sordino.train.checkpoint import load_pretrained, restore_weights
from sordino.train.layers import Match
from sordino.train.losses import dnsmos
from sordino.train.losses.estoi import EstoiLoss
from sordino.train.losses.llr import LlrLoss
from sordino.train.losses.pesq import PesqLoss
from sordino.train.losses.spectral import total_loss
from sordino.train.recipe import Recipe
from sordino.train.unet import UNet, istft, run_as_engine, stft, subtract
from sordino.train.voice_encoder import VOICE_ENCODER, VoiceEncoderNetwork, distillation_loss

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
    """Whether bfloat16 is worth while: not on a processor without instructions for it.

    Without AVX-512 oneDNN has no recurrences in bfloat16, and with AVX-512 alone it computes them
    through float32, at half the speed of float32.  PyTorch before 2.12 cannot tell, and gets
    float32, too.
    """
    known = getattr(torch.cpu, "get_capabilities", dict)()
    if device != "cpu" or known.get("avx512_bf16") or known.get("amx_bf16"):
        return True
    log.info("this processor has no instructions for bfloat16: training in float32")
    return False


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


DNSMOS_EXAMPLES = 2  # examples of a batch that DNSMOS is predicted of: two cost a quarter of a step
PERCEIVED = ("pesq", "estoi", "llr", "dnsmos")  # terms of the loss at 16 kHz
WHO = 0.3  # weight of whose voice it is, beside when it speaks
RELATION = 2.0  # weight of the likeness of embeddings to each other
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


class Outcome(NamedTuple):
    """The outcome of one forward pass."""

    loss: Tensor
    terms: dict[str, Tensor]
    estimate: Tensor  # waveform, shape = (B, M)


class Objective(nn.Module):
    """A network with its loss: called with a `TensorBatch`, it gives an `Outcome`.

    Args:
        network: what is trained.
        recipe: of the run.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.step = 0
        """Updates of the weights so far; the training loop counts them."""
        self.run = torch.compile(network) if recipe.train.compile else network
        self.bf16 = recipe.train.bf16

    def tensors(self, raw: Any, device: torch.device) -> Any:
        """A batch of the recipe's mixer, as the objective takes it."""
        return TensorBatch(*raw).to(device)


class MaskObjective(Objective):
    """The causal U-Net: take the noise out, compare the waveforms.

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

    def forward(self, batch: Any) -> Outcome:
        """Loss of a batch at its own sample rate."""
        device, rate = batch.noisy.device, batch.sample_rate
        noisy = stft(batch.noisy, rate)
        with autocast(device, self.bf16):
            # Memory goes on from one example of a chain to the next.
            chains = noisy.unflatten(0, (-1, self.chain)).flatten(1, 2)
            output = run_as_engine(self.run, chains, *self.start(len(chains), device))
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
        return Outcome(loss, terms, estimate)

    def _perceived(self, estimate: Tensor, batch: TensorBatch) -> dict[str, Tensor]:
        """Terms of what a listener makes of it at 16 kHz, those that have a weight.

        All but DNSMOS are means over the batch, in which examples without
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
        """5 minus the predicted overall opinion score of sounds at 16 kHz."""
        if self.dnsmos is None:
            self.dnsmos = dnsmos.Dnsmos().to(heard.device)
        with autocast(heard.device, self.bf16):
            scores = self.dnsmos(heard)
        return (5 - scores.float()).mean()


class VoiceBatch(NamedTuple):
    """A batch as tensors; see `sordino.train.data.talkers.TalkerBatch` for the fields."""

    noisy: Tensor
    clean: Tensor
    sample_rate: int
    bandwidth: Tensor
    speech: Tensor
    voice: Tensor
    target: Tensor
    mixture: Tensor


def match_loss(match: Match, heard: Tensor, batch: VoiceBatch) -> dict[str, Tensor]:
    """How well what is heard tells which voice of the batch speaks when.

    Each mixture is compared with all enrolled voices of the batch: with its own, whose activity is
    known, and with those of the others, who do not speak in it.

    Args:
        match: the part of the network that compares.
        heard: its embeddings of all mixtures, shape = (T, B, size).
        batch: whose voices are compared; at least one row has a voice.

    Returns:
        "target": cross entropy of the activities, the mean of own and of other voices;
        "who": cross entropy of whose voice it is, in frames in which one of them speaks alone.

    Source: the comparison within a batch is that of van den Oord et al., "Representation learning
    with contrastive predictive coding", 2018.
    """
    rows = batch.voice.any(1).nonzero()[:, 0]
    heard, target, mixture = heard[:, rows].float(), batch.target[rows], batch.mixture[rows]
    keys = match.key(batch.voice[rows]).float()
    logits = torch.einsum("tbs,js->bjt", heard, keys) + match.bias
    own = mixture[:, None] == mixture[None]
    activity = own[:, :, None] * target[None]
    error = functional.binary_cross_entropy_with_logits(logits, activity, reduction="none").mean(2)
    parts = [error[chosen].mean() for chosen in (own, ~own) if chosen.any()]
    alone = activity.sum(1) == 1
    who = functional.cross_entropy(logits.transpose(1, 2)[alone], activity.argmax(1)[alone])
    return {"target": torch.stack(parts).mean(), "who": who if alone.any() else who.new_zeros(())}


class VoiceObjective(MaskObjective):
    """The causal U-Net with an enrolled voice: keep that voice, take out all else.

    Examples with a voice of zeros are the universal network's: they learn from the teacher, too,
    so that no voice stays any voice.

    In the first `train.match_steps` updates only the part that follows who speaks learns, which
    costs a sixth: the rest has nothing to go by before.

    Args:
        recipe: its `network` has `voice_units` and `match`.

    Raises:
        SordinoError: see `MaskObjective`; or batches are chained.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if self.chain != 1 or not recipe.network.match:
            raise SordinoError(
                "recipe: with network.voice_units, train.chain is 1 and network.match more than 0"
            )
        self.match_steps = recipe.train.match_steps

    def tensors(self, raw: Any, device: torch.device) -> Any:
        """A batch of `TalkerMixer`."""
        batch = VoiceBatch(*raw)
        return batch._replace(
            **{
                name: value.to(device, non_blocking=True)
                for name, value in batch._asdict().items()
                if isinstance(value, Tensor)
            }
        )

    def forward(self, batch: VoiceBatch) -> Outcome:
        """Loss of a batch at its own sample rate."""
        device, rate, size = batch.noisy.device, batch.sample_rate, len(batch.noisy)
        noisy = stft(batch.noisy, rate)
        network = cast(UNet, self.network)
        assert network.match is not None
        _, state = self.start(size, device)
        if self.step < self.match_steps:
            with autocast(device, self.bf16):
                heard = network.listen(noisy, state)
            terms = match_loss(network.match, heard, batch)
            return Outcome(terms["target"] + WHO * terms["who"], terms, batch.clean)
        with autocast(device, self.bf16):
            output = run_as_engine(self.run, noisy, batch.voice, state)
        estimate = istft(subtract(noisy, output.mask), rate)
        universal = (batch.voice == 0).all(1)
        loss, terms = estimate.new_zeros(()), dict[str, Tensor]()
        if output.heard is not None and not universal.all():
            terms = match_loss(network.match, output.heard, batch)
            loss = self.config.target * (terms["target"] + WHO * terms["who"])
        for name, chosen in (("voice", ~universal), ("universal", universal)):
            rows = chosen.nonzero()[:, 0]
            if len(rows):
                part, own = self._part(batch, rows, noisy, estimate[rows], output)
                loss = loss + part * (len(rows) / size)
                terms |= own if name == "voice" else {"universal": part.detach()}
        return Outcome(loss, terms, estimate)

    def _part(
        self, batch: VoiceBatch, rows: Tensor, noisy: Tensor, estimate: Tensor, output: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of some rows of a batch, all with a voice or all without."""
        rate, clean = batch.sample_rate, batch.clean[rows]
        logits = output.speech[rows], output.noise[rows]
        target = batch.target[rows]

        def compare(clean: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            parts = (batch.noisy[rows], clean, batch.bandwidth[rows], batch.speech[rows])
            return total_loss(estimate, parts, logits, rate, self.config, target)

        loss, terms = compare(clean)
        if self.teacher is not None and not batch.voice[rows[0]].any():
            taught = self.teacher(noisy[rows], rate)
            other, _ = compare(torch.cat([taught, clean[:, taught.shape[-1] :]], -1))
            loss = torch.lerp(loss, other, self.config.teacher)
        return loss, terms


class EncoderObjective(Objective):
    """The voice encoder: come near the teacher's embeddings.

    Args:
        recipe: its `encoder` section.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(VoiceEncoderNetwork(recipe.encoder), recipe)

    def tensors(self, raw: Any, device: torch.device) -> Any:
        """A batch of `EncoderMixer`."""
        features, teacher = raw
        return features.to(device), teacher.to(device)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Outcome:
        """Loss of a batch.

        Args:
            batch: features, shape = (B, T, 80), and the teacher's embeddings, shape = (B, 192).
        """
        features, teacher = batch
        with autocast(features.device, self.bf16):
            embedding = self.run(features)
        terms = distillation_loss(embedding.float(), teacher)
        return Outcome(terms["cosine"] + RELATION * terms["relation"], terms, embedding)


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

    def forward(self, batch: Any) -> Outcome:
        """Loss of the whole pictures of a batch."""
        pictures = draw_pictures(batch.noisy, batch.clean, self.limit_db)
        with autocast(batch.noisy.device, self.bf16):
            noise = self.run(pictures.noisy)
        loss, terms = picture_loss(noise, pictures.noise, batch.bandwidth)
        return Outcome(loss, terms, without_noise(pictures.spectra, noise.detach()))


def _mask_objective(recipe: Recipe) -> MaskObjective:
    return (VoiceObjective if recipe.network.voice_units else MaskObjective)(recipe)


OBJECTIVES: dict[str, Callable[[Recipe], Objective]] = {
    NOISE_MASK: _mask_objective,
    SLICE_MAGNITUDE: SliceObjective,
    VOICE_ENCODER: EncoderObjective,
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
