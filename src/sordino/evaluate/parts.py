"""Systems compared on each part of a set: by SNR, kind of noise, clean speech, noise, high voices.

The figure of the subject is set against that of the best other system, or of a chosen one, with a
paired bootstrap over clips.  A difference whose 95 % interval includes zero is no gain.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sordino.evaluate.conditions import CLEAN, NOISE, WARM_CLEAN, Condition
from sordino.evaluate.dataset import CLEAN as CLEAN_PART
from sordino.evaluate.dataset import HIGH_VOICE, MIXTURE, Clip, groups
from sordino.evaluate.dataset import NOISE as NOISE_PART
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import MEASURES
from sordino.evaluate.statistics import Interval, Statistic, bootstrap, paired_bootstrap
from sordino.evaluate.systems import UNPROCESSED

QUALITY = ("pesq", "sisdr", "estoi", "covl", "ovrl", "sig", "p808", "nr_db", "att_db")
OF_GROUPS = ("pesq", "sisdr", "estoi", "covl")
HIGH_SNR_DB = 15.0
BETTER, WORSE, EQUAL, UNSURE = "better", "worse", "no clear difference", "too few clips"
MIN_CLIPS = 5  # for a verdict


@dataclass(frozen=True)
class SetPart:
    """Clips of a set that are compared together, and the figures that matter for them.

    Args:
        name: Heading.
        clips: Names of the clips.
        measures: Figures, names from `MEASURES`.
        statistic: Over the clips.
        warm: Whether warm starts are reported besides cold ones.
        conditions: Test conditions that make the part out of mixtures; empty for none.
    """

    name: str
    clips: Sequence[str]
    measures: Sequence[str]
    statistic: Statistic = np.mean
    warm: bool = False
    conditions: Sequence[Condition] = ()


@dataclass(frozen=True)
class Comparison:
    """One figure of all systems on a part of a set.

    Attributes:
        part: Name of the part.
        start: ``cold``, ``warm`` or another condition.
        measure: Name from `MEASURES`.
        systems: Figure of each system; `Interval.files` is the number of clips.
        against: The system that the subject is compared with; empty if there is none.
        difference: Paired difference, subject less that system.
        verdict: ``better``, ``worse``, ``no clear difference``, or ``too few clips`` below 5.
    """

    part: str
    start: str
    measure: str
    systems: Mapping[str, Interval]
    against: str
    difference: Interval
    verdict: str


def compared(evaluation: Evaluation, versus: str | None = None) -> list[Comparison]:
    """Compare the subject of an evaluation with other systems on every part of the set.

    Args:
        evaluation: What was measured.
        versus: Name of the system to compare with; by default the best other one of each row.
    """
    found: list[Comparison] = []
    for part in parts(evaluation.clips):
        for start, condition in _starts(evaluation, part):
            for measure in part.measures:
                row = _compare(evaluation, part, start, condition, measure, versus)
                if row:
                    found.append(row)
    return found


def parts(clips: Sequence[Clip]) -> list[SetPart]:
    """Return the parts of a set, as far as META.csv tells them apart."""
    by_part = {
        name: {clip.name: clip.traits for clip in clips if clip.part == name}
        for name in (MIXTURE, CLEAN_PART, NOISE_PART, HIGH_VOICE)
    }
    mixtures = by_part[MIXTURE]
    found = [SetPart("mixtures", list(mixtures), QUALITY, warm=True)]
    snr = "snr_db" if any("snr_db" in each for each in mixtures.values()) else "snr"
    by_snr = groups(mixtures, snr)
    high = [clip for clip, each in mixtures.items() if _number(each.get(snr, "")) >= HIGH_SNR_DB]
    if len(by_snr) > 1:
        found += [SetPart(f"mixtures at {value} dB", by_snr[value], OF_GROUPS) for value in by_snr]
        found.append(SetPart(f"mixtures at {HIGH_SNR_DB:g} dB and above", high, OF_GROUPS))
    by_kind = groups(mixtures, "noise_kind")
    found += [
        SetPart(f"mixtures, {kind} noise", by_kind[kind], (*OF_GROUPS, "att_db"))
        for kind in by_kind
    ]
    found += [
        SetPart("clean speech", list(by_part[CLEAN_PART]), ("pesq", "att_db"), warm=True),
        SetPart("clean references", list(mixtures), ("pesq",), conditions=(CLEAN, WARM_CLEAN)),
        SetPart(
            "noise of the mixtures", list(mixtures), ("level_db",), np.median, conditions=(NOISE,)
        ),
    ]
    noises = {"": list(by_part[NOISE_PART]), **groups(by_part[NOISE_PART], "noise_kind")}
    found += [
        SetPart(
            f"noise alone, {kind}" if kind else "noise alone", noise, ("level_db",), np.median, True
        )
        for kind, noise in noises.items()
    ]
    for band, voices in groups(by_part[HIGH_VOICE], "f0_band").items():
        levels = {clip: by_part[HIGH_VOICE][clip].get("snr_db", "") for clip in voices}
        for level in sorted(set(levels.values()), key=_number, reverse=True):
            name = f"high voices {band} Hz, {f'{level} dB' if level else 'clean'}"
            chosen = [clip for clip in voices if levels[clip] == level]
            found.append(SetPart(name, chosen, ("level_loss_db",), warm=True))
    return [part for part in found if part.clips]


def _starts(evaluation: Evaluation, part: SetPart) -> Iterator[tuple[str, str]]:
    """Name the starts under which a part was measured, with the condition's name in records."""
    first = evaluation.conditions[0]
    for condition in evaluation.conditions:
        warm = condition.plain and condition.warm_up_seconds > 0
        start = "warm" if condition.warm_up_seconds else "cold"
        if part.conditions:
            if condition in part.conditions:
                yield start, condition.name
        elif condition is first:
            yield (start if condition.plain else condition.name), condition.name
        elif warm and part.warm:
            yield start, condition.name


def _compare(
    evaluation: Evaluation,
    part: SetPart,
    start: str,
    condition: str,
    measure: str,
    versus: str | None,
) -> Comparison | None:
    values = {
        name: {
            clip: row[measure]
            for clip, row in evaluation.rows(name, part.clips, condition).items()
            if not math.isnan(row.get(measure, math.nan))
        }
        for name in evaluation.names
    }
    systems = {
        name: bootstrap(each.values(), statistic=part.statistic)
        for name, each in values.items()
        if each
    }
    subject = evaluation.subject
    if subject not in systems:
        return None
    # Level reduction is neither good nor bad in general; of noise alone, more is better.
    sign = MEASURES[measure].better or 1
    against = _opponent(systems, subject, sign) if versus is None else versus
    theirs = values.get(against, {})
    difference = paired_bootstrap(
        ((value, theirs[clip]) for clip, value in values[subject].items() if clip in theirs),
        statistic=part.statistic,
    )
    verdict = EQUAL if difference.files >= MIN_CLIPS else UNSURE
    if verdict == EQUAL and difference.significant:
        verdict = BETTER if difference.mean * sign > 0 else WORSE
    return Comparison(part.name, start, measure, systems, against, difference, verdict)


def _opponent(systems: Mapping[str, Interval], subject: str, sign: int) -> str:
    """Return the best other system, or the unprocessed input where there is no other."""
    others: Iterable[str] = [name for name in systems if name not in (subject, UNPROCESSED)]
    unprocessed = UNPROCESSED if UNPROCESSED in systems and subject != UNPROCESSED else ""
    return max(others, key=lambda name: systems[name].mean * sign, default=unprocessed)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf if not text else -math.inf
