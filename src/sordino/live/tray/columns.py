"""Sound -> columns of a spectrogram on a logarithmic scale of frequency."""

import numpy as np
from numpy.typing import NDArray

LOWEST_HZ, HIGHEST_HZ = 60.0, 16000.0
ROWS = 144  # eighteen to an octave
HOP_SECONDS = 0.02
WINDOW_SECONDS = 0.0427  # 2048 samples at 48 kHz

Levels = NDArray[np.float32]
"""dB; the mean power of the bins in a row, of which a sine at full scale has 0 in its own.
Shape = (ROWS, columns), the highest frequency first."""


class Columns:
    """Turns samples into columns of levels; holds no sound.

    Args:
        sample_rate: in Hz.  Rows above half of it stay at the floor.

    >>> columns = Columns(48000)
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000).astype(np.float32)
    >>> levels = columns.of(tone)
    >>> levels.shape == (ROWS, columns.count(48000))
    True
    >>> abs(int(levels[:, 9].argmax()) - row_of(1000)) <= 1
    True
    """

    FLOOR_DB = -140.0

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(HOP_SECONDS * sample_rate)
        self.window = round(WINDOW_SECONDS * sample_rate)
        window = np.hanning(self.window + 1)[:-1]
        self._window = (window * 2 / window.sum()).astype(np.float32)
        bins = self.window // 2 + 1
        hertz = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** np.linspace(0, 1, ROWS + 1)
        edges = np.minimum(hertz * self.window / sample_rate + 0.5, bins)  # of rows, in bins
        # Mean power between two edges, from the running sum over the bins.  Below about 600 Hz
        # rows are narrower than bins, and several show the same one.
        running = np.zeros((bins + 1, ROWS + 1))
        below = np.minimum(edges.astype(int), bins - 1)
        np.add.at(running, (below, np.arange(ROWS + 1)), 1 - (edges - below))
        np.add.at(running, (below + 1, np.arange(ROWS + 1)), edges - below)
        sums = np.triu(np.ones((bins, bins + 1)), 1) @ running  # shape = (bins, ROWS + 1)
        width = np.maximum(np.diff(edges), 1e-6)  # none above half the sampling rate
        self._rows = np.ascontiguousarray((np.diff(sums, axis=1) / width).T[::-1], np.float32)

    def count(self, samples: int) -> int:
        """Return how many columns so many samples make."""
        return max(0, 1 + (samples - self.window) // self.hop)

    def of(self, samples: NDArray[np.float32]) -> Levels:
        """Return the columns of the sound, one every 20 ms, the last one at its end.

        Args:
            samples: shape = (samples,), full scale is 1.
        """
        count = self.count(len(samples))
        if not count:
            return np.zeros((ROWS, 0), np.float32)
        start = len(samples) - self.window - (count - 1) * self.hop
        frames = np.lib.stride_tricks.sliding_window_view(samples[start:], self.window)
        spectra = np.fft.rfft(frames[:: self.hop] * self._window)
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        floor = np.float32(10 ** (self.FLOOR_DB / 10))
        return 10 * np.log10(np.maximum(self._rows @ power.T, floor))


def row_of(hertz: float) -> int:
    """Return the row, counted from the top, in which a frequency in Hz lies."""
    height = np.log(hertz / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ)
    return int(np.clip(ROWS - 1 - int(height * ROWS), 0, ROWS - 1))
