"""The differentiable twin of `sordino.stft`: the same frames, in PyTorch.

It takes its windows from there, so that what is trained is what runs.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from sordino.stft import analysis_window, hop, synthesis_window


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
