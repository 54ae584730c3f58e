"""Signal tools of the mixer: levels, activity, and Fourier transforms in single precision."""

# No types: scipy.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import binary_closing, binary_opening

FloatArray = NDArray[np.float32]

HOPS_PER_SECOND = 100  # 10 ms per frame
ACTIVE_RANGE_DB = 30.0  # a frame counts as active when it is at most this far under the loudest
SILENCE_DB = -200.0  # what digital silence is called, so that no level is infinite


def frame_power(x: FloatArray, sample_rate: int) -> FloatArray:
    """Mean square of each whole 10 ms frame, shape `(len(x) // hop,)`."""
    hop = sample_rate // HOPS_PER_SECOND
    frames = x[: len(x) // hop * hop].reshape(-1, hop)
    return np.einsum("th,th->t", frames, frames) / np.float32(hop)


def per_sample(values: NDArray[np.floating], hop: int, samples: int) -> FloatArray:
    """Values of frames of `hop` samples, an even number, for each sample: linear between centres.

    Args:
        values: shape `(frames,)`; the first and last hold up to the ends.
        hop: samples of a frame.
        samples: how many to return, at most one frame more than there are values for.
    """
    held = np.pad(values.astype(np.float32), (1, 2), mode="edge")
    way = (np.arange(hop) / hop).astype(np.float32)
    lines = held[:-1, None] + (held[1:] - held[:-1])[:, None] * way
    return lines.reshape(-1)[hop // 2 : hop // 2 + samples].astype(np.float32, copy=False)


def active_level(x: FloatArray, sample_rate: int, span_db: float = ACTIVE_RANGE_DB) -> float:
    """RMS level in dBFS of the frames at most `span_db` under the loudest one.

    Pauses do not count, so that a word in a long silence is as loud as one without, and
    a few key strokes are as loud as a fan.  Digital silence gives -200.

    Shape: (samples,).
    """
    power = frame_power(x, sample_rate)
    peak = float(power.max(initial=0.0))
    if peak < 1e-19:
        return SILENCE_DB
    return float(10 * np.log10(power[power >= peak * 10 ** (-span_db / 10)].mean()))


def background_level(x: FloatArray, sample_rate: int) -> float:
    """Level in dB of the quietest frames, digital silence aside, under the loudest 100 ms.

    The 5th percentile of 10 ms frames: the noise floor of a recording with pauses in it.

    Shape: (samples,).
    """
    power = np.sort(frame_power(x, sample_rate))
    heard = power[np.searchsorted(power, 1e-9) :]  # above -90 dBFS
    if len(heard) < 20:
        return SILENCE_DB
    return float(10 * np.log10(heard[len(heard) // 20] / heard[-10:].mean()))


def activity(
    x: FloatArray, sample_rate: int, span_db: float = 35.0, floor_dbfs: float = -85.0
) -> FloatArray:
    """1 for each 10 ms frame that sounds, else 0, shape `(len(x) // hop,)`.

    A frame sounds when it is at most `span_db` under the mean of the loudest 100 ms and above
    `floor_dbfs`.  Gaps under 50 ms are filled, and what then lasts under 30 ms is dropped.
    """
    power = frame_power(x, sample_rate)
    loudest = float(np.partition(power, -10)[-10:].mean()) if len(power) > 10 else 0.0
    sounds = power >= max(loudest * 10 ** (-span_db / 10), 10 ** (floor_dbfs / 10))
    filled = binary_closing(np.pad(sounds, 4), np.ones(5))[4:-4]
    return binary_opening(filled, np.ones(3)).astype(np.float32)


def db(gain_db: float) -> np.float32:
    """Amplitude factor of a gain in dB."""
    return np.float32(10 ** (gain_db / 20))


ComplexArray = NDArray[np.complex64]


def rfft(x: FloatArray) -> ComplexArray:
    """Spectrum of real signals over the last axis, shape `(..., samples // 2 + 1)`."""
    return cast(Any, fft.rfft(x))


def irfft(spectrum: ComplexArray, size: int) -> FloatArray:
    """The real signals of `size` samples with these spectra.

    Shape: (..., bins) in, (..., size) out.
    """
    return cast(Any, fft.irfft(spectrum, size))


def good_size(least: int) -> int:
    """The smallest size from `least` samples on that transforms fast."""
    return cast(Any, fft.next_fast_len(least, real=True))


def to_frames(x: FloatArray, hop: int) -> ComplexArray:
    """Spectra of frames of two hops, shape `(frames, hop + 1)`; square-root Hann window.

    The first frame begins a hop before the sound, the last one ends behind it.
    """
    count = -(-len(x) // hop) + 1
    padded = np.zeros((count + 1) * hop, np.float32)
    padded[hop : hop + len(x)] = x
    return rfft(sliding_window_view(padded, 2 * hop)[::hop] * _window(hop))


def from_frames(frames: ComplexArray, samples: int) -> FloatArray:
    """The sound of these frames, `samples` long; the inverse of `to_frames`.

    Shape: (frames, bins) in, (samples,) out.
    """
    hop = frames.shape[1] - 1
    pieces = irfft(frames, 2 * hop) * _window(hop)
    sound = np.asarray(pieces[:-1, hop:] + pieces[1:, :hop], np.float32)
    return sound.reshape(-1)[:samples]


def _window(hop: int) -> FloatArray:
    return np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32)
