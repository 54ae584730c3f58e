"""The band scale: the lowest bins one to one, the rest merged on an ERB scale.

Voiced speech has its harmonics below about 2.5 kHz, where single bins (31.25 Hz) tell
them apart; above, the ear and the noise are broad.  One scale covers 0-24 kHz, and a
lower sample rate simply uses its beginning.

Source: ERB rate after Glasberg and Moore, "Derivation of auditory filter shapes from
notched-noise data", Hearing Research 47 (1990).
"""

import numpy as np

from sordino.stft import BIN_HZ, NATIVE_RATES, bins

FULL_BINS = bins(max(NATIVE_RATES))


def erb_rate(hz: np.ndarray) -> np.ndarray:
    """Number of equivalent rectangular bandwidths below a frequency in Hz."""
    return 21.4 * np.log10(1 + 0.00437 * hz)


def spread_matrix(bands: int = 128, single: int = 80) -> np.ndarray:
    """Weights that spread band values over the bins above the one-to-one region.

    The bands are triangles on the ERB scale that sum to one in every bin, so that a
    constant over the bands is the same constant over the bins.

    Args:
        bands: number of bands in all.
        single: number of lowest bins that are bands of their own.

    Returns:
        float32 matrix, shape = (769 - single, bands - single); rows sum to 1.
    """
    erb = erb_rate(np.arange(single, FULL_BINS) * BIN_HZ)
    position = (erb - erb[0]) / (erb[-1] - erb[0]) * (bands - single - 1)
    distance = np.abs(position[:, None] - np.arange(bands - single)[None])
    return np.maximum(1 - distance, 0).astype(np.float32)


def merge_matrix(bands: int = 128, single: int = 80) -> np.ndarray:
    """Weights that average bins into bands: the transpose of `spread_matrix`, normalised.

    Returns:
        float32 matrix, shape = (769 - single, bands - single); columns sum to 1.
    """
    spread = spread_matrix(bands, single)
    return spread / spread.sum(0, keepdims=True)
