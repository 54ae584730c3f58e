"""Networks that look ahead, for recordings.

Their graphs have a recurrence backward in time.  A sound goes through in blocks, each with some
future behind it, so that memory stays constant; the state that the next block begins with is that
before the future, which comes again in the next block.  The blocks lie at fixed places of the
sound, so that what comes out does not depend on how it is fed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sordino.inference import (
    Array,
    Estimate,
    Graph,
    MaskNetwork,
    State,
    UnbatchedStream,
    pairs,
)
from sordino.stft import Spectra


class LookaheadNetwork(MaskNetwork):
    """A `MaskNetwork` whose graph takes one more input, `keep`: frames that are not the future.

    Args:
        graph, states, voice_size: see `MaskNetwork`.
        block: frames of a block.
        ahead: frames of future behind it.
    """

    inputs = MaskNetwork.inputs | {"keep"}

    def __init__(
        self,
        graph: Graph,
        states: Mapping[str, tuple[int, ...]],
        voice_size: int,
        block: int,
        ahead: int,
    ) -> None:
        super().__init__(graph, states, voice_size)
        self.block, self.ahead = block, ahead

    def open(self, channels: int, strength: float) -> "LookaheadStream":
        """Return a new stream."""
        return LookaheadStream(self, channels, strength)

    def _run(self, spectrum: Array, voice: Array, state: State, keep: int) -> Estimate:
        frames = spectrum.shape[1]
        if not keep:  # nothing but future
            mask, speech = np.zeros_like(spectrum), np.zeros(spectrum.shape[:2], np.float32)
            return Estimate(mask, speech, None, state)
        if keep == frames:  # the graph wants a future: a frame of silence
            spectrum = np.pad(spectrum, ((0, 0), (0, 1), (0, 0), (0, 0)))
        feeds: dict[str, Any] = {"spectrum": spectrum, "voice": voice, "keep": np.array(keep)}
        step = self._answer(self.graph.session, feeds, state)
        return step._replace(mask=step.mask[:, :frames], speech=step.speech[:, :frames])


class LookaheadStream(UnbatchedStream):
    """One stream through a `LookaheadNetwork`; see `sordino.inference.NoiseStream`.

    Args:
        network: shared by all streams.
        channels: of the sound; each has its own state.
        strength: share of the noise that is removed, 0..1; settable while running.
    """

    def __init__(self, network: LookaheadNetwork, channels: int, strength: float) -> None:
        self.strength = strength
        self.speech_probability: float | None = 0.0
        self.delay_frames = network.block + network.ahead - 1
        self._network = network
        self._voice = np.zeros((channels, network.voice_size), np.float32)
        self._states = [network.initial_state(1) for _ in range(channels)]
        self._frames: list[Spectra] = []  # that wait for their future
        self._count = 0

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return the noise of the blocks whose future is there.

        Shape: (channels, frames, bins), in and out.
        """
        self._frames.append(spectra)
        self._count += spectra.shape[1]
        block, wanted = self._network.block, self._network.block + self._network.ahead
        finished = [spectra[:, :0]]
        while self._count >= wanted:
            frames = np.concatenate(self._frames, axis=1)
            finished.append(self._noise(frames[:, :wanted], block))
            self._frames = [frames[:, block:]]
            self._count -= block
        return np.concatenate(finished, axis=1)

    def flush(self) -> Spectra:
        """Return the noise of the frames still inside: no future is left.

        Shape: (channels, frames, bins).
        """
        if not self._count:
            return np.zeros((len(self._voice), 0, 0), np.complex64)
        frames = np.concatenate(self._frames, axis=1)
        self._frames, self._count = [], 0
        return self._noise(frames, frames.shape[1])

    def _noise(self, frames: Spectra, keep: int) -> Spectra:
        """Return the noise of the first `keep` frames; those behind them are their future."""
        frames = np.ascontiguousarray(frames)
        masks: list[Array] = []
        speech: list[float] = []
        for channel, state in enumerate(self._states):  # one by one: a block takes 200 MB at 48 kHz
            rows = slice(channel, channel + 1)
            step = self._network.run(pairs(frames[rows]), self._voice[rows], state, keep)
            self._states[channel] = step.state
            masks.append(step.mask[:, :keep])
            speech.append(float(step.speech[0, keep - 1]))
        self.speech_probability = max(speech)
        noise: Spectra = np.concatenate(masks).view(np.complex64)[..., 0]
        return noise * frames[:, :keep] * np.float32(self.strength)
