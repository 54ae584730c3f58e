"""What can be measured (`MEASURES`), and all of it for one clip (`score`)."""

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from sordino.errors import SordinoError, install_command
from sordino.evaluate import metrics as m
from sordino.evaluate.composite import composite
from sordino.evaluate.dnsmos import dnsmos_p808, dnsmos_p835
from sordino.evaluate.metrics import RATE, Signal
from sordino.evaluate.resampling import resample

HIGH_BAND = 8000.0  # Hz; what lies above is unseen by the figures taken at 16 kHz
MIN_SECONDS = 0.5  # below this PESQ and STOI are undefined
NARROW_RATE = 8_000  # Hz; the rate of PESQ-NB
PESQ_WB_MIN = 1.0427  # MOS-LQO of the raw score -0.5, ITU-T P.862.2 equation 1
PESQ_NB_MIN = 1.0168  # the same by ITU-T P.862.1
LSD_BANDS = {  # Hz
    "lsd_db": (0, math.inf),
    "lsd_0k_db": (0, 1000),
    "lsd_1k_db": (1000, 4000),
    "lsd_4k_db": (4000, math.inf),
}
LIBRARIES = ("pesq", "pystoi", "speechmos", "librosa")


@dataclass(frozen=True)
class Measure:
    """How one figure is called and read.

    Attributes:
        title: Column heading, with the unit.
        decimals: Digits worth printing.
        better: 1 if more is better, -1 if less is, 0 if neither.
        reference: Whether it needs the clean signal.
        detail: Whether the table leaves it out, beside measures that say it better.
    """

    title: str
    decimals: int
    better: int
    reference: bool = True
    detail: bool = False


# The names are the columns of the CSV files.
MEASURES: dict[str, Measure] = {
    "pesq": Measure("PESQ-WB", 2, 1),
    "pesq_nb": Measure("PESQ-NB", 2, 1, detail=True),
    "stoi": Measure("STOI", 3, 1),
    "estoi": Measure("ESTOI", 3, 1),
    "sisdr": Measure("SI-SDR dB", 1, 1),
    "csig": Measure("CSIG", 2, 1),
    "cbak": Measure("CBAK", 2, 1),
    "covl": Measure("COVL", 2, 1),
    "segsnr": Measure("segSNR dB", 1, 1, detail=True),
    "llr": Measure("LLR", 2, -1, detail=True),
    "wss": Measure("WSS", 1, -1, detail=True),
    "sig": Measure("SIG", 2, 1, reference=False),
    "bak": Measure("BAK", 2, 1, reference=False),
    "ovrl": Measure("OVRL", 2, 1, reference=False),
    "p808": Measure("P.808", 2, 1, reference=False),
    "nr_db": Measure("noise reduction dB", 1, 1),
    "att_db": Measure("speech loss dB", 2, -1),
    "noise_removed": Measure("noise energy removed", 3, 1),
    "lsd_db": Measure("LSD dB", 2, -1),
    "lsd_0k_db": Measure("LSD 0-1k dB", 2, -1, detail=True),
    "lsd_1k_db": Measure("LSD 1-4k dB", 2, -1, detail=True),
    "lsd_4k_db": Measure("LSD 4-8k dB", 2, -1, detail=True),
    "lsd_high_db": Measure("LSD >8k dB", 2, -1),
    "nr_high_db": Measure("reduction >8k dB", 1, 1),
    "level_db": Measure("level fall dB", 1, 0, reference=False, detail=True),
    "pause_db": Measure("pause fall dB", 1, 1, reference=False, detail=True),
    "out_dbfs": Measure("output dBFS", 1, 0, reference=False, detail=True),
    "lag": Measure("lag samples", 0, 0, detail=True),
    "wer": Measure("word errors", 3, -1, reference=False),
    "rtf": Measure("real-time factor", 3, -1, reference=False),
    "rtf_live": Measure("real-time factor live", 3, -1, reference=False),
}

ALL = tuple(MEASURES)
FAST = ("pesq", "estoi", "sisdr", "sig", "bak", "ovrl", "nr_db", "att_db")

Row = dict[str, float]


def score(
    clean: Signal | None,
    noisy: Signal,
    estimate: Signal,
    sample_rate: int,
    metrics: Collection[str] = FAST,
) -> Row:
    """Measure one clip.

    The estimate's latency is taken out, everything is brought to 16 kHz, and each measure
    follows its own module's definition.  The two above 8 kHz are taken at the clip's rate.

    Args:
        clean: The reference, mono, (samples,); None if there is none: only the measures
            that need no reference are taken then.
        noisy: The input, as long as `clean`.
        estimate: The output for it, about as long.
        sample_rate: Of all three, Hz.
        metrics: Names out of `MEASURES`.  `noise_removed`, `rtf` and `rtf_live` are the
            system's, not the signal's, and `wer` needs a transcript: these are left out, and
            `sordino.evaluate.sets.walk` adds them.

    Returns:
        The measures in the order of `MEASURES`; nan where one is undefined for this clip
        (PESQ without an utterance, noise reduction without a pause).

    Raises:
        SordinoError: An unknown measure, a missing library, signals that do not fit.
    """
    wanted = check_metrics(metrics)
    _check_signals(clean, noisy, estimate, sample_rate)
    row: Row = {}
    if clean is not None and sample_rate > 2 * HIGH_BAND:
        row |= _high_band(clean, noisy, estimate, sample_rate, wanted)
    n, e = (resample(x, sample_rate, RATE) for x in (noisy, estimate))
    if clean is not None:
        c = resample(clean, sample_rate, RATE)
        e, lag = m.align(c, e)
        row |= _with_reference(c, n, e, wanted) | {"lag": lag}
    row |= _without_reference(n, m.fit(e, len(n)), wanted)
    return {name: row[name] for name in MEASURES if name in row and name in wanted}


def check_metrics(metrics: Iterable[str]) -> frozenset[str]:
    """Return the measures asked for as a set.

    Raises:
        SordinoError: One of them is unknown, or a library that measures is not installed.
    """
    wanted = frozenset(metrics)
    if unknown := sorted(wanted - MEASURES.keys()):
        raise SordinoError(f"Unknown measure {unknown[0]!r}. There are: {', '.join(MEASURES)}.")
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise SordinoError(f"Evaluation needs {missing[0]}: {install_command('evaluate')}")
    return wanted


def _check_signals(clean: Signal | None, noisy: Signal, estimate: Signal, rate: int) -> None:
    for name, x in (("clean", clean), ("noisy", noisy), ("estimate", estimate)):
        if x is None:
            continue
        if x.ndim != 1:
            raise SordinoError(f"The {name} signal has shape {x.shape}; scores are of mono clips.")
        if not np.isfinite(x).all():
            raise SordinoError(f"The {name} signal holds NaN or infinity.")
    if len(noisy) < MIN_SECONDS * rate:
        raise SordinoError(f"A clip of {len(noisy)} samples is under {MIN_SECONDS} s.")
    if clean is not None and len(clean) != len(noisy):
        raise SordinoError(
            f"The clean signal has {len(clean)} samples and the noisy one {len(noisy)}."
        )


def _with_reference(clean: Signal, noisy: Signal, estimate: Signal, wanted: frozenset[str]) -> Row:
    from pystoi import stoi

    if not clean.any():  # nothing was said, so nothing of it can be measured
        return {name: float("nan") for name in wanted if MEASURES[name].reference}
    composites = wanted & {"csig", "cbak", "covl", "segsnr", "llr", "wss"}
    row: Row = {}
    if composites or "pesq" in wanted:
        row["pesq"] = pesq_wb(clean, estimate)
    if composites:
        row |= composite(clean, estimate, row["pesq"])
    simple: dict[str, Callable[[], Any]] = {
        "stoi": lambda: stoi(clean, estimate, RATE),
        "estoi": lambda: stoi(clean, estimate, RATE, extended=True),
        "sisdr": lambda: m.si_sdr(clean, estimate),
        "nr_db": lambda: m.noise_reduction(clean, noisy, estimate),
        "att_db": lambda: m.speech_attenuation(clean, estimate),
        "pesq_nb": lambda: pesq_nb(clean, estimate),
    }
    for name, (low, high) in LSD_BANDS.items():
        simple[name] = partial(m.log_spectral_distance, clean, estimate, low=low, high=high)
    return row | {name: float(f()) for name, f in simple.items() if name in wanted}


def _without_reference(noisy: Signal, estimate: Signal, wanted: frozenset[str]) -> Row:
    row: Row = {}
    if wanted & {"sig", "bak", "ovrl"}:
        row |= dnsmos_p835(estimate)
    if "p808" in wanted:
        row["p808"] = dnsmos_p808(estimate)
    if "level_db" in wanted:
        row["level_db"] = m.level_reduction(noisy, estimate)
    if "pause_db" in wanted:
        row["pause_db"] = m.level_reduction(noisy, estimate, quietest=0.2)
    if "out_dbfs" in wanted:
        row["out_dbfs"] = m.level_dbfs(estimate)
    return row


def _high_band(
    clean: Signal, noisy: Signal, estimate: Signal, rate: int, wanted: frozenset[str]
) -> Row:
    if not wanted & {"lsd_high_db", "nr_high_db"}:
        return {}
    aligned, _ = m.align(clean, estimate, rate)
    return {
        "lsd_high_db": m.log_spectral_distance(clean, aligned, rate, low=HIGH_BAND),
        "nr_high_db": m.band_noise_reduction(clean, noisy, aligned, rate, low=HIGH_BAND),
    }


def pesq_wb(clean: Signal, estimate: Signal) -> float:
    """Wideband PESQ (ITU-T P.862.2) of signals at 16 kHz.

    Returns:
        The bottom of the scale for a silent estimate, which would else be left out of a
        mean; nan if no utterance is found.
    """
    return _pesq(RATE, clean, estimate, "wb", PESQ_WB_MIN)


def pesq_nb(clean: Signal, estimate: Signal) -> float:
    """Narrowband PESQ (ITU-T P.862.1) of signals at 16 kHz, taken at 8 kHz.

    It suits telephone speech, which wideband PESQ marks down for what the line cuts off.

    Returns:
        As `pesq_wb`.
    """
    clean, estimate = (resample(x, RATE, NARROW_RATE) for x in (clean, estimate))
    return _pesq(NARROW_RATE, clean, estimate, "nb", PESQ_NB_MIN)


def _pesq(rate: int, clean: Signal, estimate: Signal, mode: str, lowest: float) -> float:
    from pesq import NoUtterancesError, pesq

    if not estimate.any():
        return lowest
    try:
        return float(pesq(rate, clean, estimate, mode))
    except NoUtterancesError:
        return float("nan")
