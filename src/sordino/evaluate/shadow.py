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
from sordino.masks import MaskFilter
from sordino.model import SLICE_MAGNITUDE, Model
from sordino.slices import SliceFilter, spectrum_config
from sordino.stft import Spectra, SpectrumConfig, SpectrumFilter, SpectrumStream, native_rate


class ShadowFilter:
    """Does to a second channel, bin by bin, what a filter does to the first.

    Args:
        leader: The filter of the first channel; it may hold frames back.
    """

    def __init__(self, leader: SpectrumFilter) -> None:
        self.delay_frames = leader.delay_frames
        self._leader = leader
        self._waiting: Spectra | None = None  # frames that the leader has not returned yet

    def process(self, spectra: Spectra) -> Spectra:
        """Take both channels, shape = (2, frames, bins), and return the finished frames."""
        waiting = spectra
        if self._waiting is not None:
            waiting = np.concatenate([self._waiting, spectra], axis=1)
        self._waiting = waiting
        return self._follow(self._leader.process(spectra[:1]))

    def flush(self) -> Spectra:
        """Return the frames that are still inside."""
        return self._follow(self._leader.flush())

    def _follow(self, done: Spectra) -> Spectra:
        count = done.shape[1]
        if self._waiting is None or not count:
            return np.zeros((2, 0, 0), np.complex64)
        first, second = self._waiting[:1, :count], self._waiting[1:, :count]
        self._waiting = self._waiting[:, count:]
        # Where the first channel is exactly zero there is nothing to read the gain from.
        gain = np.divide(done, first, out=np.ones_like(first), where=first != 0)
        return np.concatenate([done, gain * second])


def shadow(model: Model, lead: Signal, follow: Signal, rate: int, strength: float = 1.0) -> Signal:
    """Return `follow` as the mask that the model finds on `lead` leaves it.

    Args:
        model: Of either kind.
        lead: The noisy signal, mono, at the model's native rate.
        follow: A signal of the same length.
        rate: The native rate, Hz.
        strength: As of the Denoiser.
    """
    if model.info.kind == SLICE_MAGNITUDE:
        config, leader = spectrum_config(), SliceFilter(model, 1, strength)
    else:
        config, leader = SpectrumConfig.at(rate), MaskFilter(model, 1, strength)
    stream = SpectrumStream(config, 2, ShadowFilter(leader))
    both = np.stack([lead, follow]).astype(np.float32)
    return np.concatenate([stream.process(both), stream.flush()], axis=1)[1]


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
