"""The audible disturbance of PESQ as a perceptual loss.

The perceptual model of PESQ without its alignment in time, on spectra only: Bark bands,
loudness, and what of the difference of loudness is heard.  Noise that was added or left
counts more than speech that is missing (the asymmetric part).  Bands and hearing
threshold come from formulas near the standard's tables, so the figure is near PESQ's and
not equal to it.

Sources: ITU-T Recommendations P.862 (2001) and P.862.2 (2007); as a loss, Martín-Doñas et
al., "A deep learning loss function based on the perceptual evaluation of the speech
quality", 2018; the Bark scale of Zwicker and Terhardt (1980).
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RATE = 16000
SIZE = 512  # samples of a frame, half overlapping
BANDS = 49
LEVEL = 1e7  # power from 350 to 3250 Hz that both sounds are brought to, 79 dB SPL
POWER = 6.91e-6 * 100  # calibration of a squared magnitude, at 100 Hz per Bark
LOUDNESS = 0.1866  # calibration of loudness in sone
# Hz and dB SPL of the hearing threshold, as P.862 has it.
THRESHOLD_HZ = (8, 32, 64, 96, 130, 200, 300, 500, 700, 1000, 2000, 4000, 8000)
THRESHOLD_DB = (77.0, 64.0, 48.5, 37.0, 30.7, 19.7, 9.9, -0.7, -4.0, -6.0, -3.6, -3.0, -2.7)
SPLIT = 20  # frames that are heard as one, half overlapping
LOUDEST = 45.0  # a disturbance of one frame is no greater


def _bark(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 13 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500) ** 2)


class PesqLoss(nn.Module):
    """Distance of two sounds: 4.5 minus the raw score of PESQ, 0 for equal sounds."""

    merge: Tensor
    hz: Tensor
    width: Tensor
    threshold: Tensor
    exponent: Tensor
    window: Tensor
    emphasis: Tensor
    level_bins: Tensor

    def __init__(self) -> None:
        super().__init__()
        hz = np.fft.rfftfreq(SIZE, 1 / RATE)
        fine = np.arange(0, RATE / 2, 0.5)
        widths = 1.013 ** np.arange(BANDS)
        edges = np.cumsum([0, *widths]) * (_bark(fine)[-1] / widths.sum())
        limits = np.interp(edges, _bark(fine), fine)
        # The share of every bin that lies in a band; the lowest bands are one bin wide.
        step = hz[1]
        low, high = hz - step / 2, hz + step / 2
        share = np.minimum(high, limits[1:, None]) - np.maximum(low, limits[:-1, None])
        share = np.clip(share, 0, None) / step
        share[:, 0] = 0
        width, width_hz = np.diff(edges), np.diff(limits)
        density = share / share.sum(1, keepdims=True) * (width_hz / width / 100)[:, None]
        centres = (limits[1:] + limits[:-1]) / 2
        threshold = np.interp(np.log(centres), np.log(THRESHOLD_HZ), THRESHOLD_DB)
        z = 1j * 2 * np.pi * hz / RATE
        # The high-pass of P.862.2, under 100 Hz.
        numerator = 2.7408 * (1 - np.exp(-z)) ** 2
        response = numerator / (1 - 1.9445 * np.exp(-z) + 0.94598 * np.exp(-2 * z))
        buffers = {
            "merge": density.T * POWER,
            "hz": centres,
            "width": width,
            "threshold": 10 ** (threshold / 10),
            "exponent": 0.23 * np.clip(6 / (_bark(centres) + 2), 1, 2) ** 0.15,
            "window": np.hanning(SIZE + 1)[:-1],
            "emphasis": np.abs(response) ** 2,
            "level_bins": ((hz > 350) & (hz < 3250)) / (SIZE * 0.375 * SIZE / 2),
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)), False)

    def forward(self, estimate: Tensor, clean: Tensor, bandwidth: Tensor) -> Tensor:
        """PesqLoss of every example.

        Args:
            estimate: at 16 kHz, shape = (B, N).
            clean: what it should be, same shape, with speech in every example.
            bandwidth: Hz above which the clean sound is unknown, shape = (B,).

        Returns:
            Shape = (B,).
        """
        known = (self.hz < bandwidth[:, None]).to(clean.dtype)[:, None]
        heard, wanted = self._bands(estimate) * known, self._bands(clean) * known
        loud = self._audible(wanted, 100.0) >= 1e7
        # A constant colour is forgiven, and so are slow changes of level.
        mean_heard, mean_wanted = (
            (x * (x > 100 * self.threshold) * loud[..., None]).mean(1, keepdim=True)
            for x in (heard, wanted)
        )
        wanted = wanted * ((mean_heard + 1e3) / (mean_wanted + 1e3)).clamp(0.01, 100)
        energy = self._audible(wanted, 1.0)
        gain = (energy + 5e3) / (self._audible(heard, 1.0) + 5e3)
        gain = torch.cat([gain[:, :1], 0.8 * gain[:, 1:] + 0.2 * gain[:, :-1]], 1)
        heard = heard * gain.clamp(3e-4, 5)[..., None]
        loudness, target = self._loudness(heard), self._loudness(wanted)
        gap = loudness - target
        masked = 0.25 * torch.minimum(loudness, target)
        gap = (gap.abs() - masked).clamp_min(0)
        added = ((heard + 50) / (wanted + 50)) ** 1.2
        added = torch.where(added < 3, 0, added.clamp_max(12))
        total = self.width.sum()
        symmetric = (total * (self.width * gap).square().sum(-1) + 1e-12).sqrt()
        asymmetric = (self.width * gap * added).sum(-1)
        scale = ((energy + 1e5) / 1e7) ** 0.04
        parts = [(x / scale).clamp_max(LOUDEST) for x in (symmetric, asymmetric)]
        d, da = (_over_time(x) for x in parts)
        return 0.1 * d + 0.0309 * da

    def _bands(self, x: Tensor) -> Tensor:
        """Power per Bark at a common level, shape = (B, frames, BANDS)."""
        spectrum = torch.fft.rfft(x.unfold(-1, SIZE, SIZE // 2) * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        level = (power.mean(1) * self.level_bins).sum(-1)
        power = power * (LEVEL / level.clamp_min(1e-12))[:, None, None]
        return (power * self.emphasis) @ self.merge

    def _audible(self, power: Tensor, factor: float) -> Tensor:
        """Power of the bands that are `factor` above the threshold, shape = (B, frames)."""
        return (power * (power > factor * self.threshold)).sum(-1)

    def _loudness(self, power: Tensor) -> Tensor:
        """In sone per Bark."""
        ratio = (power / self.threshold).clamp_min(1)
        loudness = (0.5 + 0.5 * ratio) ** self.exponent - 1
        return LOUDNESS * (2 * self.threshold) ** self.exponent * loudness


def _over_time(x: Tensor) -> Tensor:
    """Mean over time that the worst moments rule, (B, frames) to (B,)."""
    split = x.unfold(-1, SPLIT, SPLIT // 2)
    return split.pow(6).mean(-1).clamp_min(1e-12).pow(1 / 3).mean(-1).sqrt()
