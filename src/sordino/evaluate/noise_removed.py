"""Share of the noise energy that a model removes, measured on the noise alone.

Noise reduction is measured in pauses only, and every figure of the output mixes residual noise
with distortion of the speech.  Where the noise is known, the mask that the model estimates on the
noisy signal is applied to the noise alone ("shadow filtering").

Source: Gustafsson, Martin, Vary, "On the optimization of speech enhancement systems using
instrumental measures", Proc. Workshop on Quality Assessment in Speech, Audio and Image
Communication, 1996.
"""

import numpy as np

from sordino.arrays import Mono
from sordino.evaluate.metrics import resample
from sordino.model import Model
from sordino.stft import StreamingAnalysis, StreamingSynthesis, native_rate


def shadow(model: Model, lead: Mono, follow: Mono, rate: int, strength: float = 1.0) -> Mono:
    """Apply the mask that the model estimates on `lead` to `follow`.

    Args:
        model: A U-Net or the proof of concept.
        lead: The noisy signal, mono, at the model's native rate.
        follow: A signal of the same length, for instance the noise.
        rate: The native rate, Hz.
        strength: Share of the noise to remove, as of the Denoiser.
    """
    config, network = model.stft(rate), model.open(1, strength)
    frames = len(lead) + len(config.synthesis)
    both = np.zeros((2, frames), np.float32)
    both[:, : len(lead)] = lead, follow
    first, second = StreamingAnalysis(config, 2)(both)[:, None]
    parts = [network.process(first), network.flush()]
    noise = np.concatenate([part for part in parts if part.shape[1]], axis=1)
    # Where the first signal is exactly zero, its gain is undefined.
    gain = np.divide(noise, first, out=np.zeros_like(first), where=first != 0)
    left = StreamingSynthesis(config, 1)(second - gain * second)[0]
    start = len(config.synthesis) - config.hop
    return left[start : start + len(lead)]


def noise_removed(
    model: Model, noisy: Mono, noise: Mono, sample_rate: int, strength: float = 1.0
) -> float:
    """Share of the noise energy that the model removes, 0 (nothing) to 1 (all of it).

    It is measured at the model's native rate: frequencies above its band do not count.
    A real mask of m everywhere removes 1 - (1 - m)^2.

    Args:
        model: A U-Net or the proof of concept.
        noisy: The input, mono.
        noise: The noise in it, that is, input less clean speech.
        sample_rate: Sample rate of both, Hz.
        strength: Share of the noise to remove, as of the Denoiser.

    Returns:
        nan if there is no noise.
    """
    rate = native_rate(sample_rate, model.info.native_rates)
    lead, known = (resample(x, sample_rate, rate) for x in (noisy, noise))
    energy = float(np.sum(known.astype(np.float64) ** 2))
    if not energy:
        return float("nan")
    left = shadow(model, lead, known, rate, strength).astype(np.float64)
    return 1 - float(np.sum(left**2)) / energy
