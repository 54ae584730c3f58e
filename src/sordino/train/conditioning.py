"""Conditioning: how an enrolled voice changes what the U-Net does.

Shapes: B batch, T frames, F bands at the bottleneck, C channels.

Sources: feature-wise linear modulation, FiLM (Perez et al., 2018); personal voice activity as
an output beside the mask (Ding et al., "Personal VAD", 2020; Eskimez et al., "Personalized
speech enhancement", 2022).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    """Scale and shift activations."""
    scale, shift = film
    return x * (1 + scale) + shift


class Target(nn.Module):
    """Tells whether the enrolled voice speaks, from the means of some groups of bands.

    It also closes the network's gate where the voice is silent, which starts by adding nothing.

    Args:
        channels: at the bottleneck.
        units: of its recurrence.
    """

    GROUPS = 4

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.time = nn.LSTM(self.GROUPS * channels, units)
        self.heads = nn.Linear(units, 2)
        with torch.no_grad():
            self.heads.weight[1].zero_()
            self.heads.bias[1].zero_()

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, B, F, C) to logits (T, B, 2), activity and gate; h and c are (B, units)."""
        t, b, f, width = x.shape
        groups = x.reshape(-1, f // self.GROUPS, width).mean(1).reshape(t, b, -1)
        y, (h, c) = self.time(groups, (h[None].to(x.dtype), c[None].to(x.dtype)))
        return self.heads(y), h[0], c[0]
