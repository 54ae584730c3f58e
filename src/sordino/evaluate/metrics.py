"""Metrics that need nothing but NumPy: alignment, SI-SDR, levels, spectral distance.

All signals are mono, shape = (samples,), at one common rate.  Activity, noise reduction, speech
attenuation and level loss work on adjacent frames of 20 ms.  A frame counts as speech or as
silence by the level of the clean signal, so that every system is judged on the same frames.
"""

# No types: soxr.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import math
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from sordino.arrays import Mono

RATE = 16_000  # Hz; PESQ-WB, DNSMOS and all figures of a report are taken at this rate
FRAME_SECONDS = 0.02
MIN_SILENT_FRAMES = 5  # 0.1 s
MAX_REDUCTION_DB = 60.0  # digital silence counts as this much, so that means stay finite
SILENT_SI_SDR_DB = -60.0
LOUD_RANGE_DB = 10.0  # frames this close to the loudest one count in `level_loss`
EPSILON = 1e-12
FLOOR_POWER = 1e-10  # -100 dBFS, below the noise of any recording


def resample(x: NDArray[Any], rate: int, to: int) -> Mono:
    """Return a clip at another rate, by soxr at its default quality (HQ).

    Args:
        x: Mono clip, shape = (samples,).
        rate: Its sample rate, Hz.
        to: The rate wanted, Hz.
    """
    x = np.asarray(x, np.float32)
    return x if rate == to else soxr.resample(x, rate, to)


def frames(x: NDArray[Any], size: int, hop: int) -> NDArray[Any]:
    """Cut a signal into frames, shape = (frames, size); an incomplete last frame is dropped."""
    if len(x) < size:
        return np.empty((0, size), x.dtype)
    return np.lib.stride_tricks.sliding_window_view(x, size)[::hop]


def fit(x: Mono, length: int) -> Mono:
    """Cut a signal to `length` samples, or pad it with zeros."""
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))


def align(clean: Mono, other: Mono, rate: int = RATE, max_seconds: float = 0.1) -> tuple[Mono, int]:
    """Remove the latency that a system left in its output.

    The lag maximises the cross-correlation with the clean signal.  It is used only if it
    fits more than 2 % better than no shift: less is noise in the correlation, not latency.

    Args:
        clean: The reference.
        other: The signal to shift; it may be longer or shorter.
        rate: Samples per second of both.
        max_seconds: The largest lag searched, in both directions.

    Returns:
        The shifted signal, as long as `clean`, and the lag in samples (positive if `other`
        is late).
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


def si_sdr(clean: Mono, estimate: Mono) -> float:
    """Scale-invariant signal-to-distortion ratio, dB, after removal of the mean.

    Args:
        clean: The reference, shape = (samples,).
        estimate: The output, aligned and of the same length.

    Returns:
        -60 for a silent estimate, so that it counts in a mean over clips; nan for a silent
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
    clean: Mono, rate: int = RATE, speech_db: float = -25.0, silence_db: float = -32.0
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the frames that hold speech and those that surely hold none.

    Levels are relative to the 95th percentile of the clip's frames.  Clips of common sets
    are cut close and carry some room noise, so the silence threshold cannot be much lower;
    both neighbours of a silent frame must be below it too.

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


def noise_reduction(clean: Mono, noisy: Mono, estimate: Mono, rate: int = RATE) -> float:
    """Level difference between input and output, dB, where the clean signal is silent.

    This is the evaluation's noise reduction.  The power of all silent frames is averaged
    first, so loud noise between words weighs most.

    Args:
        clean: The reference; it tells which frames are silent.
        noisy: The input.
        estimate: The output, aligned.
        rate: Samples per second of all three.

    Returns:
        At most 60; nan if fewer than 0.1 s of the clip are silent.
    """
    _, silence = activity(clean, rate)
    if silence.sum() < MIN_SILENT_FRAMES:
        return float("nan")
    before, after = (float(np.mean(_frames20(x, rate)[silence] ** 2.0)) for x in (noisy, estimate))
    return min(_decibels(before + FLOOR_POWER, after + FLOOR_POWER), MAX_REDUCTION_DB)


def band_noise_reduction(clean: Mono, noisy: Mono, estimate: Mono, rate: int, low: float) -> float:
    """Noise reduction, dB, in the band above `low` Hz only.

    Args:
        clean: The reference; it tells which frames are silent.
        noisy: The input.
        estimate: The output, aligned.
        rate: Samples per second of all three.
        low: Lower edge of the band, Hz.

    Returns:
        As `noise_reduction`; also nan if the band holds hardly any noise (below -90 dBFS).
    """
    _, silence = activity(clean, rate)
    if silence.sum() < MIN_SILENT_FRAMES:
        return float("nan")
    size = round(FRAME_SECONDS * rate)
    window = np.hanning(size)
    band = np.fft.rfftfreq(size, 1 / rate) >= low

    def power(x: Mono) -> float:
        spectra = np.fft.rfft(_frames20(x, rate)[silence] * window)[:, band]
        energy = float(np.mean(np.sum(np.abs(spectra) ** 2, axis=1)))
        return 2 * energy / (size * float(np.sum(window**2)))

    before = power(noisy)
    if before < 10 * FLOOR_POWER:
        return float("nan")
    return min(_decibels(before + FLOOR_POWER, power(estimate) + FLOOR_POWER), MAX_REDUCTION_DB)


def speech_attenuation(clean: Mono, estimate: Mono, rate: int = RATE) -> float:
    """Attenuation, dB, of the part of the output that follows the clean speech.

    It is -20 log10 of the projection of the output on the clean speech over the frames that
    hold speech: positive is loss, 60 is everything.  Residual noise does not count, except
    by chance correlation (a few hundredths of a dB).

    Args:
        clean: The reference; it tells which frames hold speech.
        estimate: The output, aligned.
        rate: Samples per second of both.

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


def level_loss(clean: Mono, noisy: Mono, estimate: Mono, rate: int = RATE) -> float:
    """Loss of level, dB, on the loudest parts of the speech; large where a voice is removed.

    10 log10 of input over output energy, over the 20 ms frames in which the clean signal is
    within 10 dB of its loudest frame.

    Args:
        clean: The reference; it selects the frames.
        noisy: The input.
        estimate: The output, aligned.
        rate: Samples per second of all three.

    Returns:
        At most 60; nan for a silent reference.
    """
    power = np.mean(_frames20(clean, rate).astype(np.float64) ** 2, axis=1)
    if not power.any():
        return float("nan")
    loud = power >= power.max() * 10 ** (-LOUD_RANGE_DB / 10)
    before, after = (
        float(np.sum(_frames20(x, rate)[loud].astype(np.float64) ** 2)) for x in (noisy, estimate)
    )
    return min(_decibels(before + EPSILON, after + EPSILON), MAX_REDUCTION_DB)


def level_reduction(noisy: Mono, estimate: Mono, quietest: float = 1.0) -> float:
    """Level difference between input and output, dB, on the quietest frames of the input.

    It needs no reference: with `quietest=0.2` the frames are mostly pauses, and the figure
    replaces the noise reduction where the clean speech is unknown.

    Args:
        noisy: The input at 16 kHz.
        estimate: The output.
        quietest: Share of the frames that count, 0 to 1.

    Returns:
        At most 60.
    """
    before = np.mean(_frames20(noisy, RATE) ** 2.0, axis=1)
    after = np.mean(_frames20(estimate, RATE) ** 2.0, axis=1)
    chosen = np.argsort(before)[: max(1, round(quietest * len(before)))]
    return min(
        _decibels(before[chosen].mean() + FLOOR_POWER, after[chosen].mean() + FLOOR_POWER),
        MAX_REDUCTION_DB,
    )


def level_dbfs(x: Mono) -> float:
    """Root mean square of a signal in dB re full scale; -120 for silence.

    >>> level_dbfs(np.zeros(16000))
    -120.0
    """
    return _decibels(float(np.mean(np.square(x, dtype=np.float64))) + EPSILON, 1.0)


def log_spectral_distance(
    clean: Mono,
    estimate: Mono,
    rate: int = RATE,
    low: float = 0.0,
    high: float = math.inf,
    floor_db: float = -60.0,
) -> float:
    """Log-spectral distance, dB: root mean square over bins, mean over frames.

    Hann windows of 32 ms, half overlapped.  Powers are floored relative to the loudest bin
    of the clean clip, so that inaudible residuals do not count.

    Args:
        clean: The reference.
        estimate: The output, aligned.
        rate: Samples per second.
        low: Lowest frequency that counts, Hz.
        high: Bins at or above this frequency, Hz, do not count.
        floor_db: Floor relative to the loudest bin, dB.

    Source: Gray and Markel, "Distance measures for speech processing", IEEE Trans. ASSP
    24(5), 1976.
    """
    size = round(0.032 * rate)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    band = (frequencies >= low) & (frequencies < high)

    def power(x: Mono) -> NDArray[Any]:
        return np.abs(np.fft.rfft(frames(x, size, size // 2) * np.hanning(size))) ** 2

    c, e = power(clean), power(estimate)
    floor = c.max(initial=0.0) * 10 ** (floor_db / 10) + EPSILON
    difference = 10 * np.log10(np.maximum(c, floor) / np.maximum(e, floor))[:, band]
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def _frames20(x: Mono, rate: int) -> NDArray[Any]:
    size = round(FRAME_SECONDS * rate)
    return frames(x, size, size)


def _decibels(numerator: float, denominator: float) -> float:
    return float(10 * np.log10(numerator / denominator))
