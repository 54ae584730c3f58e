"""The original proof of concept: its network, its pictures and its loss.

The network is a U-Net that looks at one second of sound as a picture: it maps pictures of noisy
magnitudes to pictures of how many dB of them are noise.  It is not causal and keeps no state.
What a pixel means is written once, in the run-time's own module, in NumPy; pictures need no
gradient and cost next to nothing beside the network, so training uses that code as it is.

Sources: U-Net (Ronneberger et al., 2015) in the size and with the loss of Vincent Belz,
"Speech-enhancement", 2019 (github.com/vbelz/Speech-enhancement); initialisation (He et al.,
"Delving deep into rectifiers", 2015).
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.slices import (
    BINS,
    FRAMES,
    NOISE_SCALE_DB,
    RATE,
    WINDOW,
    from_image,
    noise_to_image,
    spectrum_config,
    to_image,
)
from sordino.stft import Spectra, StreamingAnalysis, StreamingSynthesis

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
            that a higher limit removes more noise and suppresses more speech.
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


class Pictures(NamedTuple):
    """Waveforms as pictures; P pictures one after another from each of B waveforms.

    Attributes:
        noisy: what the network sees, shape = (B * P, 1, 128 bins, 128 frames).
        noise: what it should give, same shape.
        spectra: of the noisy sound, shape = (B, P * 128 frames, 128 bins).
    """

    noisy: Tensor
    noise: Tensor
    spectra: Spectra


def draw_pictures(noisy: Tensor, clean: Tensor, limit_db: float) -> Pictures:
    """Cut waveforms at 8 kHz into whole pictures from their first sample on.

    Args:
        noisy, clean: shape = (B, N); the samples after the last whole picture are left out.
        limit_db: the most dB of noise in a pixel that the network is asked for.
    """
    spectra, target = _spectra(noisy), _spectra(clean)
    magnitude, speech = _cut(np.abs(spectra)), _cut(np.abs(target))
    limited = np.maximum(speech, magnitude * 10 ** (-limit_db / 20))
    pictures = (to_image(magnitude), noise_to_image(magnitude, limited))
    seen, wanted = (torch.from_numpy(x[:, None]).to(noisy.device) for x in pictures)
    return Pictures(seen, wanted, spectra)


def picture_loss(
    estimate: Tensor, noise: Tensor, bandwidth: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Huber loss of pictures, over the bins whose target is known.

    Args:
        estimate: of the network, shape = (B * P, 1, 128, 128).
        noise: what it should be, same shape.
        bandwidth: Hz above which the target is unknown, shape = (B,).

    Returns:
        The loss, and as "error_db" the mean error of a pixel in dB.
    """
    hz = torch.arange(BINS, device=noise.device) * (RATE / WINDOW)
    known = (hz < bandwidth[:, None]).float()
    known = known / known.mean(1, keepdim=True)
    known = known.repeat_interleave(len(noise) // len(known), 0)[:, None, :, None]
    estimate = estimate.float()
    loss = (functional.huber_loss(estimate, noise, reduction="none") * known).mean()
    error = NOISE_SCALE_DB * ((estimate - noise).abs() * known).mean()
    return loss, {"error_db": error}


def without_noise(spectra: Spectra, noise: Tensor) -> Tensor:
    """Take the noise of pictures out of spectra and return the waveforms, on the CPU.

    Args:
        spectra: shape = (B, P * 128, 128).
        noise: pictures, shape = (B * P, 1, 128, 128).

    Returns:
        Shape = (B, M); M is less than P pictures' samples by what overlap-add still holds.
    """
    share = from_image(noise.float().cpu().numpy()[:, 0]).transpose(0, 2, 1)
    config = spectrum_config()
    synthesis = StreamingSynthesis(config, len(spectra))
    sound = synthesis(spectra * (1 - share.reshape(spectra.shape)))
    return torch.from_numpy(sound[:, len(config.synthesis) - config.hop :])


def _spectra(waveforms: Tensor) -> Spectra:
    samples = waveforms.cpu().numpy()
    spectra = StreamingAnalysis(spectrum_config(), len(samples))(samples)
    return spectra[:, : spectra.shape[1] // FRAMES * FRAMES]


def _cut(magnitudes: np.ndarray) -> np.ndarray:
    """(B, P * frames, bins) to (B * P, bins, frames)."""
    return magnitudes.reshape(-1, FRAMES, BINS).transpose(0, 2, 1)
