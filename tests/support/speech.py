"""Speech, and how alike two sounds are when one of them went through a live session."""

import numpy as np
import soundfile
from numpy.polynomial.chebyshev import Chebyshev, chebvander
from scipy.signal import correlate, medfilt, resample_poly

from sordino import examples
from support.sound_servers import RATE

SMOOTH = np.hanning(64) / 32  # up to 1.5 kHz
PIECE, REACH = RATE // 5, 300  # samples
FINER = 8  # times as many samples, between which straight lines will do


def example(kind):
    sound, rate = soundfile.read(examples.path("office_48k", kind), dtype="float32")
    assert rate == RATE
    return sound


def delay_of(sound, reference):
    """Return by how many samples a sound is later than its like."""
    return int(np.argmax(correlate(sound, reference, "full"))) - (len(reference) - 1)


def aligned(heard, reference):
    """Return what was heard on the reference's time scale.

    The output's clock is never exactly the input's, and a session makes up for that with
    slightly faster or slower sound, so one delay does not hold for all of it.  It is a smooth
    curve: found roughly by correlating pieces, then by least squares (Gauss-Newton).
    """
    times = np.arange(len(reference))
    scale = 2 * times / len(reference) - 1
    starts = range(0, len(reference) - PIECE + 1, PIECE // 2)
    loudness = [np.std(reference[start : start + PIECE]) for start in starts]
    curve = np.full(len(reference), float(delay_of(heard, reference)))
    sound = np.pad(at(heard, times + curve), REACH)
    delays = [
        np.argmax(correlate(sound[i : i + PIECE + 2 * REACH], reference[i : i + PIECE], "valid"))
        - REACH
        for i in starts
    ]
    middles = [scale[start + PIECE // 2] for start in starts]
    curve += Chebyshev.fit(middles, medfilt(delays, 5), 4, (-1, 1), w=loudness)(scale)
    basis = chebvander(scale, 16)
    like = np.convolve(reference, SMOOTH, "same")
    for _ in range(6):
        sound = np.convolve(at(heard, times + curve), SMOOTH, "same")
        slopes = np.gradient(sound)[:, None] * basis
        curve += basis @ np.linalg.lstsq(slopes, like - sound, rcond=None)[0]
    return at(heard, times + curve)


def at(sound, times):
    """Return a sound at times in samples that need not be whole."""
    fine = resample_poly(sound.astype(np.float64), FINER, 1)
    return np.interp(FINER * times, np.arange(len(fine)), fine)


def si_sdr(estimate, reference):
    scaled = reference * np.dot(estimate, reference) / np.dot(reference, reference)
    return 10 * np.log10(np.sum(scaled**2) / np.sum((estimate - scaled) ** 2))
