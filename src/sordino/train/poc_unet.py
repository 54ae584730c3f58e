"""The proof of concept's network: a U-Net that looks at one second of sound as a picture.

It maps pictures of noisy magnitudes to pictures of how many dB of them are noise; see
`sordino.slices` for what a pixel means.  It is not causal, and keeps no state.

Sources: U-Net (Ronneberger et al., 2015) in the size of Vincent Belz, "Speech-enhancement",
2019 (github.com/vbelz/Speech-enhancement); initialisation (He et al., "Delving deep into
rectifiers", 2015).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.3  # of LeakyReLU where its input is negative
DROPPED_LEVELS = 2  # the deepest levels, whose output goes through dropout


@dataclass(frozen=True)
class PocUNetConfig:
    """Size of the network.

    Attributes:
        channels: of every level; each level after the first sees pictures of half the size.
        dropout: share of the values that are dropped in training in the two deepest levels.
        limit_db: the most dB of noise in a pixel that training asks for.  Where the network
            is unsure whether there is speech, it gives the mean of this and of nothing, so
            that a higher limit takes more noise and eats more speech.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropout: float = 0.5
    limit_db: float = 24.0


class Convolutions(nn.Sequential):
    """Two 3 x 3 convolutions, each with a LeakyReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(c_out, c_out, 3, padding=1),
            nn.LeakyReLU(SLOPE),
        )


class Rise(nn.Module):
    """One level up: twice the size, half the channels, joined with the skip of that level."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(c_in, c_out, 2))
        self.merge = Convolutions(2 * c_out, c_out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, H, W) and a skip (B, C', 2 H, 2 W) to the shape of the skip."""
        x = functional.interpolate(x, scale_factor=2.0)
        x = functional.leaky_relu(self.widen(x), SLOPE)
        return self.merge(torch.cat([skip, x], 1))


class PocUNet(nn.Module):
    """The proof of concept's U-Net.

    Args:
        config: its size.
    """

    def __init__(self, config: PocUNetConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.down = nn.ModuleList([Convolutions(a, b) for a, b in pairwise((1, *config.channels))])
        self.up = nn.ModuleList([Rise(a, b) for a, b in pairwise(config.channels[::-1])])
        self.head = nn.Sequential(
            nn.Conv2d(config.channels[0], 2, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2, 1, 1),
        )
        for weight in self.parameters():
            if weight.ndim == 1:
                nn.init.zeros_(weight)
                continue
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
            # This layout takes half the time of a step on a CPU.
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, noisy_db: Tensor) -> Tensor:
        """Pictures of noisy sound to pictures of its noise, both of shape (B, 1, 128, 128)."""
        x, skips = noisy_db, []
        for level, down in enumerate(self.down):
            x = down(functional.max_pool2d(x, 2) if level else x)
            if level >= len(self.down) - DROPPED_LEVELS:
                x = self.dropout(x)
            skips.append(x)
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = up(x, skip)
        return torch.tanh(self.head(x))
