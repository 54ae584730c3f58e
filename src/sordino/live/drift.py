"""Two devices, two clocks: resampling by a ratio that follows the drift between them.

A microphone and a loudspeaker that both claim 48 kHz differ by up to some hundred parts per
million.  Left alone, the ring between them would run empty or over once in a while.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Shape = (samples,), full scale +-1."""

HALF_TAPS = 32  # on either side, at the lower of the two rates: 0.67 ms at 48 kHz
PHASES = 512  # of the table; what linear interpolation between them leaves is below -100 dB
KAISER_BETA = 9.0  # stopband at -90 dB

GAIN = 0.05  # per second: a delay of 10 ms too much is worked off at 500 ppm
INTEGRAL_GAIN = GAIN**2 / 4  # critically damped
LARGEST = 3e-3  # of a correction: a twentieth of a semitone


class Interpolator:
    """Resamples a stream by a ratio that may change with every block.

    A windowed sinc, tabulated at PHASES fractional positions with linear interpolation between
    them (J. O. Smith, "Digital Audio Resampling", the method of libresample).  soxr has a mode
    for variable rates, but python-soxr does not offer it.

    Args:
        in_rate, out_rate: nominal sample rates in Hz.

    >>> interpolator = Interpolator(48000, 48000)
    >>> sound = np.random.default_rng(0).standard_normal(480).astype(np.float32)
    >>> same = interpolator(sound)
    >>> bool(np.allclose(same[HALF_TAPS:], sound[:-HALF_TAPS], atol=1e-6))
    True
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        cutoff = min(1.0, out_rate / in_rate)
        self._half = ceil(HALF_TAPS / cutoff)
        self._step = in_rate / out_rate
        self._table = _table(self._half, cutoff)
        self._past = np.zeros(2 * self._half - 1, np.float32)
        self._position = 0.0  # of the next sample to come out, from the start of _past
        self.latency = self._half / in_rate
        """In seconds."""

    def __call__(self, samples: Samples, correction: float = 0.0) -> Samples:
        """Take any number of samples and return those that are ready.

        Args:
            samples: shape = (samples,).
            correction: share by which fewer samples come out than the nominal rates say.
        """
        sound = np.concatenate([self._past, samples])
        taps, step = 2 * self._half, self._step * (1 + correction)
        room = len(sound) - taps + 1  # positions below this have all their taps
        count = max(0, ceil((room - self._position) / step))
        positions = self._position + step * np.arange(count)
        self._past = sound[room:].copy()
        self._position += step * count - room
        if not count:
            return sound[:0]
        wholes = positions.astype(np.int64)
        fractions = (positions - wholes) * PHASES
        rows = fractions.astype(np.int64)
        weights = (fractions - rows).astype(np.float32)[:, None]
        lower, upper = self._table[rows], self._table[rows + 1]
        windows = np.lib.stride_tricks.sliding_window_view(sound, taps)[wholes]
        return np.einsum("nt,nt->n", windows, lower + weights * (upper - lower))


def _table(half: int, cutoff: float) -> NDArray[np.float32]:
    """Return the filter at each fractional position, shape = (PHASES + 1, 2 * half)."""
    fractions = np.arange(PHASES + 1)[:, None] / PHASES
    distance = np.arange(2 * half) - (half - 1) - fractions
    window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (distance / half) ** 2)))
    table = cutoff * np.sinc(cutoff * distance) * window / np.i0(KAISER_BETA)
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32)


class DriftController:
    """Finds the correction that keeps a delay where it should be: proportional and integral.

    Critically damped; a drift of 200 ppm moves the delay by 3 ms before it is caught.  It is
    slow enough that what the devices' jitter adds stays at a few ppm.  Update it about once a
    second.
    """

    def __init__(self) -> None:
        self.correction = 0.0
        """Share by which fewer samples are to come out than the nominal rates say."""
        self._integral = 0.0

    def update(self, error: float, seconds: float) -> None:
        """Take by how many seconds the delay is too long, and the seconds since the last call."""
        self._integral = _limited(self._integral + INTEGRAL_GAIN * error * seconds)
        self.correction = _limited(GAIN * error + self._integral)


def _limited(correction: float) -> float:
    return min(max(correction, -LARGEST), LARGEST)
