"""Envelopes: the smooth shape of a spectrum over time, moved, or taken from one sound to another.

What a sound is made of (pitch, hiss, crackle) is in the fine structure of its spectrum, what it
does (vowels, blows, gusts) in the envelope.  Changed apart from each other, few recordings make
many: another vocal tract for the same voice, a rattle that moves as the sea does.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d

from sordino.train.fourier import ComplexArray, from_frames, good_size, to_frames
from sordino.train.levels import FloatArray, db

FRAME_SECONDS = 0.032  # square-root Hann window, half a frame from one to the next
SMOOTH_HZ = 300.0  # width of smoothing: harmonics vanish, formants stay
FORMANT_LIMIT_DB = 15.0  # most that a moved formant lifts or lowers
IMPRINT_SECONDS = 0.05  # smoothing over time of what is taken over from another sound
IMPRINT_LIMIT_DB = 45.0  # most that it lifts or lowers; quieter parts of either count as this


def move_formants(x: FloatArray, sample_rate: int, ratio: float) -> FloatArray:
    """Speech with the resonances of another vocal tract; its pitch and its timing stay.

    Vocal tract length perturbation (Jaitly and Hinton, 2013), on the envelope alone.

    Args:
        x: shape `(samples,)`.
        sample_rate: in Hz.
        ratio: what the frequency of each formant is multiplied by, about 0.85 to 1.15.
    """
    frames = _analyse(x, sample_rate)
    bins = frames.shape[1]
    power = _smooth_power(frames, sample_rate) + np.float32(1e-14)
    place = np.minimum(np.arange(bins) / ratio, bins - 1)
    below = place.astype(int)
    share = (place - below).astype(np.float32)
    level = np.log(power)
    moved = level[:, below] * (1 - share) + level[:, np.minimum(below + 1, bins - 1)] * share
    limit = np.float32(FORMANT_LIMIT_DB * np.log(10) / 10)
    gain = np.exp(np.float32(0.5) * np.clip(moved - level, -limit, limit))
    return from_frames(frames * gain, len(x))


def imprint(x: FloatArray, other: FloatArray, sample_rate: int, share: float) -> FloatArray:
    """Noise that moves over time and frequency as another one does.

    Args:
        x: what gives the fine structure, shape `(samples,)`.
        other: what gives the envelope, as long.
        sample_rate: in Hz.
        share: how far the envelope goes from that of `x`, 0, to that of `other`, 1.
    """
    frames = _analyse(x, sample_rate)
    own = _imprint_level(frames, sample_rate)
    theirs = _imprint_level(_analyse(other, sample_rate), sample_rate)
    gain = np.exp(np.float32(share) * (theirs - own))
    return from_frames(frames * gain, len(x))


def _imprint_level(frames: ComplexArray, sample_rate: int) -> FloatArray:
    """The envelope as natural logarithms of amplitude, at most `IMPRINT_LIMIT_DB` under its top."""
    power = _smooth_power(frames, sample_rate)
    width = max(1, round(IMPRINT_SECONDS / FRAME_SECONDS * 2))
    power = uniform_filter1d(power, width, axis=0)
    top = float(power.max(initial=0.0))
    floor = max(top * float(db(-IMPRINT_LIMIT_DB)) ** 2, 1e-14)
    return np.float32(0.5) * np.log(np.maximum(power, np.float32(floor)))


def _smooth_power(frames: ComplexArray, sample_rate: int) -> FloatArray:
    """Power over bins, averaged twice over `SMOOTH_HZ`: a triangle."""
    bins = max(1, round(SMOOTH_HZ * 2 * (frames.shape[1] - 1) / sample_rate))
    once = uniform_filter1d(np.abs(frames) ** 2, bins, axis=1, mode="nearest")
    twice = uniform_filter1d(once, bins, axis=1, mode="nearest")
    # Beside a loud bin the filter's running sum comes out a little below zero.
    return np.maximum(twice, 0).astype(np.float32, copy=False)


def _analyse(x: FloatArray, sample_rate: int) -> ComplexArray:
    return to_frames(x, good_size(round(FRAME_SECONDS / 2 * sample_rate)))
