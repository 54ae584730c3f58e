"""Raised voices: shouted, sung, laughed, a child's, made of ordinary speech.

Loud high voices are rare in recordings of read speech, and a network that has heard few of them
takes their widely spaced harmonics for an alarm.  Here the pitch of a voice goes up by as much as
a factor of three while its formants move much less, as in shouting and singing, where the vocal
tract stays nearly as long as it is.
"""

import numpy as np

from sordino.train.effects import tilt
from sordino.train.envelope import move_formants
from sordino.train.fourier import irfft, rfft
from sordino.train.levels import FloatArray

FRAME_SECONDS = 0.030  # of the time stretch, half a frame from one to the next
SEARCH_SECONDS = 0.010  # a frame is moved by up to this to continue the one before it


def raise_voice(
    x: FloatArray, sample_rate: int, pitch: float, formants: float, tilt_db: float, samples: int
) -> FloatArray:
    """Speech with a higher pitch, its own or slightly higher formants, and a flatter spectrum.

    Args:
        x: speech as it was recorded, but sampled at `sample_rate / pitch`, so that played at
            `sample_rate` it is `pitch` times as high and as fast; shape `(n,)`.
        sample_rate: Hz that the result is played at.
        pitch: factor of the fundamental frequency, above 1.
        formants: factor of the formant frequencies, about 1 to 1.3.
        tilt_db: dB per octave by which the spectrum gets flatter from 500 Hz to 4 kHz.
        samples: length of the result; `x` is slowed down to it.

    Returns:
        Shape `(samples,)`.
    """
    # At its recorded pitch a voice has harmonics that the smoothing of the envelope spans.
    x = move_formants(x, round(sample_rate / pitch), formants / pitch)
    x = stretch(x, sample_rate, samples)
    return irfft(rfft(x) * tilt(len(x), sample_rate, tilt_db), len(x))


def stretch(x: FloatArray, sample_rate: int, samples: int) -> FloatArray:
    """`x` slowed down to `samples` samples with its pitch kept.

    Source: Verhelst and Roelands, "An overlap-add technique based on waveform similarity
    (WSOLA) for high quality time-scale modification of speech", ICASSP 1993.

    Args:
        x: shape `(n,)`, n <= samples.
        sample_rate: in Hz.
        samples: length of the result.
    """
    hop = round(FRAME_SECONDS * sample_rate / 2)
    search = round(SEARCH_SECONDS * sample_rate)
    if samples <= len(x) or len(x) < 4 * hop:
        return np.resize(x, samples)
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    padded = np.pad(x, (search, 3 * hop + 2 * search))
    speed = len(x) / samples
    out = np.zeros(samples + 2 * hop, np.float32)
    follow = padded[search : search + 2 * hop]
    for start in range(0, samples, hop):
        place = int(start * speed)  # of the earliest candidate in `padded`
        candidates = padded[place : place + 2 * (search + hop)]
        best = int(np.argmax(np.correlate(candidates, follow, "valid")))
        frame = padded[place + best : place + best + 2 * hop]
        out[start : start + 2 * hop] += frame * window
        follow = padded[place + best + hop : place + best + 3 * hop]
    return out[:samples]
