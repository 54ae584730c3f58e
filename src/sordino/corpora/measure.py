"""Measurements of one recording: silence at its ends, levels, SNR, bandwidth, DNSMOS."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sordino.arrays import Mono
from sordino.corpora.fingerprint import fingerprint
from sordino.corpora.layout import Item
from sordino.train.data.decode import (
    UNREADABLE,
    decode,
    decode_pair,
    measure_bandwidth,
    resample,
)
from sordino.train.data.signal import HOPS_PER_SECOND, active_level, activity, frame_power

MARGIN_SECONDS = 0.1  # that trimming leaves before and after the sound
DNSMOS_RATE = 16000  # Hz
DNSMOS_SECONDS = 30.0  # from the middle: longer recordings are not rated whole
NOISE_PERCENTILE = 5  # of the power of frames: the noise between words
SNR_LIMITS_DB = (-20.0, 80.0)


@dataclass(frozen=True)
class Measurement:
    """What is measured of a recording.

    Attributes:
        seconds: of the file.
        sample_rate: Hz, of the file.
        start, stop: seconds between which there is sound.
        level_dbfs: RMS of the active frames.
        snr_db: estimated; of a pair computed from its two files.
        bandwidth_hz: above it there is nothing, whatever the sample rate says.
        dnsmos: predicted overall opinion, 1 to 5; NaN where it was not asked for.
        digest: of the samples between start and stop.
        fingerprint: of the same, see `sordino.corpora.fingerprint`.
        error: why it cannot be read; "" where it can.
    """

    seconds: float = 0.0
    sample_rate: int = 0
    start: float = 0.0
    stop: float = 0.0
    level_dbfs: float = float("nan")
    snr_db: float = float("nan")
    bandwidth_hz: float = 0.0
    dnsmos: float = float("nan")
    digest: str = ""
    fingerprint: bytes = b""
    error: str = ""


def measure(root: Path, item: Item, rate_speech: bool) -> Measurement:
    """Measure an item of a corpus.

    Args:
        root: folder that the item's paths start from.
        item: what to measure.
        rate_speech: predict DNSMOS of clean speech; it takes most of the time.
    """
    noise = None
    try:
        if item.kind == "pair":
            (noisy, x), rate = decode_pair(root / item.path, root / item.clean)
            noise = noisy - x
        else:
            x, rate = decode(root / item.path)
    except UNREADABLE as error:
        return Measurement(error=str(error).strip().splitlines()[0] or type(error).__name__)
    start, stop = (0.0, len(x) / rate) if item.kind == "rir" else trim(x, rate)
    heard = x[round(start * rate) : round(stop * rate)]
    if noise is None:
        snr = estimate_snr(heard, rate) if item.kind == "speech" else float("nan")
    else:
        snr = _limited(active_level(x, rate) - active_level(noise, rate))
    rated = rate_speech and item.kind in ("speech", "pair") and item.split != "test"
    return Measurement(
        seconds=len(x) / rate,
        sample_rate=rate,
        start=start,
        stop=stop,
        level_dbfs=active_level(heard, rate),
        snr_db=snr,
        bandwidth_hz=measure_bandwidth(heard, rate),
        dnsmos=_dnsmos(heard, rate) if rated and len(heard) else float("nan"),
        digest=hashlib.sha256(np.round(heard * 32767).astype("<i2").tobytes()).hexdigest(),
        fingerprint=fingerprint(heard, rate).tobytes(),
    )


def trim(x: Mono, rate: int) -> tuple[float, float]:
    """Return where the sound starts and stops, s, with a margin; equal where there is none."""
    frames = np.flatnonzero(activity(x, rate))
    if len(frames) == 0:
        return 0.0, 0.0
    start = max(0.0, frames[0] / HOPS_PER_SECOND - MARGIN_SECONDS)
    stop = min(len(x) / rate, (frames[-1] + 1) / HOPS_PER_SECOND + MARGIN_SECONDS)
    return float(start), float(stop)


def estimate_snr(x: Mono, rate: int) -> float:
    """Estimate the SNR of speech from its pauses, dB.

    The level of the active frames over that of the quietest ones.  Speech without pauses is
    taken for noisier than it is.

    Args:
        x: one channel.
        rate: sample rate in Hz.
    """
    power = frame_power(x, rate)
    if len(power) == 0 or not power.any():
        return float("nan")
    floor = max(float(np.percentile(power, NOISE_PERCENTILE)), 1e-12)
    # What is in the pauses is in the words as well.
    speech = max(10 ** (active_level(x, rate) / 10) - floor, 1e-12)
    return _limited(float(10 * np.log10(speech / floor)))


def _limited(snr: float) -> float:
    return float(np.clip(snr, *SNR_LIMITS_DB))


def _dnsmos(x: Mono, rate: int) -> float:
    from sordino.evaluate.dnsmos import dnsmos_p835

    length = round(DNSMOS_SECONDS * rate)
    first = max(0, (len(x) - length) // 2)
    return dnsmos_p835(resample(x[first : first + length], rate, DNSMOS_RATE))["ovrl"]
