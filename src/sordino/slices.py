"""The proof of concept's inference: spectrograms as pictures, one second at a time.

Magnitude spectrograms at 8 kHz are cut into pictures of 128 bins x 128 frames.  A U-Net
looks at one and tells, pixel by pixel, how many dB of it are noise.  What remains keeps the
phase of the noisy sound.  The scaling is that of Vincent Belz, "Speech-enhancement", 2019
(github.com/vbelz/Speech-enhancement).  Here the spectrogram runs on through the whole sound
and neighbouring pictures overlap and are cross-faded, so that nothing clicks where they meet.

A picture must be complete before it can be looked at: the latency is over one second.
"""

import numpy as np

from sordino.inference import Array, Graph, UnbatchedStream
from sordino.stft import Spectra, SpectrumConfig

RATE = 8000  # Hz
WINDOW = 255  # samples, also the FFT size
HOP = 63  # samples
BINS = 128
FRAMES = 128  # in a picture: 8064 samples
OVERLAP = 32  # frames that two neighbouring pictures share

DYNAMIC_RANGE_DB = 80.0  # below the loudest pixel of its picture, a pixel is floor
NOISY_OFFSET_DB, NOISY_SCALE_DB = -46.0, 50.0
NOISE_OFFSET_DB, NOISE_SCALE_DB = 6.0, 82.0
_SILENCE = 1e-6  # magnitude


def spectrum_config() -> SpectrumConfig:
    """Return the analysis and synthesis of the pictures: a Hann window on both sides.

    The analysis window sums to 1; the synthesis window makes the overlap-add exact.
    """
    window = np.hanning(WINDOW + 2)[1:-1]
    padded = np.pad(window**2, (0, -WINDOW % HOP)).reshape(-1, HOP)
    overlap_add = np.resize(padded.sum(axis=0), WINDOW)
    synthesis = window / overlap_add * window.sum()
    return SpectrumConfig(
        HOP, (window / window.sum()).astype(np.float32), synthesis.astype(np.float32)
    )


def to_image(magnitude: Array) -> Array:
    """Return pictures of noisy magnitudes: dB below the loudest pixel, scaled to about +-1.

    Args:
        magnitude: shape = (..., bins, frames), one picture at a time.
    """
    loudest = magnitude.max(axis=(-2, -1), keepdims=True)
    relative = magnitude / np.maximum(loudest, _SILENCE)
    decibels = 20 * np.log10(np.maximum(relative, 10 ** (-DYNAMIC_RANGE_DB / 20)))
    return ((decibels - NOISY_OFFSET_DB) / NOISY_SCALE_DB).astype(np.float32)


def noise_to_image(noisy: Array, speech: Array) -> Array:
    """Return the picture a network should give: the dB by which noise raises the speech.

    Args:
        noisy, speech: magnitudes, shape = (..., bins, frames).
    """
    ratio = np.maximum(noisy, _SILENCE) / np.maximum(speech, _SILENCE)
    decibels = np.clip(20 * np.log10(ratio), 0, DYNAMIC_RANGE_DB)
    return ((decibels - NOISE_OFFSET_DB) / NOISE_SCALE_DB).astype(np.float32)


def from_image(image: Array) -> Array:
    """Return the share of each noisy magnitude that is noise, 0..1; undoes `noise_to_image`.

    The noise magnitude is this share times the noisy one, and the speech is the rest.

    Shape: any; the same comes out.
    """
    decibels = np.maximum(image * NOISE_SCALE_DB + NOISE_OFFSET_DB, 0)
    return (1 - 10 ** (-decibels / 20)).astype(np.float32)


class SliceNetwork:
    """A network that sees the noise in pictures of one second.

    Args:
        graph: with the input noisy_db and the output noise_db.
    """

    inputs, outputs = frozenset({"noisy_db"}), frozenset({"noise_db"})

    def __init__(self, graph: Graph) -> None:
        self._session = graph.session

    def stft(self, rate: int) -> SpectrumConfig:  # noqa: ARG002
        """Return how sound is cut into spectra; there is but one rate."""
        return spectrum_config()

    def open(self, channels: int, strength: float) -> "SliceStream":
        """Return a new stream."""
        return SliceStream(self, channels, strength)

    def noise(self, noisy_db: Array) -> Array:
        """Return pictures of noise, shape = (batch, 1, BINS, FRAMES) as that of `noisy_db`."""
        return self._session.run(["noise_db"], {"noisy_db": noisy_db})[0]


class SliceStream(UnbatchedStream):
    """One stream through a "slice-magnitude" network; see `sordino.inference.NoiseStream`.

    Args:
        network: shared by all streams.
        channels: of the sound.
        strength: share of the noise that is removed, 0..1; settable while running.
    """

    speech_probability: float | None = None
    """These networks do not estimate it."""

    def __init__(self, network: SliceNetwork, channels: int, strength: float) -> None:
        self.strength = strength
        self.delay_frames = FRAMES - 1
        self._network = network
        self._frames = np.zeros((channels, 0, BINS), np.complex64)
        self._fading = np.zeros((channels, OVERLAP, BINS), np.float32)
        self._first = True

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return the noise of those that no later picture will change.

        Shape: (channels, frames, bins), in and out.
        """
        self._frames = np.concatenate([self._frames, spectra], axis=1)
        finished = [self._frames[:, :0]]
        while self._frames.shape[1] >= FRAMES:
            finished.append(self._next_slice())
        return np.concatenate(finished, axis=1)

    def flush(self) -> Spectra:
        """Return the noise of the frames still inside; silence fills up the last pictures."""
        due = self._frames.shape[1]
        return self.process(np.zeros((len(self._frames), 2 * FRAMES, BINS), np.complex64))[:, :due]

    def _next_slice(self) -> Spectra:
        """Return the noise of the oldest frames, up to where the next picture begins."""
        step = FRAMES - OVERLAP
        picture = to_image(np.abs(self._frames[:, :FRAMES]).transpose(0, 2, 1))
        share = from_image(self._network.noise(picture[:, None])[:, 0]).transpose(0, 2, 1)
        if not self._first:
            ramp = (np.arange(OVERLAP, dtype=np.float32)[:, None] + 0.5) / OVERLAP
            share[:, :OVERLAP] += (1 - ramp) * (self._fading - share[:, :OVERLAP])
        self._first = False
        self._fading = share[:, step:].copy()
        noise: Spectra = self._frames[:, :step] * (self.strength * share[:, :step])
        self._frames = self._frames[:, step:].copy()
        return noise
