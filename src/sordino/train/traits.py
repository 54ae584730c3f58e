"""Traits of a clip that are measured from its sound: bandwidth, and the short sounds in it."""

import numpy as np
from scipy.signal import get_window

from sordino.train.levels import FloatArray, frame_power


def measure_bandwidth(x: FloatArray, sample_rate: int, range_db: float = 62.0) -> float:
    """Highest frequency in Hz with content: at most `range_db` under the spectrum's peak.

    From the long-term power spectrum of at most one minute spread over the clip.  62 dB lies
    between the weakest real top octave of speech (about -55 dB) and what lossy codecs and
    resamplers leave above their cut (about -69 dB).
    """
    size = round(0.032 * sample_rate)
    frames = x[: len(x) // size * size].reshape(-1, size)
    if len(frames) == 0:
        return sample_rate / 2
    frames = frames[:: max(1, len(frames) * size // (60 * sample_rate))]
    # Side lobes under -92 dB; the main lobe is 3 bins wide on each side at -62 dB.
    window = np.asarray(get_window("blackmanharris", size), np.float32)
    power = (np.abs(np.fft.rfft(frames * window)) ** 2).mean(0)
    power[:5] = 0  # an offset is no content
    above = np.flatnonzero(power > power.max() * 10 ** (-range_db / 10))
    if len(above) == 0 or above[-1] >= len(power) - 4:
        return sample_rate / 2
    return float(above[-1] - 3) * sample_rate / size


def find_events(x: FloatArray, sample_rate: int) -> tuple[tuple[float, float], ...]:
    """(start, stop) in seconds of the sounds in a clip made of short ones, else ().

    A clip of key strokes, drops or steps: sounds of mostly under 0.35 s that fill less than
    half of it.  A clip under 3 s that is no such series is one single event.
    """
    level = 10 * np.log10(frame_power(x, sample_rate) + 1e-12)
    if len(level) == 0:
        return ()
    loud = level > np.percentile(level, 99) - 30
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    runs: list[list[int]] = []
    for start, stop in edges.reshape(-1, 2):
        if runs and start - runs[-1][1] < 6:  # 60 ms: one sound with a dip
            runs[-1][1] = int(stop)
        else:
            runs.append([int(start), int(stop)])
    lengths = np.array([stop - start for start, stop in runs])
    if np.median(lengths) < 35 and lengths.sum() < 0.5 * len(level):
        end = len(level) / 100
        return tuple((max(0, a - 1) / 100, min(end, (b + 5) / 100)) for a, b in runs)
    return ((0.0, len(level) / 100),) if len(level) < 300 else ()
