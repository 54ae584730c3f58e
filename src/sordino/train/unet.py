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

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.inference import SILENCE
from sordino.stft import analysis_window, hop, synthesis_window
from sordino.train.layers import (
    Backward,
    Block,
    CausalConv,
    Conditioning,
    Features,
    Film,
    Keep,
    Match,
    Presence,
    UNetConfig,
    in_float32,
    modulate,
    spread_matrix,
)

State = dict[str, Tensor]


class Output(NamedTuple):
    """What the network gives back.

    Attributes:
        mask: complex noise mask, shape = (B, T, K, 2); its real part is at most 1.
        speech: logit of the presence of speech, shape = (B, T).
        noise: logit of the presence of noise, shape = (B, T).
        state: to be handed to the next call.
        target: logit that the enrolled voice speaks, shape = (B, T); None without such a head.
        heard: embedding of the voices that are heard, shape = (T, B, match_size), for training.
    """

    mask: Tensor
    speech: Tensor
    noise: Tensor
    state: State
    target: Tensor | None = None
    heard: Tensor | None = None


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

    identities = ("noise.", "presence.", "conditioning.", "match.", "backward.")

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
        self.backward = nn.ModuleList(
            [Backward(channels, config.backward) for _ in range(config.blocks)]
            if config.backward
            else []
        )
        self.conditioning: Conditioning | None = None
        if config.voice_units:
            widths = (bottom, *[channels] * (config.blocks - 1), *config.channels[::-1])
            self.conditioning = Conditioning(config.voice_size, config.voice_units, widths)
        self.match: Match | None = None
        if config.match:
            sizes = config.match_size, config.voice_size
            self.match = Match(config.bands, config.match, *sizes, channels)
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
        for i in range(c.blocks):
            for name in self._memory(i):
                shapes[name] = (bands, c.hidden)
        if c.match:
            shapes |= {f"match{i}": (c.match,) for i in range(Match.LAYERS)}
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
        return self.estimate(spectrum, self.condition(voice), state, keep)

    def condition(self, voice: Tensor) -> Tensor:
        """What the network makes of enrolled voices once, before the sound.

        Args:
            voice: speaker embeddings, shape = (B, voice_size).

        Returns:
            All scales and shifts, and the key, shape = (B, conditions); zeros for a voice of zeros.
            The embedding itself where a network has no `voice_units`.
        """
        if self.conditioning is None:
            return voice
        parts = [self.film(voice), *(torch.cat(film, 2)[:, 0] for film in self.conditioning(voice))]
        if self.match is not None:
            parts.append(self.match.key(voice))
        return torch.cat(parts, 1)

    def listen(self, spectrum: Tensor, state: State) -> Tensor:
        """What `match` hears in some frames, shape = (T, B, match_size), without all the rest.

        Args:
            spectrum: see `forward`.
            state: see `forward`.
        """
        with torch.no_grad(), torch.autocast(spectrum.device.type, enabled=False):
            planes, _ = self.features(spectrum.float(), state["level"])
        return self._heard(planes, state)[0]

    def _heard(self, planes: Tensor, state: State) -> tuple[Tensor, State]:
        assert self.match is not None
        names = [f"match{i}" for i in range(Match.LAYERS)]
        bands = planes[..., 0].transpose(0, 1)
        heard, *following = self.match(bands, *(state[name] for name in names))
        return heard, dict(zip(names, following, strict=True))

    def _conditions(self, condition: Tensor) -> tuple[Tensor, Iterator[Film], Tensor]:
        """Undo `condition`: scales and shifts before the first block, other films, and the key."""
        if self.conditioning is None:
            return self.film(condition)[None], iter(()), condition
        sizes = [2 * width for width in (self.config.channels[-1], *self.conditioning.widths)]
        first, *others, key = condition.split([*sizes, condition.shape[1] - sum(sizes)], 1)
        halves = [part[:, None].chunk(2, 2) for part in others]
        return first[None], iter([(scale, shift) for scale, shift in halves]), key

    def estimate(
        self, spectrum: Tensor, condition: Tensor, state: State, keep: Keep = None
    ) -> Output:
        """Do as `forward`, with the voice as `condition` returns it.

        Shape: spectrum (B, T, K, 2), condition (B, conditions).
        """
        new: State = {}
        heard = target = closing = None
        first, films, key = self._conditions(condition)
        # The features span 140 dB and keep full precision; the convolutions may not.
        with torch.autocast(spectrum.device.type, enabled=False):
            planes, new["level"] = self.features(spectrum.float(), state["level"], keep)
        x, skips = planes, []
        for i, down in enumerate(self.down):
            x, new[f"down{i}"] = down(x, state[f"down{i}"], keep)
            skips.append(x)
        b, t, f, width = x.shape
        if self.match is not None:
            heard, following = self._heard(planes, state)
            new |= following
            target, moving, closing = self.match.compare(heard, key)
            first = first + moving
        x = x.reshape(b, t, f * width).transpose(0, 1).reshape(t, b, f, width)
        scale, shift = first[:, :, None].chunk(2, 3)
        x = modulate(x + self.position, (scale, shift))
        for film in islice(films, 1):  # over the bands
            x = modulate(x, (film[0].transpose(1, 2), film[1].transpose(1, 2)))
        x = x.reshape(-1, f, width)
        for i, block in enumerate(self.blocks):
            for film in islice(films, min(i, 1)):
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
        present = functional.linear(pooled, weight, bias) + past
        if closing is not None and target is not None:
            present, target = present + closing, in_float32(target).transpose(0, 1)
        present = in_float32(present).transpose(0, 1)
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
        return Output(mask, present[..., 0], present[..., 2], new, target, heard)


def silent_last(spectrum: Tensor) -> Tensor:
    """Order of frames that moves the silent ones behind all others, which stay in order.

    The engine leaves silent frames out (`sordino.inference.MaskNetwork.run`): a recording that
    begins with digital silence begins, for the network, with its first sound.

    Args:
        spectrum: real and imaginary part, shape = (B, T, K, 2).

    Returns:
        Numbers of frames, shape = (B, T).
    """
    silent = spectrum.abs().amax((2, 3)) <= SILENCE
    return silent.to(torch.uint8).argsort(dim=1, stable=True)


def ordered(x: Tensor, order: Tensor) -> Tensor:
    """Take the frames of (B, T, ...) in an order, shape = (B, T)."""
    index = order.reshape(*order.shape, *[1] * (x.ndim - 2))
    return x.gather(1, index.expand(-1, -1, *x.shape[2:]))


def run_as_engine(
    network: Callable[[Tensor, Tensor, State], Output],
    spectrum: Tensor,
    voice: Tensor,
    state: State,
) -> Output:
    """Run a network on spectrum frames, of which it gets those that are not silent first.

    Args:
        network: called as `UNet.forward`.
        spectrum, voice, state: see there.

    Returns:
        All its outputs in the order of the frames.

    Shape: spectrum (B, T, K, 2), voice (B, voice_size).
    """
    order = silent_last(spectrum)
    output = network(ordered(spectrum, order), voice, state)
    back = order.argsort(dim=1)
    target, heard = output.target, output.heard
    return Output(
        mask=ordered(output.mask, back),
        speech=ordered(output.speech, back),
        noise=ordered(output.noise, back),
        state=output.state,
        target=None if target is None else ordered(target, back),
        heard=None if heard is None else ordered(heard.transpose(0, 1), back).transpose(0, 1),
    )


@lru_cache(maxsize=16)
def _windows(rate: int, device: torch.device) -> tuple[Tensor, Tensor]:
    analysis = torch.from_numpy(analysis_window(rate)).to(device)
    synthesis = torch.from_numpy(synthesis_window(rate)).to(device)
    return analysis, synthesis


def stft(x: Tensor, rate: int) -> Tensor:
    """Spectrum frames of a waveform; frame t sees the samples before (t + 1) hops.

    Args:
        x: waveform, shape = (B, N).
        rate: sample rate in Hz, one of the native ones.

    Returns:
        Real and imaginary part, shape = (B, N // hop, bins, 2).
    """
    window, _ = _windows(rate, x.device)
    size, step = len(window), hop(rate)
    frames = functional.pad(x, (size - step, 0)).unfold(-1, size, step)
    return torch.view_as_real(torch.fft.rfft(frames * window))


def istft(spectrum: Tensor, rate: int) -> Tensor:
    """Overlap-add of spectrum frames.

    Args:
        spectrum: shape = (B, T, bins, 2).
        rate: sample rate in Hz.

    Returns:
        Waveform, shape = (B, (T - 1) * hop); the last hop would need one more frame.
    """
    window, synthesis = _windows(rate, spectrum.device)
    step = hop(rate)
    frames = torch.fft.irfft(torch.view_as_complex(spectrum.contiguous()), len(window))
    frames = frames[..., -2 * step :] * synthesis
    earlier, later = frames[..., :step], frames[..., step:]
    return (later[:, :-1] + earlier[:, 1:]).flatten(1)


def subtract(spectrum: Tensor, mask: Tensor) -> Tensor:
    """What is left when the noise is taken out: S = X - M X.

    Args:
        spectrum: X, real and imaginary part, shape = (..., 2).
        mask: complex noise mask M, same shape.
    """
    (a, b), (c, d) = spectrum.unbind(-1), mask.unbind(-1)
    return spectrum - torch.stack([a * c - b * d, a * d + b * c], -1)
