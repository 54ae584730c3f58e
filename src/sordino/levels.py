"""Levels: how strongly noise is suppressed, and how much of it was removed."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Interleaved
from sordino.errors import SordinoError

SEGMENT_SECONDS = 0.1
QUIETEST = 0.1  # share of the segments that count as pauses
SILENCE_DB = -100  # re full scale; digital silence has no noise to take
LOUDEST_DB = 30
MAX_TAKEN_DB = 99.0  # nothing is left


class NoiseMeter:
    """Measures how much noise was removed; the one definition, for commands, pages and live use.

    Noise is measured in the pauses: the noisy sound is cut into segments of
    0.1 s, those of less than -100 dB re full scale are left out, and the quietest tenth of the
    rest (by levels in whole dB) are the pauses.  The noise taken is the power of all pauses
    before over that of the same segments after, in dB.  Memory is constant.

    Args:
        sample_rate: in Hz.

    >>> meter = NoiseMeter(8000)
    >>> noise = np.random.default_rng(0).standard_normal((80000, 1)).astype(np.float32)
    >>> meter.feed(noise, 0.1 * noise)
    >>> round(meter.taken_db or 0)
    20
    """

    def __init__(self, sample_rate: int) -> None:
        self._segment = round(SEGMENT_SECONDS * sample_rate)
        self._rest: NDArray[np.float32] | None = None
        # For each level in dB: number of segments, power before, power after.
        self._sums = np.zeros((LOUDEST_DB - SILENCE_DB, 3))

    def feed(self, noisy: Interleaved, clean: Interleaved) -> None:
        """Take a block of both, of the same shape."""
        both = np.stack([noisy, clean])
        if self._rest is not None:
            both = np.concatenate([self._rest, both], axis=1)
        count = both.shape[1] // self._segment
        self._rest = both[:, count * self._segment :]
        if not count:
            return
        segments = both[:, : count * self._segment].reshape(2, count, -1)
        powers = np.square(segments, dtype=np.float64).mean(axis=2)
        before, after = powers[0], powers[1]
        levels = np.floor(10 * np.log10(np.maximum(before, 1e-30))).astype(int)
        heard = levels >= SILENCE_DB
        rows = np.minimum(levels[heard], LOUDEST_DB - 1) - SILENCE_DB
        np.add.at(self._sums, rows, np.stack([np.ones_like(before), before, after], 1)[heard])

    @property
    def taken_db(self) -> float | None:
        """By how many dB the pauses are quieter; None if nothing was heard."""
        counts = np.cumsum(self._sums[:, 0])
        if not counts[-1]:
            return None
        pauses = 1 + int(np.count_nonzero(counts < QUIETEST * counts[-1]))
        before, after = (float(self._sums[:pauses, column].sum()) for column in (1, 2))
        if after <= before * 10 ** (-MAX_TAKEN_DB / 10):
            return MAX_TAKEN_DB
        return 10 * math.log10(before / after)


def noise_taken(taken_db: float | None) -> str:
    """Say how much noise was taken; never a bare "0.0 dB", which reads as if nothing was done.

    Args:
        taken_db: of `NoiseMeter`; None if there was no sound.

    >>> noise_taken(20.44), noise_taken(0.02), noise_taken(None)
    ('20.4 dB', 'none', 'nothing heard yet')
    """
    if taken_db is None:
        return "nothing heard yet"
    if taken_db >= MAX_TAKEN_DB:
        return "all of it"
    # Why is not known here: strength 0, bypass, a sound without noise.
    return f"{taken_db:.1f} dB" if taken_db >= 0.05 else "none"


def checked_strength(value: Any) -> float:
    """Return a suppression strength as a float.

    Raises:
        SordinoError: it is not a number from 0 (nothing is taken) to 1 (all of the noise).
    """
    strength = _number(value)
    if not 0 <= strength <= 1:
        raise SordinoError(f"strength is {value!r}: expected 0 (nothing is taken) to 1 (all noise)")
    return strength


def checked_attenuation_limit(value: Any) -> float | None:
    """Return an attenuation limit in dB as a float, or None for no limit.

    Raises:
        SordinoError: it is neither None nor a number of at least 0.
    """
    if value is None:
        return None
    limit = _number(value)
    if not limit >= 0:
        raise SordinoError(f"the attenuation limit is {value!r} dB: expected 0 or more, or None")
    return limit


def effective_strength(strength: float, attenuation_limit_db: float | None) -> float:
    """Return the share of the noise that is taken when both apply.

    The real part of a noise mask is at most 1, so what is left of any sound is at least the share
    1 - strength, and a limit of A dB is the same as a strength of at most 1 - 10^(-A / 20).

    >>> effective_strength(1.0, 20.0)
    0.9
    """
    if attenuation_limit_db is None:
        return strength
    return min(strength, 1 - 10 ** (-attenuation_limit_db / 20))


def _number(value: Any) -> float:
    """Return a number as a float, and anything else as NaN."""
    try:
        return math.nan if isinstance(value, bool | np.bool_ | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
