"""The engine's own inference: a complex mask of the noise, frame by frame."""

from collections.abc import Sequence

import numpy as np

from sordino.livestep import LiveStep
from sordino.model import Array, Model, State
from sordino.stft import Spectra


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
        self._live: LiveStep | None = None

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return them without the noise."""
        channels, frames, bins = spectra.shape
        if not frames:
            return spectra
        state = self._state
        if frames == 1:
            self._live = self._live or self._model.live_step(channels, bins)
            state = self._live.state(state)
        return self._subtracted(spectra, *self._model.run(_pairs(spectra), self._voice, state))

    def flush(self) -> Spectra:
        """Return nothing: no frame waits here."""
        channels = len(self._voice)
        return np.zeros((channels, 0, 0), np.complex64)

    def _subtracted(self, spectra: Spectra, mask: Array, speech: Array, state: State) -> Spectra:
        self._state = state
        self.speech_probability = max(speech[:, -1].tolist())
        noise: Spectra = mask.view(np.complex64)[..., 0] * spectra
        noise *= self.strength
        return np.subtract(spectra, noise, out=noise)


class HeldMaskFilter(MaskFilter):
    """A `MaskFilter` that holds its frames until `run` has taken them through the network.

    `process` takes frames and returns those that are finished, so that a stream is fed once with
    a block and once more, after the network, with an empty one.  Many streams can so share one
    run of the network; what comes out is what a `MaskFilter` gives.
    """

    def __init__(self, model: Model, channels: int, strength: float) -> None:
        super().__init__(model, channels, strength)
        self._held: Spectra | None = None
        self._finished: Spectra | None = None

    def process(self, spectra: Spectra) -> Spectra:
        """Hold frames, and return those that are finished."""
        if spectra.shape[1]:
            held = self._held
            self._held = spectra if held is None else np.concatenate([held, spectra], axis=1)
        finished, self._finished = self._finished, None
        return spectra[:, :0] if finished is None else finished

    def flush(self) -> Spectra:
        """Return the frames that are still held."""
        self.run([self])
        finished, self._finished = self._finished, None
        return super().flush() if finished is None else finished

    @staticmethod
    def run(filters: "Sequence[HeldMaskFilter]") -> None:
        """Run the network on all frames that some filters hold.

        Filters of the same model that hold as many frames of as many bins share one run: their
        channels are its batch.
        """
        groups: dict[tuple[Model, tuple[int, ...]], list[tuple[HeldMaskFilter, Spectra]]] = {}
        for each in filters:
            if each._held is not None:
                key = (each._model, each._held.shape[1:])
                groups.setdefault(key, []).append((each, each._held))
        for (model, _), group in groups.items():
            spectra = np.concatenate([held for _, held in group])
            voice = np.concatenate([each._voice for each, _ in group])
            state = {
                name: np.concatenate([each._state[name] for each, _ in group])
                for name in model.info.states
            }
            mask, speech, state = model.run(_pairs(spectra), voice, state)
            start = 0
            for each, held in group:
                rows = slice(start, start + len(held))
                start = rows.stop
                own = {name: values[rows] for name, values in state.items()}
                each._finished = each._subtracted(held, mask[rows], speech[rows], own)
                each._held = None


def _pairs(spectra: Spectra) -> Array:
    return spectra.view(np.float32).reshape(*spectra.shape, 2)
