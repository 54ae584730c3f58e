"""Frames of sound <-> spectra: windows, streaming analysis, overlap-add.

Every 10 ms the engine looks at the last 32 ms of sound and completes 10 ms of output.
The two windows differ.  Analysis is long and asymmetric, so that bins are 31.25 Hz apart
and the harmonics of low voices are resolved; synthesis covers the last 20 ms only, and
that is the latency.  The bins lie at the same frequencies at every native rate, so one set
of weights serves them all: a lower rate just has fewer bins.

The windows follow Mauler and Martin, "A low delay, variable resolution, perfect
reconstruction spectral analysis-synthesis system for speech enhancement", EUSIPCO 2007.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Planar

NATIVE_RATES = (8000, 16000, 24000, 48000)  # Hz
FRAMES_PER_SECOND = 100
HOP_SECONDS = 0.010
WINDOW_SECONDS = 0.032
BIN_HZ = 31.25

Spectra = NDArray[np.complex64]  # (channels, frames, bins)


def native_rate(rate: int, rates: tuple[int, ...] = NATIVE_RATES) -> int:
    """Return the rate in Hz at which sound sampled at `rate` is processed.

    It is the lowest native rate that loses nothing, or the highest one there is.

    >>> native_rate(44100), native_rate(11025), native_rate(192000)
    (48000, 16000, 48000)
    """
    return min((native for native in rates if native >= rate), default=max(rates))


def hop(rate: int) -> int:
    """Return the samples between two frames (10 ms) at a native rate."""
    return rate // FRAMES_PER_SECOND


def window_length(rate: int) -> int:
    """Return the samples that one frame sees (32 ms), which is also the FFT size."""
    return rate * 32 // 1000


def bins(rate: int) -> int:
    """Return the frequency bins of a frame at a native rate.

    >>> [bins(rate) for rate in NATIVE_RATES]
    [129, 257, 385, 769]
    """
    return window_length(rate) // 2 + 1


def _prototype(rate: int) -> NDArray[np.float64]:
    """Return the analysis window with a peak of 1: a slow sine rise, a fast cosine fall."""
    fall = hop(rate)
    rise = window_length(rate) - fall
    return np.concatenate(
        [
            np.sin(np.pi * (np.arange(rise) + 0.5) / (2 * rise)),
            np.cos(np.pi * (np.arange(fall) + 0.5) / (2 * fall)),
        ]
    )


def analysis_window(rate: int) -> NDArray[np.float32]:
    """Return the window before the FFT, shape = (window_length,).

    It sums to 1, so that a sinusoid of amplitude a gives a bin of magnitude a / 2 at every
    rate.
    """
    window = _prototype(rate)
    return (window / window.sum()).astype(np.float32)


def synthesis_window(rate: int) -> NDArray[np.float32]:
    """Return the window after the inverse FFT, for the last 20 ms, shape = (2 * hop,).

    Its product with the analysis window is a squared sine, which overlap-adds to 1, and so
    does away with the analysis window's scale too.
    """
    window = _prototype(rate)
    tail = 2 * hop(rate)
    target = np.sin(np.pi * (np.arange(tail) + 0.5) / tail) ** 2
    return (target * window.sum() / window[-tail:]).astype(np.float32)


@dataclass(frozen=True)
class SpectrumConfig:
    """One way to cut sound into spectra and to put it together again.

    Args:
        hop: samples from one frame to the next.
        analysis: window before the FFT; its length is the FFT size.
        synthesis: window after the inverse FFT, for the newest samples of a frame.  It may
            be shorter than `analysis`; its length is the algorithmic latency.
    """

    hop: int
    analysis: NDArray[np.float32]
    synthesis: NDArray[np.float32]

    @classmethod
    def at(cls, rate: int) -> "SpectrumConfig":
        """Return the engine's own analysis (32 ms) and synthesis (20 ms) at a native rate."""
        return cls(hop(rate), analysis_window(rate), synthesis_window(rate))


class StreamingAnalysis:
    """Sound in blocks of any size -> spectra.

    Frame t is ready as soon as sample (t + 1) * hop - 1 is in, and sees nothing later; what
    lies before the first sample is silence.

    >>> StreamingAnalysis(SpectrumConfig.at(16000), channels=2)(np.zeros((2, 400), "f4")).shape
    (2, 2, 257)
    """

    def __init__(self, config: SpectrumConfig, channels: int) -> None:
        self._hop = config.hop
        size = len(config.analysis)
        self._window = config.analysis * np.float32(size)  # the FFT divides by it
        self._past = np.zeros((channels, size - config.hop), np.float32)

    def __call__(self, samples: Planar) -> Spectra:
        """Take samples, shape = (channels, samples); return shape = (channels, frames, bins)."""
        sound = np.concatenate([self._past, samples], axis=1)
        size, hop = len(self._window), self._hop
        count = max(0, (sound.shape[1] - size) // hop + 1)
        self._past = sound[:, count * hop :].copy()
        if count == 1:  # live: skip the price of building a strided view
            frames = sound[:, None, :size]
        elif count:
            frames = np.lib.stride_tricks.sliding_window_view(sound, size, axis=1)[:, ::hop]
        else:
            frames = np.zeros((len(sound), 0, size), np.float32)
        # NumPy 1 computes in double precision whatever it is given; NumPy 2 too, but for this
        # norm, with which it takes a sixth of the time.
        spectra = np.fft.rfft(frames * self._window, norm="forward")
        return spectra.astype(np.complex64, copy=False)


class StreamingSynthesis:
    """Spectra -> sound, by overlap-add; the inverse of `StreamingAnalysis`.

    Frame t completes the hop that begins at sample (t + 1) * hop - len(synthesis) of the
    analysed sound, so that the first samples to come out lie before its start.
    """

    def __init__(self, config: SpectrumConfig, channels: int) -> None:
        self._hop = config.hop
        self._size = len(config.analysis)
        self._window = config.synthesis
        self._tail = np.zeros((channels, len(config.synthesis) - config.hop), np.float32)

    def __call__(self, spectra: Spectra) -> Planar:
        """Take shape = (channels, frames, bins); return shape = (channels, frames * hop)."""
        channels, count, _ = spectra.shape
        if not count:
            return np.zeros((channels, 0), np.float32)
        length, hop = len(self._window), self._hop
        frames = np.fft.irfft(spectra, n=self._size)[..., -length:] * self._window
        if count == 1:  # live
            frame: Planar = frames[:, 0].astype(np.float32, copy=False)
            frame[:, : length - hop] += self._tail
            self._tail = frame[:, hop:]
            return frame[:, :hop]
        overlap = -(-length // hop)
        sound = np.zeros((channels, (count + overlap - 1) * hop), np.float32)
        sound[:, : length - hop] = self._tail
        for k in range(overlap):
            piece = frames[..., k * hop : (k + 1) * hop]
            place = sound[:, k * hop : (k + count) * hop].reshape(channels, count, hop)
            place[..., : piece.shape[-1]] += piece
        self._tail = sound[:, count * hop : (count - 1) * hop + length].copy()
        return sound[:, : count * hop]


class SpectrumFilter(Protocol):
    """What changes the spectra on their way from analysis to synthesis."""

    delay_frames: int
    """Maximum number of frames that a frame waits inside before it comes out."""

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return those that are finished, in order.

        Shape: (channels, frames, bins), in and out.
        """
        ...

    def flush(self) -> Spectra:
        """Return the frames that are still inside; the sound has ended."""
        ...


class SpectrumStream:
    """Sound in -> spectra -> filter -> sound out, aligned and exactly as long.

    `process` does it all.  Where the filter is run elsewhere, for many streams at once, `analyse`
    and `synthesise` are its two halves.

    Args:
        config: how to cut the sound into spectra.
        channels: channels of every block.
        spectrum_filter: what is done to the spectra.
    """

    def __init__(
        self, config: SpectrumConfig, channels: int, spectrum_filter: SpectrumFilter
    ) -> None:
        self._analysis = StreamingAnalysis(config, channels)
        self._synthesis = StreamingSynthesis(config, channels)
        self._filter = spectrum_filter
        self._channels = channels
        self._lead = len(config.synthesis) - config.hop  # output from before the start
        self._due = 0  # samples taken and not yet returned
        self._padding = len(config.synthesis)
        self.latency_samples = len(config.synthesis) + spectrum_filter.delay_frames * config.hop

    def analyse(self, samples: Planar) -> Spectra:
        """Take (channels, n) and return the spectra of the frames that are full."""
        self._due += samples.shape[1]
        return self._analysis(samples)

    def synthesise(self, spectra: Spectra) -> Planar:
        """Take filtered frames, in order, and return (channels, m), the samples they finish."""
        sound = self._synthesis(spectra)
        if self._lead:
            dropped = min(self._lead, sound.shape[1])
            self._lead -= dropped
            sound = sound[:, dropped:]
        sound = sound[:, : self._due]
        self._due -= sound.shape[1]
        return sound

    def process(self, samples: Planar) -> Planar:
        """Take (channels, n) and return (channels, m), the samples that are finished."""
        return self.synthesise(self._filter.process(self.analyse(samples)))

    def flush(self) -> Planar:
        """Return the samples that are still inside; the sound has ended."""
        silence = np.zeros((self._channels, self._padding), np.float32)
        last = self.synthesise(self._filter.process(self._analysis(silence)))
        return np.concatenate([last, self.synthesise(self._filter.flush())], axis=1)
