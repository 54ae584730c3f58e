"""The engine's own inference: a complex mask of the noise, frame by frame."""

import numpy as np

from sordino.model import Model
from sordino.spectrum import Spectra


class MaskFilter:
    """Subtracts the noise that a "noise-mask" network finds: S = X - strength * M * X.

    Args:
        model: the network.
        channels: channels of every block; each has its own state.
        strength: share of the noise that is taken away, 0..1; settable while running.
    """

    delay_frames = 0

    def __init__(self, model: Model, channels: int, strength: float) -> None:
        self.strength = strength
        self.speech_probability: float | None = 0.0
        self._model = model
        self._voice = np.zeros((channels, model.info.voice_size), np.float32)
        self._state = model.initial_state(channels)

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return them without the noise."""
        if not spectra.shape[1]:
            return spectra
        pairs = spectra.view(np.float32).reshape(*spectra.shape, 2)
        mask, speech, self._state = self._model.run(pairs, self._voice, self._state)
        self.speech_probability = float(speech[:, -1].max())
        noise: Spectra = mask.view(np.complex64)[..., 0] * spectra
        noise *= self.strength
        return spectra - noise

    def flush(self) -> Spectra:
        """Return nothing: no frame waits here."""
        channels = len(self._voice)
        return np.zeros((channels, 0, 0), np.complex64)
