"""Share of the noise energy that a model removes, measured on the noise alone.

Noise reduction is measured in pauses only, and every figure of the output mixes residual noise
with distortion of the speech.  Where the noise is known, the mask that the model estimates on the
noisy signal is applied to the noise alone ("shadow filtering").

Source: Gustafsson, Martin, Vary, "On the optimization of speech enhancement
systems using instrumental measures", Proc. Workshop on Quality Assessment in Speech, Audio
and Image Communication, 1996.
"""

import numpy as np

from sordino.arrays import Mono
from sordino.evaluate.metrics import resample
from sordino.masks import MaskFilter
from sordino.model import SLICE_MAGNITUDE, Model
from sordino.slices import SliceFilter, spectrum_config
from sordino.stft import Spectra, SpectrumConfig, SpectrumFilter, SpectrumStream, native_rate


class ShadowFilter:
    """Applies to a second channel, bin by bin, the gain that a filter has on the first.

    Args:
        leader: The filter of the first channel; it may delay frames.
    """

    def __init__(self, leader: SpectrumFilter) -> None:
        self.delay_frames = leader.delay_frames
        self._leader = leader
        self._waiting: Spectra | None = None  # frames that the leader still delays

    def process(self, spectra: Spectra) -> Spectra:
        """Filter both channels, shape = (2, frames, bins); return the finished frames."""
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
        # Where the first channel is exactly zero, its gain is undefined.
        gain = np.divide(done, first, out=np.ones_like(first), where=first != 0)
        return np.concatenate([done, gain * second])


def shadow(model: Model, lead: Mono, follow: Mono, rate: int, strength: float = 1.0) -> Mono:
    """Apply the mask that the model estimates on `lead` to `follow`.

    Args:
        model: A U-Net or the proof of concept.
        lead: The noisy signal, mono, at the model's native rate.
        follow: A signal of the same length, for instance the noise.
        rate: The native rate, Hz.
        strength: Share of the noise to remove, as of the Denoiser.
    """
    if model.info.kind == SLICE_MAGNITUDE:
        config, leader = spectrum_config(), SliceFilter(model, 1, strength)
    else:
        config, leader = SpectrumConfig.at(rate), MaskFilter(model, 1, strength)
    stream = SpectrumStream(config, 2, ShadowFilter(leader))
    both = np.stack([lead, follow]).astype(np.float32)
    return np.concatenate([stream.process(both), stream.flush()], axis=1)[1]


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
