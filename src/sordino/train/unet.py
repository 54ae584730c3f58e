"""The network: a causal U-Net that estimates a complex noise mask.

One `forward` serves training, files, live use and the ONNX export.  It maps spectrum
frames, a voice and a state to mask frames, speech probabilities and the next state; the
time axis may be one frame or thousands.

Shapes: B batch (channels of audio), T frames of 10 ms, K bins of the sample rate,
F bands or their halvings, C channels.  Convolutions take (B, T, F, C), the memory of
`channels_last`, recurrences (T * B, F, C).  Some reshapes are there because ONNX Runtime is
slow without them (docs/experiments/speed.md).

Sources: U-Net (Ronneberger et al., 2015); dual-path recurrence (Luo et al., "Dual-path
RNN", 2020) with the frequency path as a small mixing network instead of a recurrence, as
in "MLP-Mixer" (Tolstikhin et al., 2021), because 32 dependent steps inside a 10 ms frame
cost more than all the rest; FiLM (Perez et al., 2018).
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import math
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.stft import analysis_window
from sordino.train.bands import merge_matrix, spread_matrix
from sordino.train.conditioning import Conditioning, Target, modulate

State = dict[str, Tensor]
Keep = int | Tensor | None  # number of frames; a tensor where a graph is traced


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
        voice_blocks: further recurrent blocks, which start by changing nothing.
        target: units of the recurrence that tells whether the enrolled voice speaks; 0: none.
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
    voice_blocks: int = 0
    target: int = 0

    @property
    def factors(self) -> tuple[int, ...]:
        """What each stage divides the number of bands by."""
        return self.strides or (2,) * len(self.channels)

    @property
    def bottom(self) -> int:
        """Number of bands at the bottleneck."""
        return self.bands // math.prod(self.factors)


class Output(NamedTuple):
    """What the network gives back.

    Attributes:
        mask: complex noise mask, shape = (B, T, K, 2); its real part is at most 1.
        speech: logit of the presence of speech, shape = (B, T).
        noise: logit of the presence of noise, shape = (B, T).
        state: to be handed to the next call.
        target: logit that the enrolled voice speaks, shape = (B, T); None without such a head.
    """

    mask: Tensor
    speech: Tensor
    noise: Tensor
    state: State
    target: Tensor | None = None


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
        network.  Only what the network hears changes; the mask is for the sound as it is.
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


def _single(x: Tensor) -> Tensor:
    """In float32; what is so already adds nothing to the exported graph."""
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
            return y, _single(x[:, keep : keep + self.past])
        return y, _single(x[:, x.shape[1] - self.past :])


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
        identity: whether it starts by changing nothing.
    """

    def __init__(self, config: UNetConfig, identity: bool = False) -> None:
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
        if identity:
            ends = [self.freq_out, self.time_out, *([] if self.mix is None else [self.mix[-1]])]
            for weight in (w for end in ends for w in end.parameters()):
                nn.init.zeros_(weight)

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
        return x, *(_single(each.reshape(-1, f, hidden)) for each in following)


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
        return self.out(y), _single(h[0]), _single(c[0])


class UNet(nn.Module):
    """The causal U-Net of Sordino.

    Two numbers a frame act on all bands at once, because a tanh alone comes near its ends too
    slowly.  A gate closes where nobody speaks: what is left, 1 - mask, is multiplied by it.
    And the mask is multiplied by the presence of noise, so that clean speech stays as it is.
    Both start at 1.

    Args:
        config: its size.

    Attributes:
        identities: prefixes of the names of weights that start as an identity, so that the
            weights of a network that does not have them yet fit.
    """

    OPEN = 5.0  # logit of a gate that has learnt nothing yet: -0.06 dB

    identities = ("noise.", "presence.", "conditioning.", "voice_blocks.", "target.", "backward.")

    spread: Tensor
    real: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.features = Features(config)
        widths = (3, *config.channels)
        pairs = list(pairwise(widths))
        factors, bottom = config.factors, config.bottom
        self.down = nn.ModuleList(
            [CausalConv(a, b, config, n) for (a, b), n in zip(pairs, factors, strict=True)]
        )
        channels = config.channels[-1]
        self.position = nn.Parameter(torch.zeros(bottom, channels))
        self.film = nn.Linear(config.voice_size, 2 * channels, bias=False)
        nn.init.zeros_(self.film.weight)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.blocks)])
        self.voice_blocks = nn.ModuleList(
            [Block(config, identity=True) for _ in range(config.voice_blocks)]
        )
        self.backward = nn.ModuleList(
            [Backward(channels, config.backward) for _ in range(config.blocks)]
            if config.backward
            else []
        )
        self.conditioning: Conditioning | None = None
        if config.voice_units:
            count = config.blocks + config.voice_blocks
            widths = (bottom, *[channels] * count, *config.channels[::-1])
            self.conditioning = Conditioning(config.voice_size, config.voice_units, widths)
        self.target = Target(channels, config.target) if config.target else None
        self.speech, self.gate, self.noise = (nn.Linear(channels, 1) for _ in range(3))
        for head in (self.gate, self.noise):
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, self.OPEN)
        self.presence = Presence(channels, config.presence, 3)
        top = config.channels[0]
        ups = [*((b, a) for a, b in pairs[:0:-1]), (top, top)]
        self.up = nn.ModuleList(
            [CausalConv(a, n * b, config) for (a, b), n in zip(ups, factors[::-1], strict=True)]
        )
        self.skip = nn.ModuleList([nn.Linear(b, b) for b in config.channels[::-1]])
        self.input_skip = nn.Linear(3, top)
        self.head = nn.Linear(top, 2)
        self.head_bias = nn.Parameter(torch.zeros(config.bands, 2))
        spread = torch.from_numpy(spread_matrix(config.bands, config.single)).T.contiguous()
        self.register_buffer("spread", spread, persistent=False)
        self.register_buffer("real", torch.tensor([[1.0], [0.0]]), persistent=False)

    def initial_state(self, batch: int = 1, device: torch.device | str = "cpu") -> State:
        """A silent past: zeros, by name."""
        c = self.config
        past, bands = c.kernel_time - 1, c.bands
        shapes: dict[str, tuple[int, ...]] = {"level": (2,)}
        for i, width in enumerate((3, *c.channels[:-1])):
            shapes[f"down{i}"] = (past, bands, width)
            bands //= c.factors[i]
        for i in range(c.blocks + c.voice_blocks):
            for name in self._memory(i):
                shapes[name] = (bands, c.hidden)
        if c.target:
            shapes["target_hidden"] = shapes["target_cell"] = (c.target,)
        shapes["presence_hidden"] = shapes["presence_cell"] = (c.presence,)
        for i, width in enumerate(c.channels[::-1]):
            shapes[f"up{i}"] = (past, bands, width)
            bands *= c.factors[-1 - i]
        return {k: torch.zeros(batch, *s, device=device) for k, s in shapes.items()}

    def _memory(self, block: int) -> list[str]:
        """Names of the states of a recurrent block."""
        kinds = ("hidden", "cell") if self.config.recurrence == "lstm" else ("hidden",)
        return [f"{kind}{block}" for kind in kinds]

    def start(self, batch: int, device: torch.device) -> tuple[Tensor, State]:
        """Any voice and a silent past: what `forward` needs beside the first frames."""
        voice = torch.zeros(batch, self.config.voice_size, device=device)
        return voice, self.initial_state(batch, device)

    def forward(self, spectrum: Tensor, voice: Tensor, state: State, keep: Keep = None) -> Output:
        """Estimate the noise mask of some frames.

        Args:
            spectrum: real and imaginary part, shape = (B, T, K, 2), K = 129, 257, 385 or
                769 (8, 16, 24, 48 kHz).
            voice: speaker embedding, shape = (B, voice_size); zeros mean any voice.
            state: of the call before, or `initial_state`.
            keep: number of frames after which the next state is taken, 0 < keep < T; those behind
                it are the future, and come again in the next call.  None: all.
        """
        new: State = {}
        # The features span 140 dB and keep full precision; the convolutions may not.
        with torch.autocast(spectrum.device.type, enabled=False):
            planes, new["level"] = self.features(spectrum.float(), state["level"], keep)
        x, skips = planes, []
        for i, down in enumerate(self.down):
            x, new[f"down{i}"] = down(x, state[f"down{i}"], keep)
            skips.append(x)
        b, t, f, width = x.shape
        scale, shift = self.film(voice)[:, None].chunk(2, -1)
        films = iter(self.conditioning(voice) if self.conditioning is not None else ())
        x = x.reshape(b, t, f * width).transpose(0, 1).reshape(t, b, f, width)
        x = (x + self.position) * (1 + scale) + shift
        for film in islice(films, 1):  # over the bands
            x = modulate(x, (film[0].transpose(1, 2), film[1].transpose(1, 2)))
        x = x.reshape(-1, f, width)
        for i, block in enumerate((*self.blocks, *self.voice_blocks)):
            for film in islice(films, 1):
                x = modulate(x.reshape(t, b, f, width), film).reshape(-1, f, width)
            names = self._memory(i)
            x, *following = block(x, *(state[name] for name in names), keep=keep)
            new.update(zip(names, following, strict=True))
            if i < len(self.backward):
                x = self.backward[i](x, b)
        pooled = x.mean(1).reshape(t, b, width)
        past, new["presence_hidden"], new["presence_cell"] = self.presence(
            pooled, state["presence_hidden"], state["presence_cell"], keep
        )
        heads = (self.speech, self.gate, self.noise)
        weight = torch.cat([head.weight for head in heads])
        bias = torch.cat([head.bias for head in heads])
        present = _single(functional.linear(pooled, weight, bias) + past).transpose(0, 1)
        target: Tensor | None = None
        if self.target is not None:
            y, *following = self.target(
                x.reshape(t, b, f, width), state["target_hidden"], state["target_cell"]
            )
            new["target_hidden"], new["target_cell"] = map(_single, following)
            target, closing = _single(y).transpose(0, 1).split(1, 2)
            target, present = target[..., 0], present + functional.pad(closing, (1, 1))
        x = x.reshape(t, b, f * width).transpose(0, 1).reshape(b, t, f, width)
        for i, (up, skip) in enumerate(zip(self.up, self.skip, strict=True)):
            y = x + skip(skips[-1 - i].reshape(-1, x.shape[3])).reshape(x.shape)
            for film in islice(films, 1):
                y = modulate(y, (film[0][:, None], film[1][:, None]))
            x, new[f"up{i}"] = up(y, state[f"up{i}"], keep)
            n = self.config.factors[-1 - i]
            x = x.reshape(b, t, n * x.shape[2], x.shape[3] // n)
        # head(x + input_skip(planes)), without a wide tensor for the planes.
        skip, last = self.input_skip, self.head.weight
        y = functional.linear(planes.reshape(-1, 3), last @ skip.weight)
        y = (self.head(x.reshape(-1, x.shape[3])) + y).reshape(*x.shape[:3], 2)
        with torch.autocast(spectrum.device.type, enabled=False):
            bias = self.head_bias + last @ skip.bias
            gate, noise = torch.sigmoid(present[..., 1:, None, None]).unbind(2)
            bands = torch.tanh(y.float() + bias).transpose(2, 3)
            bands = gate * noise * bands + (1 - gate) * self.real
            single = self.config.single
            high = bands[..., single:] @ self.spread[:, : spectrum.shape[2] - single]
            mask = torch.cat([bands[..., :single], high], 3)
        mask = mask.flatten(2).reshape(mask.shape).transpose(2, 3)
        return Output(mask, present[..., 0], present[..., 2], new, target)
