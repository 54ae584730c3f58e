"""The composite measures CSIG, CBAK and COVL, and the three distances they are made of.

Sources: Hu and Loizou, "Evaluation of objective quality measures for speech enhancement",
IEEE Trans. ASLP 16(1), 2008 (the regressions); Loizou, "Speech Enhancement: Theory and
Practice", 2nd ed., 2013, chapter 11 (segmental SNR, LLR, WSS); Klatt, "Prediction of
perceived phonetic distance from critical-band spectra", ICASSP 1982 (WSS).

All signals are mono at 16 kHz and aligned.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Mono
from sordino.evaluate.metrics import RATE, frames

Array = NDArray[np.float64]

LPC_ORDER = 16
KEPT_SHARE = 0.95  # LLR and WSS drop the worst 5 % of the frames
SEGMENT_LIMITS_DB = (-10.0, 35.0)

# 25 critical bands, Hz
CENTRES = np.array(
    [
        *(50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717),
        *(904.128, 1020.38, 1148.30, 1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08),
        *(2446.71, 2701.97, 2978.04, 3276.17, 3597.63),
    ]
)
BANDWIDTHS = np.array(
    [
        *(70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411),
        *(116.256, 127.914, 140.423, 153.823, 168.154, 183.457, 199.776, 217.153, 235.631),
        *(255.255, 276.072, 298.126, 321.465, 346.136),
    ]
)


def composite(clean: Mono, estimate: Mono, pesq: float) -> dict[str, float]:
    """Predict opinion scores of the speech, of the background and overall, each 1..5.

    Args:
        clean: The reference.
        estimate: The output, aligned.
        pesq: Its wideband PESQ.

    Returns:
        csig, cbak, covl, and their components: segsnr (dB), llr, wss.
    """
    distance, slope, snr = llr(clean, estimate), wss(clean, estimate), seg_snr(clean, estimate)
    scores = {
        "csig": 3.093 - 1.029 * distance + 0.603 * pesq - 0.009 * slope,
        "cbak": 1.634 + 0.478 * pesq - 0.007 * slope + 0.063 * snr,
        "covl": 1.594 + 0.805 * pesq - 0.512 * distance - 0.007 * slope,
    }
    clipped = {name: float(np.clip(value, 1, 5)) for name, value in scores.items()}
    return {**clipped, "segsnr": snr, "llr": distance, "wss": slope}


def seg_snr(clean: Mono, estimate: Mono) -> float:
    """Segmental signal-to-noise ratio, dB: the mean of the frames' SNR within -10..35."""
    c, e = _windowed(clean), _windowed(estimate)
    tiny = np.finfo(np.float64).eps
    ratio = np.sum(c**2, axis=1) / (np.sum((c - e) ** 2, axis=1) + tiny)
    return float(np.clip(10 * np.log10(ratio + tiny), *SEGMENT_LIMITS_DB).mean())


def llr(clean: Mono, estimate: Mono) -> float:
    """Log-likelihood ratio: how badly the LPC envelope of the output predicts the clean frame."""
    correlation, own = _lpc(_windowed(clean))
    _, other = _lpc(_windowed(estimate))
    ratio = _residual(other, correlation) / np.maximum(_residual(own, correlation), 1e-30)
    return _mean_of_best(np.log(np.maximum(ratio, 1e-30)))


def wss(clean: Mono, estimate: Mono) -> float:
    """Weighted spectral slope distance of Klatt over 25 critical bands."""
    (level_c, slope_c, peak_c), (level_e, slope_e, peak_e) = map(_slopes, (clean, estimate))
    weight = (_weight(level_c, peak_c) + _weight(level_e, peak_e)) / 2
    distance = np.sum(weight * (slope_c - slope_e) ** 2, axis=1) / np.sum(weight, axis=1)
    return _mean_of_best(distance)


def _windowed(x: Mono) -> Array:
    """Frames of 30 ms, three quarters overlapped; shape = (frames, 480)."""
    size = round(0.03 * RATE)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, size + 1) / (size + 1)))
    return frames(x.astype(np.float64), size, size // 4) * window


def _mean_of_best(distances: Array) -> float:
    return float(np.sort(distances)[: max(1, round(KEPT_SHARE * len(distances)))].mean())


def _lpc(x: Array) -> tuple[Array, Array]:
    """Autocorrelation and prediction-error filter of every frame, by Levinson's recursion."""
    n = x.shape[1]
    r = np.stack([np.sum(x[:, : n - k] * x[:, k:], axis=1) for k in range(LPC_ORDER + 1)], 1)
    r[:, 0] += 1e-12  # a frame of digital silence still has a predictor
    a = np.zeros((len(x), LPC_ORDER + 1))
    a[:, 0] = 1.0
    error = r[:, 0].copy()
    for i in range(1, LPC_ORDER + 1):
        reflection = -np.sum(a[:, :i] * r[:, i:0:-1], axis=1) / error
        a[:, 1 : i + 1] += reflection[:, None] * a[:, i - 1 :: -1][:, :i]
        error = np.maximum(error * (1 - reflection**2), 1e-30)
    return r, a


def _residual(a: Array, r: Array) -> Array:
    """Energy that filter a leaves of a frame with autocorrelation r: a R aᵀ."""
    order = range(r.shape[1])
    toeplitz = r[:, [[abs(i - j) for j in order] for i in order]]
    return np.einsum("ni,nij,nj->n", a, toeplitz, a)


@lru_cache(1)
def _critical_bands(bins: int) -> Array:
    """Gaussian filters, shape = (bands, bins), cut off 30 dB down as in Klatt's measure."""
    centre = np.floor(CENTRES / (RATE / 2) * bins)[:, None]
    width = (BANDWIDTHS / (RATE / 2) * bins)[:, None]
    gain = np.log(BANDWIDTHS[0]) - np.log(BANDWIDTHS)[:, None]
    filters = np.exp(-11 * ((np.arange(bins) - centre) / width) ** 2 + gain)
    return filters * (filters > np.exp(-30 / (2 * 2.303)))


def _slopes(x: Mono) -> tuple[Array, Array, Array]:
    """Critical-band levels (dB), their slopes, and the level of the peak nearest each slope."""
    cut = _windowed(x)
    size = 1 << int(np.ceil(np.log2(2 * cut.shape[1])))
    # the measure's constants suppose 16-bit samples
    power = np.abs(np.fft.rfft(cut * 32768.0, size)[:, : size // 2]) ** 2
    level = 10 * np.log10(np.maximum(power @ _critical_bands(size // 2).T, 1e-10))
    slope = np.diff(level, axis=1)
    above, below = np.empty_like(slope), np.empty_like(slope)
    last = slope.shape[1] - 1
    above[:, last], below[:, 0] = level[:, last], level[:, 0]
    for i in range(last - 1, -1, -1):
        above[:, i] = np.where(slope[:, i + 1] > 0, above[:, i + 1], level[:, i])
    for i in range(1, last + 1):
        below[:, i] = np.where(slope[:, i - 1] > 0, level[:, i], below[:, i - 1])
    return level, slope, np.where(slope > 0, above, below)


def _weight(level: Array, peak: Array) -> Array:
    top = level.max(axis=1, keepdims=True)
    return 20 / (20 + top - level[:, :-1]) / (1 + peak - level[:, :-1])
