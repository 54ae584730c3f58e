"""What the U-Net is built of: band scale, features, convolutions, recurrences, FiLM.

Shapes: B batch (channels of audio), T frames of 10 ms, K bins of the sample rate, F bands or their
halvings, C channels.  Convolutions take (B, T, F, C), the memory of `channels_last`, recurrences
(T * B, F, C).

Sources: the ERB rate after Glasberg and Moore, "Derivation of auditory filter shapes from
notched-noise data", Hearing Research 47 (1990); feature-wise linear modulation, FiLM (Perez et al.,
2018); personal voice activity as an output beside the mask (Ding et al., "Personal VAD", 2020;
Eskimez et al., "Personalized speech enhancement", 2022).
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.stft import BIN_HZ, NATIVE_RATES, analysis_window, bins

Keep = int | Tensor | None  # number of frames; a tensor where a graph is traced
FULL_BINS = bins(max(NATIVE_RATES))


@dataclass(frozen=True)
class UNetConfig:
    """Size of the network.

    Attributes:
        bands: bands on the ERB scale, 0-24 kHz.
        single: lowest bins that are bands of their own (31.25 Hz each).
        channels: channels after each stage on the way down.
        strides: what each stage divides the number of bands by; () halves it in each.
        kernel_time: frames that a convolution sees (this one and the ones before).
        kernel_freq: bands that a convolution sees; odd.
        blocks: recurrent blocks at the bottleneck.
        hidden: units of the recurrence over time in every block.
        recurrence: "lstm" or "gru".
        expansion: width of a layer over the channels in every block, in times of their number;
            0 leaves it out.
        backward: units of a recurrence backward in time behind every block, for files, where the
            future is known; 0: causal.
        presence: units of the recurrence that tells whether there is speech, and noise.
        voice_size: length of a speaker embedding.
        voice_units: units that an enrolled voice is projected to before it conditions the
            network at several depths; 0: at the bottleneck alone, and straight.
        match: units of the recurrences that follow who speaks, to be compared with the enrolled
            voice in each frame; 0: none.
        match_size: numbers that are compared.
    """

    bands: int = 128
    single: int = 80
    channels: tuple[int, ...] = (24, 48)
    strides: tuple[int, ...] = ()
    kernel_time: int = 2
    kernel_freq: int = 3
    blocks: int = 2
    hidden: int = 48
    recurrence: str = "lstm"
    expansion: int = 0
    backward: int = 0
    presence: int = 32
    voice_size: int = 192
    voice_units: int = 0
    match: int = 0
    match_size: int = 96

    @property
    def factors(self) -> tuple[int, ...]:
        """What each stage divides the number of bands by."""
        return self.strides or (2,) * len(self.channels)

    @property
    def bottom(self) -> int:
        """Number of bands at the bottleneck."""
        return self.bands // math.prod(self.factors)


def erb_rate(hz: np.ndarray) -> np.ndarray:
    """Number of equivalent rectangular bandwidths below frequencies in Hz; any shape."""
    return 21.4 * np.log10(1 + 0.00437 * hz)


def spread_matrix(bands: int = 128, single: int = 80) -> np.ndarray:
    """Weights that spread band values over the bins above the one-to-one region.

    The bands are triangles on the ERB scale that sum to one in every bin, so that a
    constant over the bands is the same constant over the bins.

    Args:
        bands: number of bands in all.
        single: number of lowest bins that are bands of their own.

    Returns:
        float32 matrix, shape = (769 - single, bands - single); rows sum to 1.
    """
    erb = erb_rate(np.arange(single, FULL_BINS) * BIN_HZ)
    position = (erb - erb[0]) / (erb[-1] - erb[0]) * (bands - single - 1)
    distance = np.abs(position[:, None] - np.arange(bands - single)[None])
    return np.maximum(1 - distance, 0).astype(np.float32)


def merge_matrix(bands: int = 128, single: int = 80) -> np.ndarray:
    """Weights that average bins into bands: the transpose of `spread_matrix`, normalised.

    Returns:
        float32 matrix, shape = (769 - single, bands - single); columns sum to 1.
    """
    spread = spread_matrix(bands, single)
    return spread / spread.sum(0, keepdims=True)


class Features(nn.Module):
    """Level-invariant, power-compressed bands: magnitude, real and imaginary part.

    The compressed magnitude is divided by its own running mean (time constant 1 s,
    without the bias of a cold start), so that the features of a whisper and of a shout
    are the same.  Where a frame stands far above that mean, as after silence, its own
    level takes over.  The running mean is a recurrence with fixed weights, which runs
    in one call for any number of frames and has an explicit state.
    """

    POWER = 0.3
    FLOOR = 1e-16  # of the squared magnitude: -160 dBFS
    SILENCE = 1e-6  # keeps digital silence from dividing by itself
    DECAY = 0.99  # per frame of 10 ms
    ATTACK = 0.25  # share of a frame's own level that its features are divided by at least
    LEVEL_BANDS = 90  # bands up to 4 kHz, which every sample rate has
    OFFSET_BINS = 32  # bins up to 1 kHz that a constant offset is taken out of

    merge: Tensor
    offset_in: Tensor
    offset_out: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.single = config.single
        merge = torch.from_numpy(merge_matrix(config.bands, config.single))
        self.register_buffer("merge", merge, persistent=False)
        # Unit vector of what a constant offset looks like in the lowest bins of a frame.
        offset = np.fft.rfft(analysis_window(16000))[: self.OFFSET_BINS]
        offset = torch.from_numpy(np.stack([offset.real, offset.imag]).astype(np.float32))
        offset = (offset / offset.square().sum().sqrt()).reshape(-1, 1)
        self.register_buffer("offset_in", offset, persistent=False)
        self.register_buffer("offset_out", offset.T.contiguous(), persistent=False)
        self.mean = nn.RNN(1, 2, nonlinearity="relu")
        with torch.no_grad():
            weights = dict(self.mean.named_parameters())
            weights["weight_ih_l0"].copy_(torch.tensor([[1 - self.DECAY], [0.0]]))
            weights["weight_hh_l0"].copy_(torch.eye(2) * self.DECAY)
            weights["bias_ih_l0"].copy_(torch.tensor([0.0, 1 - self.DECAY]))
            weights["bias_hh_l0"].zero_()
        self.mean.requires_grad_(False)

    def forward(self, spectrum: Tensor, state: Tensor, keep: Keep = None) -> tuple[Tensor, Tensor]:
        """Spectrum (B, T, K, 2) to features (B, T, bands, 3)."""
        b, t, bins, _ = spectrum.shape
        parts = self._without_offset(spectrum.transpose(2, 3)).reshape(b, t, 2 * bins)
        power = parts.square().reshape(b, t, 2, bins).sum(2)
        scale = torch.exp((power + self.FLOOR).log() * ((self.POWER - 1) / 2))
        planes = torch.cat([power.sqrt(), parts], 2).reshape(b, t, 3, bins) * scale[:, :, None]
        merge = self.merge[: bins - self.single]
        bands = torch.cat([planes[..., : self.single], planes[..., self.single :] @ merge], 3)
        level = bands[:, :, 0, : self.LEVEL_BANDS].mean(2, keepdim=True)
        mean, last = recur(self.mean, level.transpose(0, 1), state[None], keep)
        mean = mean.transpose(0, 1)
        running = mean[..., :1] / mean[..., 1:]
        level = torch.maximum(running, self.ATTACK * level)
        return (bands / (level + self.SILENCE)[..., None]).transpose(2, 3), last[0]

    def _without_offset(self, spectrum: Tensor) -> Tensor:
        """Take the projection on a constant offset (DC) out of each frame, (B, T, 2, K).

        Microphones with an offset of 0.1 of full scale would hide quiet speech from the
        network.  Only the network's input changes; the mask is for the sound as it is.
        """
        low, high = spectrum.split([self.OFFSET_BINS, spectrum.shape[3] - self.OFFSET_BINS], 3)
        flat = low.reshape(*low.shape[:2], -1)
        low = flat - flat @ self.offset_in @ self.offset_out
        return torch.cat([low.reshape(*low.shape[:2], 2, self.OFFSET_BINS), high], 3)


def recur(rnn: nn.RNNBase, x: Tensor, state: Any, keep: Keep) -> tuple[Tensor, Any]:
    """Run a recurrence over (T, N, C) and return its state after `keep` frames, or all."""
    if keep is None:
        return rnn(x, state)
    first, state = rnn(x[:keep], state)
    return torch.cat([first, rnn(x[keep:], state)[0]]), state


def in_float32(x: Tensor) -> Tensor:
    """Return `x`, of any shape, in float32; without a cast in the graph where it is so already."""
    return x if x.dtype == torch.float32 else x.float()


class CausalConv(nn.Module):
    """Convolution over bands and over this and earlier frames.

    Its state is the frames that the next call still needs.
    """

    def __init__(self, c_in: int, c_out: int, config: UNetConfig, stride: int = 1) -> None:
        super().__init__()
        self.past = config.kernel_time - 1
        width = max(config.kernel_freq, 2 * stride - 1)
        kernel, padding = (config.kernel_time, width), (0, width // 2)
        self.conv = nn.Conv2d(c_in, c_out, kernel, (1, stride), padding)

    def forward(self, x: Tensor, state: Tensor, keep: Keep = None) -> tuple[Tensor, Tensor]:
        """(B, T, F, C) to (B, T, F / stride, C')."""
        x = torch.cat([state.to(x.dtype), x], 1)
        y = functional.leaky_relu(self.conv(x.permute(0, 3, 1, 2)), 0.1).permute(0, 2, 3, 1)
        if keep is not None:
            return y, in_float32(x[:, keep : keep + self.past])
        return y, in_float32(x[:, x.shape[1] - self.past :])


class BandLinear(nn.Linear):
    """A linear layer over the bands of (N, F, C)."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, F, C) to the same."""
        return functional.conv1d(input, self.weight[:, :, None], self.bias)


class Block(nn.Module):
    """Mixes frequencies inside a frame, then remembers over time, each as a residual.

    With an expansion, a layer over the channels of each band follows.

    Args:
        config: of the network.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        bands, channels, hidden = config.bottom, config.channels[-1], config.hidden
        self.norm_freq = nn.LayerNorm(channels)
        self.freq_in = BandLinear(bands, bands)
        self.freq_out = BandLinear(bands, bands)
        self.norm_time = nn.LayerNorm(channels)
        self.gated = config.recurrence == "lstm"
        self.time = (nn.LSTM if self.gated else nn.GRU)(channels, hidden)
        self.time_out = nn.Linear(hidden, channels)
        self.mix: nn.Sequential | None = None
        if config.expansion:
            wide = config.expansion * channels
            self.mix = nn.Sequential(
                nn.LayerNorm(channels),
                nn.Linear(channels, wide),
                nn.LeakyReLU(0.1),
                nn.Linear(wide, channels),
            )

    def forward(self, x: Tensor, *state: Tensor, keep: Keep = None) -> tuple[Tensor, ...]:
        """(T * B, F, C) to the same; the states, h and, of an LSTM, c, are (B, F, hidden)."""
        (_, f, ch), (b, _, hidden) = x.shape, state[0].shape
        x = x + self.freq_out(functional.leaky_relu(self.freq_in(self.norm_freq(x)), 0.1))
        y = self.norm_time(x).reshape(-1, b * f, ch)
        past = [each.reshape(1, -1, hidden).to(y.dtype) for each in state]
        y, last = recur(self.time, y, tuple(past) if self.gated else past[0], keep)
        x = x + self.time_out(y.reshape(-1, hidden)).reshape(-1, f, ch)
        if self.mix is not None:
            x = x + self.mix(x)
        following = last if self.gated else (last,)
        return x, *(in_float32(each.reshape(-1, f, hidden)) for each in following)


class Backward(nn.Module):
    """What the frames to come add to each band, as a residual that starts by adding nothing.

    It begins at the end of what it gets, with an empty memory, and so has no state.

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.
    """

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.time = nn.LSTM(channels, units)
        self.out = nn.Linear(units, channels)
        for weight in self.out.parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """(T * B, F, C) to the same."""
        _, f, ch = x.shape
        y = self.norm(x).reshape(-1, batch * f, ch).flip(0)
        y, _ = self.time(y)
        return x + self.out(y.flip(0).reshape(-1, y.shape[2])).reshape(-1, f, ch)


class Presence(nn.Module):
    """What the frames so far add to what one frame says about speech and noise.

    A frame alone does not tell a pause from a quiet consonant, nor a clean recording from a
    lull in the noise.  It starts by adding nothing.
    """

    def __init__(self, channels: int, units: int, heads: int) -> None:
        super().__init__()
        self.time = nn.LSTM(channels, units)
        self.out = nn.Linear(units, heads, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, x: Tensor, h: Tensor, c: Tensor, keep: Keep = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(T, B, C) to logits (T, B, heads); h and c are (B, units)."""
        state = h[None].to(x.dtype), c[None].to(x.dtype)
        y, (h, c) = recur(self.time, x, state, keep)
        return self.out(y), in_float32(h[0]), in_float32(c[0])


Film = tuple[Tensor, Tensor]
"""Scale and shift, both of one shape that broadcasts over activations."""


class Conditioning(nn.Module):
    """Scale and shift of the activations at some places of a network, from an enrolled voice.

    x * (1 + s * gamma(v)) + s * beta(v), where s = 0 is the voice of zeros: nothing here has a
    bias, so zeros change nothing.  The last layer starts at zero, so no voice does, either.

    Args:
        size: length of a speaker embedding.
        units: that it is projected to, for all places.
        widths: number of scales at each place.
    """

    def __init__(self, size: int, units: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.project = nn.Linear(size, units, bias=False)
        self.out = nn.Linear(units, 2 * sum(widths), bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, voice: Tensor) -> list[Film]:
        """(B, size) to scale and shift of each place, shape = (B, 1, width)."""
        # An embedding has unit norm: brought to numbers of about 1.
        hidden = functional.leaky_relu(self.project(voice * voice.shape[1] ** 0.5), 0.1)
        scales, shifts = self.out(hidden)[:, None].chunk(2, 2)
        widths = list(self.widths)
        return list(zip(scales.split(widths, 2), shifts.split(widths, 2), strict=True))


def modulate(x: Tensor, film: Film) -> Tensor:
    """Scale and shift activations, shape = (..., C), by a film that broadcasts over them."""
    scale, shift = film
    return x * (1 + scale) + shift


class Match(nn.Module):
    """Follows who speaks, and compares that with the enrolled voice in each frame.

    Two recurrences over the bands of the input give an embedding of the voices that are heard now;
    its product with a projection of the enrolled voice is large where the two are alike.  It
    learns from the activity of all voices of a batch (`sordino.train.objective`), which takes a
    small part of the hours that a network needs to find the same out by what it should keep.

    The products go to the network as a scale and shift in each frame, without a bias, so that a
    voice of zeros changes nothing.

    Args:
        bands: of the input.
        units: of the recurrences.
        size: of the embeddings that are compared.
        voice_size: length of an enrolled embedding.
        width: number of scales in each frame.

    Source: comparison with a projected embedding as in Cornell et al., "Target speaker voice
    activity detection" (2020).
    """

    LAYERS = 2
    HIDDEN = 48

    def __init__(self, bands: int, units: int, size: int, voice_size: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(bands, units)
        self.time = nn.ModuleList([nn.GRU(units, units) for _ in range(self.LAYERS)])
        self.heard = nn.Linear(units, size)
        self.enrolled = nn.Linear(voice_size, size, bias=False)
        self.bias = nn.Parameter(torch.tensor(-1.0))
        self.hidden = nn.Linear(size, self.HIDDEN, bias=False)
        self.out = nn.Linear(self.HIDDEN, 2 * width + 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, bands: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Magnitudes (T, B, bands) to what is heard (T, B, size), and next states (B, units)."""
        x = functional.leaky_relu(self.first(bands), 0.1)
        following: list[Tensor] = []
        for layer, before in zip(self.time, state, strict=True):
            x, last = layer(x, before[None].to(x.dtype))
            following.append(in_float32(last[0]))
        return self.heard(x), *following

    def key(self, voice: Tensor) -> Tensor:
        """Project enrolled voices (B, voice_size) to what is compared, (B, size)."""
        size = self.enrolled.out_features
        return self.enrolled(voice * (voice.shape[1] / size) ** 0.5)

    def compare(self, heard: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compare what is heard, (T, B, size), with keys, (B, size).

        Returns:
            Logit that the voice speaks, shape = (T, B); scales and shifts, shape = (T, B, 2 width);
            what is added to the logits of speech, gate and noise, shape = (T, B, 3), of which only
            the gate's is not zero.
        """
        alike = heard * key
        hidden = functional.leaky_relu(self.hidden(alike), 0.1)
        films, gate = self.out.weight[:-1], self.out.weight[-1:]
        closing = torch.cat([torch.zeros_like(gate), gate, torch.zeros_like(gate)])
        return (
            alike.sum(2) + self.bias,
            functional.linear(hidden, films),
            functional.linear(hidden, closing),
        )
