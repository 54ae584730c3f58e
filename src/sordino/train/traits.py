"""Traits of a clip that are measured from its sound: bandwidth, and the short sounds in it."""

import numpy as np

from sordino.train.levels import FloatArray, frame_power


def measure_bandwidth(x: FloatArray, sample_rate: int, range_db: float = 62.0) -> float:
    """Highest frequency in Hz with content: at most `range_db` under the spectrum's peak.

    The long-term power spectrum in 125 Hz bins, of at most one minute spread over the clip.
    62 dB lies between the weakest real top octave of speech (about -55 dB) and what lossy
    codecs and resamplers leave above their cut (about -69 dB).
    """
    size = 2 * (sample_rate // 250)
    frames = x[: len(x) // size * size].reshape(-1, size)
    if len(frames) == 0:
        return sample_rate / 2
    frames = frames[:: max(1, len(frames) * size // (60 * sample_rate))]
    window = np.hanning(size + 1)[:size].astype(np.float32)
    power = (np.abs(np.fft.rfft(frames * window)) ** 2).mean(0)
    smooth = np.convolve(power[1:], np.ones(3) / 3, mode="same")  # without DC
    above = np.flatnonzero(smooth > smooth.max() * 10 ** (-range_db / 10))
    if len(above) == 0:
        return sample_rate / 2
    return min((above[-1] + 2) * sample_rate / size, sample_rate / 2)


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
