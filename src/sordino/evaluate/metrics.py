"""Measures that need nothing but NumPy: alignment, SI-SDR, levels, spectral distance.

Signals are mono, ``(samples,)``, at one common rate.  Activity, noise reduction and
speech attenuation work on frames of 20 ms side by side; a frame counts as speech or as
silence by the level of the clean signal, so that every system is judged on the same frames.
"""

import math

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.floating]

RATE = 16_000  # Hz; the rate at which PESQ-WB, DNSMOS and all figures of a report are taken
FRAME_SECONDS = 0.02
MIN_SILENT_FRAMES = 5  # 0.1 s
MAX_REDUCTION_DB = 60.0  # digital silence counts as this much, so that means stay finite
SILENT_SI_SDR_DB = -60.0
EPSILON = 1e-12
FLOOR_POWER = 1e-10  # -100 dBFS, below the noise of any recording


def frames(x: Signal, size: int, hop: int) -> Signal:
    """Cut a signal into frames; shape = (frames, size), an incomplete last one is left out."""
    if len(x) < size:
        return np.empty((0, size), x.dtype)
    return np.lib.stride_tricks.sliding_window_view(x, size)[::hop]


def fit(x: Signal, length: int) -> Signal:
    """Cut a signal, or lengthen it with zeros, to `length` samples."""
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))


def align(
    clean: Signal, other: Signal, rate: int = RATE, max_seconds: float = 0.1
) -> tuple[Signal, int]:
    """Take out the latency that a system left in its output.

    The lag is where the cross-correlation with the clean signal is largest.  It is taken
    only if it fits more than 2 % better than no shift at all: less is noise in the
    correlation, not latency.

    Args:
        clean: The reference.
        other: The signal to shift; it may be longer or shorter.
        rate: Samples per second of both.
        max_seconds: The largest lag looked for, either way.

    Returns:
        The shifted signal, as long as `clean`, and the lag in samples (positive: `other`
        came late).
    """
    n = 1 << int(np.ceil(np.log2(len(clean) + len(other))))
    spectrum = np.fft.rfft(other, n) * np.conj(np.fft.rfft(clean, n))
    reach = round(max_seconds * rate)
    lags = np.arange(-reach, reach + 1)
    correlation = np.fft.irfft(spectrum, n)[lags % n]
    best = int(np.argmax(correlation))
    lag = int(lags[best])
    if correlation[reach] >= 0.98 * correlation[best]:
        lag = 0
    shifted = other[lag:] if lag >= 0 else np.pad(other, (-lag, 0))
    return fit(shifted, len(clean)), lag


def si_sdr(clean: Signal, estimate: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio, dB, of signals freed of their mean.

    Returns:
        -60 for a silent estimate, which would else be left out of a mean; nan for a silent
        reference.

    Source: Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?",
    ICASSP 2019, equations 2 and 3.

    >>> t = np.arange(1600) / 16000
    >>> voice, hum = np.sin(2 * np.pi * 200 * t), np.sin(2 * np.pi * 100 * t)
    >>> round(si_sdr(voice, 0.5 * (voice + 0.1 * hum)), 3)
    20.0
    """
    c = np.asarray(clean, np.float64)
    e = np.asarray(estimate, np.float64)
    c, e = c - c.mean(), e - e.mean()
    if not c.any():
        return float("nan")
    if not e.any():
        return SILENT_SI_SDR_DB
    target = np.dot(e, c) / (np.dot(c, c) + EPSILON) * c
    error = e - target
    return _decibels(np.dot(target, target) + EPSILON, np.dot(error, error) + EPSILON)


def activity(
    clean: Signal, rate: int = RATE, speech_db: float = -25.0, silence_db: float = -32.0
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the frames that hold speech and those that surely hold none.

    Levels are taken relative to the 95th percentile of the clip's frames.  Clips of common
    sets are cut close and carry some room noise, so the limit of silence cannot be much
    lower; a silent frame also needs both neighbours below it.

    Args:
        clean: The clean reference.
        rate: Samples per second.
        speech_db: Frames above this hold speech.
        silence_db: Frames below this, away from speech, hold none.

    Returns:
        Two masks of shape (frames,): speech and silence.  A frame can be neither.
    """
    cut = _frames20(clean, rate).astype(np.float64)
    if not len(cut):
        return np.zeros(0, bool), np.zeros(0, bool)
    db = 10 * np.log10(np.mean(cut**2, axis=1) + EPSILON)
    top = np.percentile(db, 95)
    loud = db >= top + silence_db
    near_speech = np.convolve(loud, np.ones(3), "same") > 0
    return db > top + speech_db, ~near_speech


def noise_reduction(clean: Signal, noisy: Signal, estimate: Signal, rate: int = RATE) -> float:
    """Fall of level, dB, on the frames in which the clean signal is silent.

    Returns:
        At most 60; nan if fewer than 0.1 s of the clip are silent.
    """
    _, silence = activity(clean, rate)
    if silence.sum() < MIN_SILENT_FRAMES:
        return float("nan")
    before, after = (float(np.mean(_frames20(x, rate)[silence] ** 2.0)) for x in (noisy, estimate))
    return min(_decibels(before + FLOOR_POWER, after + FLOOR_POWER), MAX_REDUCTION_DB)


def band_noise_reduction(
    clean: Signal, noisy: Signal, estimate: Signal, rate: int, low: float
) -> float:
    """Noise reduction, dB, of the band from `low` Hz upwards only.

    Returns:
        As `noise_reduction`; nan also if the band holds no noise to speak of (-90 dBFS).
    """
    _, silence = activity(clean, rate)
    if silence.sum() < MIN_SILENT_FRAMES:
        return float("nan")
    size = round(FRAME_SECONDS * rate)
    window = np.hanning(size)
    band = np.fft.rfftfreq(size, 1 / rate) >= low

    def power(x: Signal) -> float:
        spectra = np.fft.rfft(_frames20(x, rate)[silence] * window)[:, band]
        energy = float(np.mean(np.sum(np.abs(spectra) ** 2, axis=1)))
        return 2 * energy / (size * float(np.sum(window**2)))

    before = power(noisy)
    if before < 10 * FLOOR_POWER:
        return float("nan")
    return min(_decibels(before + FLOOR_POWER, power(estimate) + FLOOR_POWER), MAX_REDUCTION_DB)


def speech_attenuation(clean: Signal, estimate: Signal, rate: int = RATE) -> float:
    """Loss, dB, of the part of the output that follows the clean speech.

    It is -20 log10 of the projection of the output on the clean speech over the frames that
    hold speech: positive is loss, 60 is everything.  What is left of the noise does not
    count, except by chance correlation (a few hundredths of a dB).

    Returns:
        nan for a clip without speech.
    """
    speech, _ = activity(clean, rate)
    c = _frames20(clean, rate)[speech].ravel().astype(np.float64)
    e = _frames20(estimate, rate)[speech].ravel().astype(np.float64)
    energy = np.dot(c, c)
    if energy < EPSILON:
        return float("nan")
    return float(-20 * np.log10(max(np.dot(c, e) / energy, 1e-3)))


def level_reduction(noisy: Signal, estimate: Signal, quietest: float = 1.0) -> float:
    """Fall of level, dB, over the quietest share of the noisy clip's frames.

    It needs no reference: with `quietest=0.2` the frames are mostly pauses, and the figure
    stands in for the noise reduction where no clean speech is known.
    """
    before = np.mean(_frames20(noisy, RATE) ** 2.0, axis=1)
    after = np.mean(_frames20(estimate, RATE) ** 2.0, axis=1)
    chosen = np.argsort(before)[: max(1, round(quietest * len(before)))]
    return min(
        _decibels(before[chosen].mean() + FLOOR_POWER, after[chosen].mean() + FLOOR_POWER),
        MAX_REDUCTION_DB,
    )


def level_dbfs(x: Signal) -> float:
    """Root mean square of a signal in dB re full scale; -120 for silence.

    >>> level_dbfs(np.zeros(16000))
    -120.0
    """
    return _decibels(float(np.mean(np.square(x, dtype=np.float64))) + EPSILON, 1.0)


def log_spectral_distance(
    clean: Signal,
    estimate: Signal,
    rate: int = RATE,
    low: float = 0.0,
    high: float = math.inf,
    floor_db: float = -60.0,
) -> float:
    """Log-spectral distance, dB: root mean square over bins, mean over frames.

    Hann windows of 32 ms, half overlapped.  Powers are floored relative to the loudest bin
    of the clean clip, so that inaudible residues do not count.

    Args:
        clean: The reference.
        estimate: The output, aligned.
        rate: Samples per second.
        low: Only bins from this frequency, Hz, upwards count.
        high: Only bins below this frequency, Hz, count.
        floor_db: The floor.

    Source: Gray and Markel, "Distance measures for speech processing", IEEE Trans. ASSP
    24(5), 1976.
    """
    size = round(0.032 * rate)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    band = (frequencies >= low) & (frequencies < high)

    def power(x: Signal) -> Signal:
        return np.abs(np.fft.rfft(frames(x, size, size // 2) * np.hanning(size))) ** 2

    c, e = power(clean), power(estimate)
    floor = c.max(initial=0.0) * 10 ** (floor_db / 10) + EPSILON
    difference = 10 * np.log10(np.maximum(c, floor) / np.maximum(e, floor))[:, band]
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def _frames20(x: Signal, rate: int) -> Signal:
    size = round(FRAME_SECONDS * rate)
    return frames(x, size, size)


def _decibels(numerator: float, denominator: float) -> float:
    return float(10 * np.log10(numerator / denominator))
