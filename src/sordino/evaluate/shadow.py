"""The share of the noise that a model takes away, with nothing else in the measure.

Noise reduction is heard in the pauses only, and any figure of the output mixes what is left
of the noise with what was done to the speech.  Where the noise is known, the mask found on
the noisy signal can be applied to the noise alone, like a shadow that follows every step.

Source of the idea: Gustafsson, Martin, Vary, "On the optimization of speech enhancement
systems using instrumental measures", Proc. Workshop on Quality Assessment in Speech, Audio
and Image Communication, 1996.
"""

import numpy as np

from sordino.evaluate.metrics import Signal
from sordino.evaluate.resampling import resample
from sordino.model import Model
from sordino.stft import StreamingAnalysis, StreamingSynthesis, native_rate


def shadow(model: Model, lead: Signal, follow: Signal, rate: int, strength: float = 1.0) -> Signal:
    """Return `follow` as the mask that the model finds on `lead` leaves it.

    Args:
        model: Of either kind.
        lead: The noisy signal, mono, at the model's native rate.
        follow: A signal of the same length.
        rate: The native rate, Hz.
        strength: As of the Denoiser.
    """
    config, network = model.stft(rate), model.open(1, strength)
    frames = len(lead) + len(config.synthesis)
    both = np.zeros((2, frames), np.float32)
    both[:, : len(lead)] = lead, follow
    first, second = StreamingAnalysis(config, 2)(both)[:, None]
    parts = [network.process(first), network.flush()]
    noise = np.concatenate([part for part in parts if part.shape[1]], axis=1)
    # Where the first signal is exactly zero there is nothing to read the gain from.
    gain = np.divide(noise, first, out=np.zeros_like(first), where=first != 0)
    left = StreamingSynthesis(config, 1)(second - gain * second)[0]
    start = len(config.synthesis) - config.hop
    return left[start : start + len(lead)]


def noise_removed(
    model: Model, noisy: Signal, noise: Signal, sample_rate: int, strength: float = 1.0
) -> float:
    """Share of the noise's energy that the model takes away, 0 (nothing) to 1 (all of it).

    It is measured at the model's native rate: what that rate cannot carry does not count.
    A real mask of m everywhere takes 1 - (1 - m)^2.

    Args:
        model: Of either kind.
        noisy: The input, mono.
        noise: What was added to the clean signal to make it.
        sample_rate: Of both, Hz.
        strength: As of the Denoiser.

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
