"""EstoiLoss, as ESTOI measures it: a term for training.

How well the course of each frequency band over 0.4 s follows that of the clean speech, with all
bands taken together.  Levels and colours do not count, only what moves as speech moves.

Source: Jensen and Taal, "An algorithm for predicting the intelligibility of speech masked by
modulated noise maskers", 2016; as a loss, Fu et al., 2018, for its predecessor STOI.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import numpy as np
import torch
from torch import Tensor, nn

RATE = 16000
SIZE = 410  # samples of a frame, 25.6 ms, half overlapping
FFT = 512
BANDS = 15  # thirds of an octave
LOWEST = 150.0  # Hz, centre of the first band
SEGMENT = 30  # frames whose course is compared
STEP = 5  # frames from one segment to the next
RANGE_DB = 40.0  # frames this far under the loudest are left out


class EstoiLoss(nn.Module):
    """What a sound lacks to the intelligibility of the clean one: 1 minus ESTOI."""

    merge: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        hz = np.fft.rfftfreq(FFT, 1 / RATE)
        centres = LOWEST * 2 ** (np.arange(BANDS) / 3)
        low, high = centres * 2 ** (-1 / 6), centres * 2 ** (1 / 6)
        merge = (hz[:, None] >= low) & (hz[:, None] < high)
        window = np.hanning(SIZE + 2)[1:-1]
        self.register_buffer("merge", torch.from_numpy(merge.astype(np.float32)), False)
        self.register_buffer("window", torch.from_numpy(window.astype(np.float32)), False)

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Lack of every example.

        Args:
            estimate: at 16 kHz, shape = (B, N).
            clean: what it should be, same shape, with speech in every example.

        Returns:
            Shape = (B,); 0 where less than 0.4 s is spoken.
        """
        wanted, heard = (x.unfold(-1, SIZE, SIZE // 2) * self.window for x in (clean, estimate))
        if wanted.shape[1] < SEGMENT:
            return estimate.new_zeros(len(estimate))
        energy = wanted.square().sum(-1)
        spoken = energy > energy.amax(-1, keepdim=True) * 10 ** (-RANGE_DB / 10)
        # What is spoken moves to the front, in its order; the rest is not looked at.
        order = torch.argsort(~spoken, dim=-1, stable=True)
        segments = [self._segments(x, order) for x in (wanted, heard)]
        likeness = (segments[0] * segments[1]).sum((-1, -2)) / SEGMENT
        first = torch.arange(likeness.shape[1], device=clean.device) * STEP
        whole = (first + SEGMENT <= spoken.sum(-1, keepdim=True)).to(likeness.dtype)
        return ((1 - likeness) * whole).sum(-1) / whole.sum(-1).clamp_min(1)

    def _segments(self, frames: Tensor, order: Tensor) -> Tensor:
        """Courses of the bands, centred and of unit length over time, then over bands.

        Returns:
            Shape = (B, segments, BANDS, SEGMENT).
        """
        spectrum = torch.fft.rfft(frames, FFT)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self.merge
        bands = (power + 1e-9).sqrt().gather(1, order[..., None].expand(-1, -1, BANDS))
        return _normal(_normal(bands.unfold(1, SEGMENT, STEP), -1), -2)


def _normal(x: Tensor, axis: int) -> Tensor:
    x = x - x.mean(axis, keepdim=True)
    return x * (x.square().sum(axis, keepdim=True) + 1e-12).rsqrt()
