"""What can be measured (`MEASURES`), and all of it for one clip (`score`)."""

# No types: pystoi and pesq.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from sordino.arrays import Mono
from sordino.errors import SordinoError, install_command
from sordino.evaluate import metrics as m
from sordino.evaluate.composite import composite
from sordino.evaluate.dnsmos import dnsmos_p808, dnsmos_p835
from sordino.evaluate.metrics import RATE, resample

HIGH_BAND = 8000.0  # Hz; figures taken at 16 kHz do not see what lies above
MIN_SECONDS = 0.5  # below this PESQ and STOI are undefined
NARROW_RATE = 8_000  # Hz; the rate of PESQ-NB
PESQ_WB_MIN = 1.0427  # MOS-LQO of the raw score -0.5, ITU-T P.862.2 equation 1
PESQ_NB_MIN = 1.0168  # the same by ITU-T P.862.1
# Longest clip, s, that PESQ gets in one piece.  Its C code has room for 50 utterances and writes
# beyond it without a check.  An utterance and the pause after it take 0.4 s at least, so 15 s
# are safe whatever they hold; ITU-T P.862.3 recommends 8 to 12 s of speech per measurement.
PESQ_SECONDS = 15.0
CUT_SECONDS = 0.5  # how far a cut may move to find a pause
LSD_BANDS = {  # Hz
    "lsd_db": (0, math.inf),
    "lsd_0k_db": (0, 1000),
    "lsd_1k_db": (1000, 4000),
    "lsd_4k_db": (4000, math.inf),
}
LIBRARIES = ("pesq", "pystoi", "speechmos", "librosa", "threadpoolctl")


@dataclass(frozen=True)
class Measure:
    """Title and meaning of one figure.

    Attributes:
        title: Column heading, with the unit.
        decimals: Digits printed.
        better: 1 if higher is better, -1 if lower is, 0 if neither.
        reference: Whether it needs the clean signal.
        detail: Whether summary tables leave it out because other columns say it better.
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
    "level_loss_db": Measure("level loss dB", 1, -1, detail=True),
    "noise_removed": Measure("noise energy removed", 3, 1),
    "lsd_db": Measure("LSD dB", 2, -1),
    "lsd_0k_db": Measure("LSD 0-1k dB", 2, -1, detail=True),
    "lsd_1k_db": Measure("LSD 1-4k dB", 2, -1, detail=True),
    "lsd_4k_db": Measure("LSD 4-8k dB", 2, -1, detail=True),
    "lsd_high_db": Measure("LSD >8k dB", 2, -1),
    "nr_high_db": Measure("reduction >8k dB", 1, 1),
    "level_db": Measure("level reduction dB", 1, 0, reference=False, detail=True),
    "pause_db": Measure("pause reduction dB", 1, 1, reference=False, detail=True),
    "out_dbfs": Measure("output dBFS", 1, 0, reference=False, detail=True),
    "lag": Measure("lag samples", 0, 0, detail=True),
    "wer": Measure("word error rate", 3, -1, reference=False),
    "rtf": Measure("real-time factor", 3, -1, reference=False),
    "rtf_live": Measure("real-time factor live", 3, -1, reference=False),
}

ALL = tuple(MEASURES)
FAST = ("pesq", "estoi", "sisdr", "sig", "bak", "ovrl", "nr_db", "att_db")

Row = dict[str, float]


def score(
    clean: Mono | None,
    noisy: Mono,
    estimate: Mono,
    sample_rate: int,
    metrics: Collection[str] = FAST,
) -> Row:
    """Measure one clip.

    The latency of the estimate is removed and everything is resampled to 16 kHz.  The two
    measures above 8 kHz are taken at the clip's own rate.

    Args:
        clean: The reference, mono, shape = (samples,); None if there is none: then only
            measures without a reference are taken.
        noisy: The input, shape = (samples,).
        estimate: The output, about as long as the input.
        sample_rate: Sample rate of all three, Hz.
        metrics: Names from `MEASURES`.  `noise_removed`, `rtf` and `rtf_live` describe the
            system and not the signal, and `wer` needs a transcript: these are skipped here
            and added by `sordino.evaluate.runner`.

    Returns:
        The measures in the order of `MEASURES`; nan where one is undefined for this clip
        (PESQ without an utterance, noise reduction without a pause).

    Raises:
        SordinoError: An unknown measure, a missing library, signals that do not match.
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
    """Return the wanted measures as a set.

    Raises:
        SordinoError: One of them is unknown, or a library is not installed.
    """
    wanted = frozenset(metrics)
    if unknown := sorted(wanted - MEASURES.keys()):
        raise SordinoError(f"Unknown measure {unknown[0]!r}. There are: {', '.join(MEASURES)}.")
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise SordinoError(f"Evaluation needs {missing[0]}: {install_command('evaluate')}")
    return wanted


def _check_signals(clean: Mono | None, noisy: Mono, estimate: Mono, rate: int) -> None:
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


def _with_reference(clean: Mono, noisy: Mono, estimate: Mono, wanted: frozenset[str]) -> Row:
    from pystoi import stoi

    if not clean.any():  # no speech, so no figure about it
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
        "level_loss_db": lambda: m.level_loss(clean, noisy, estimate),
        "pesq_nb": lambda: pesq_nb(clean, estimate),
    }
    for name, (low, high) in LSD_BANDS.items():
        simple[name] = partial(m.log_spectral_distance, clean, estimate, low=low, high=high)
    return row | {name: float(f()) for name, f in simple.items() if name in wanted}


def _without_reference(noisy: Mono, estimate: Mono, wanted: frozenset[str]) -> Row:
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


def _high_band(clean: Mono, noisy: Mono, estimate: Mono, rate: int, wanted: frozenset[str]) -> Row:
    if not wanted & {"lsd_high_db", "nr_high_db"}:
        return {}
    aligned, _ = m.align(clean, estimate, rate)
    return {
        "lsd_high_db": m.log_spectral_distance(clean, aligned, rate, low=HIGH_BAND),
        "nr_high_db": m.band_noise_reduction(clean, noisy, aligned, rate, low=HIGH_BAND),
    }


def pesq_wb(clean: Mono, estimate: Mono) -> float:
    """Wideband PESQ (ITU-T P.862.2) of signals at 16 kHz.

    Clips above 15 s are cut at pauses into parts of equal length, and the mean over the parts
    is returned: the P.862 software has room for 50 utterances only and crashes beyond.

    Args:
        clean: The reference, shape = (samples,).
        estimate: The output, aligned and as long.

    Returns:
        The bottom of the scale for a silent estimate, so that it counts in a mean over clips;
        nan if no utterance is found.
    """
    return _pesq(RATE, clean, estimate, "wb", PESQ_WB_MIN)


def pesq_nb(clean: Mono, estimate: Mono) -> float:
    """Narrowband PESQ (ITU-T P.862.1) of signals at 16 kHz, taken at 8 kHz.

    It suits telephone speech, for whose narrow band wideband PESQ gives low scores.

    Returns:
        As `pesq_wb`.
    """
    clean, estimate = (resample(x, RATE, NARROW_RATE) for x in (clean, estimate))
    return _pesq(NARROW_RATE, clean, estimate, "nb", PESQ_NB_MIN)


def _pesq(rate: int, clean: Mono, estimate: Mono, mode: str, lowest: float) -> float:
    scores: list[float] = []
    weights: list[int] = []
    for part in _parts(clean, rate):
        score_of_part = _pesq_of_part(rate, clean[part], estimate[part], mode, lowest)
        if not math.isnan(score_of_part):
            scores.append(score_of_part)
            weights.append(part.stop - part.start)
    return float(np.average(scores, weights=weights)) if scores else float("nan")


def _pesq_of_part(rate: int, clean: Mono, estimate: Mono, mode: str, lowest: float) -> float:
    from pesq import NoUtterancesError, pesq

    if not clean.any():
        return float("nan")
    if not estimate.any():
        return lowest
    try:
        return float(pesq(rate, clean, estimate, mode))
    except NoUtterancesError:
        return float("nan")


def _parts(clean: Mono, rate: int) -> Iterator[slice]:
    """Cut a clip at its quietest moments into the fewest equal parts that PESQ can take."""
    if len(clean) <= PESQ_SECONDS * rate:
        yield slice(0, len(clean))
        return
    reach, size = round(CUT_SECONDS * rate), round(m.FRAME_SECONDS * rate)
    count = math.ceil(len(clean) / (PESQ_SECONDS * rate - 2 * reach))
    start = 0
    for k in range(1, count):
        middle = k * len(clean) // count
        near = clean[middle - reach : middle + reach].astype(np.float64)
        power = np.convolve(near**2, np.ones(size), "valid")
        cut = middle - reach + int(np.argmin(power)) + size // 2
        yield slice(start, cut)
        start = cut
    yield slice(start, len(clean))
