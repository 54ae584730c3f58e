"""Distance between spectral envelopes, as linear prediction sees them: a term for training.

How much worse the estimate's envelope predicts the clean speech than its own does.  A level does
not count, only the colour of each moment: faint parts of a vowel or a fricative, which a ratio of
energies hardly notices, count as much as loud ones.

Source: the log-likelihood ratio (Itakura, "Minimum prediction residual principle applied to speech
recognition", 1975), as the composite measures use it (Hu and Loizou, "Evaluation of objective
quality measures for speech enhancement", 2008).
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import torch
from torch import Tensor, nn

RATE = 16000
SIZE = 480  # samples of a frame, 30 ms, half overlapping
ORDER = 16  # of the prediction
FLOOR = 1e-5  # white noise under every frame, of its power: what is 50 dB down hardly counts
SILENCE = 1e-9  # the same, of full scale
RANGE_DB = 32.0  # frames this far under the loudest are left out


class LlrLoss(nn.Module):
    """Log-likelihood ratio of the envelopes of an estimate and of the clean speech."""

    window: Tensor
    hz: Tensor
    lags: Tensor

    def __init__(self) -> None:
        super().__init__()
        lag = torch.arange(ORDER + 1)
        self.register_buffer("window", torch.hann_window(SIZE), persistent=False)
        self.register_buffer("hz", torch.linspace(0, RATE / 2, SIZE + 1), persistent=False)
        self.register_buffer("lags", (lag[:, None] - lag).abs(), persistent=False)

    def forward(self, estimate: Tensor, clean: Tensor, bandwidth: Tensor) -> Tensor:
        """Distance of every example.

        Args:
            estimate: at 16 kHz, shape = (B, N), N >= SIZE.
            clean: what it should be, same shape, with speech in every example.
            bandwidth: Hz above which it is unknown, shape = (B,); what is there does not count.

        Returns:
            Mean over the frames with speech, shape = (B,); 0 for equal envelopes.
        """
        wanted, heard = (self._power(x) for x in (clean, estimate))
        heard = torch.where(self.hz < bandwidth[:, None, None], heard, wanted)
        wanted, heard = (self._correlation(x) for x in (wanted, heard))
        energy = wanted[..., 0, 0]
        spoken = (energy > energy.amax(-1, keepdim=True) * 10 ** (-RANGE_DB / 10)).to(energy.dtype)
        own, other = (_residual(_predictor(x), wanted) for x in (wanted, heard))
        return ((other / own).log() * spoken).sum(-1) / spoken.sum(-1).clamp_min(1)

    def _power(self, x: Tensor) -> Tensor:
        """Power spectrum of every frame T, shape = (B, T, SIZE + 1)."""
        spectrum = torch.fft.rfft(x.unfold(-1, SIZE, SIZE // 2) * self.window, 2 * SIZE)
        return spectrum.real.square() + spectrum.imag.square()

    def _correlation(self, power: Tensor) -> Tensor:
        """Of the samples of every frame, shape = (B, T, ORDER + 1, ORDER + 1)."""
        white = FLOOR * power.mean(-1, keepdim=True) + SILENCE
        return torch.fft.irfft(power + white)[..., self.lags]


def _predictor(correlation: Tensor) -> Tensor:
    """Prediction-error filter of every frame, shape = (B, T, ORDER + 1)."""
    normal = correlation / correlation[..., :1, :1]
    taps = torch.linalg.solve(normal[..., 1:, 1:], normal[..., 1:, 0])
    return torch.cat([torch.ones_like(taps[..., :1]), -taps], -1)


def _residual(predictor: Tensor, correlation: Tensor) -> Tensor:
    """Energy that a filter leaves of frames with that correlation, shape = (B, T)."""
    return torch.einsum("bti,btij,btj->bt", predictor, correlation, predictor)
