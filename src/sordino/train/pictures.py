"""Pictures for the proof of concept: training batches through the run-time's own formulas.

What a pixel means is written once, in `sordino.slices`, in NumPy.  The pictures need no
gradient and cost next to nothing beside the network, so training uses that code as it is.

The loss is that of Vincent Belz, "Speech-enhancement", 2019
(github.com/vbelz/Speech-enhancement).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
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
