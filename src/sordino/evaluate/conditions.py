"""The same set under other conditions: louder, over the telephone, unmuted, heard before, clean.

A condition changes what a system hears.  Where a figure under it has a limit that holds for
any set, the limit stands here as well (`CHECKS`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip
from sordino.evaluate.measures import MEASURES, NARROW_RATE, Row
from sordino.evaluate.metrics import Signal, level_dbfs
from sordino.evaluate.records import Key, rows_of
from sordino.evaluate.resampling import resample
from sordino.evaluate.summary import Interval, bootstrap
from sordino.evaluate.traits import ROOM

LOWEST_BAND, LOWEST_LEVEL, HIGHEST_LEVEL = 500.0, -100.0, 20.0  # Hz, dBFS, dBFS


class Heard(NamedTuple):
    """What a system gets, and what its output is compared with.

    Attributes:
        clean: the reference, if there is one.
        noisy: the recording.
        gain: of what the system gets; its output is divided by it before it is scored.
        lead: what the system gets first; that part of its output is not scored.
    """

    clean: Signal | None
    noisy: Signal
    gain: float
    lead: Signal

    @property
    def given(self) -> Signal:
        """What the system gets: `gain * noisy`, after `lead` as loud."""
        given = np.concatenate([self.lead, self.noisy]) if len(self.lead) else self.noisy
        return given if self.gain == 1 else self.gain * given

    def brought_back(self, output: Signal) -> Signal:
        """Return the output of a system as it is compared: what is of `noisy`, at its level."""
        output = output[len(self.lead) :]
        return output if self.gain == 1 else output / self.gain


@dataclass(frozen=True)
class Condition:
    """A change of the input.

    Args:
        source: What is heard of a clip: the noisy recording, its clean reference, the
            difference of the two, or digital silence of its length.
        level_dbfs: Level (root mean square) that the input is brought to.  Samples stay
            floats, so nothing is clipped; the output is brought back before it is scored.
        band_hz: The input, and the reference with it, is cut off above this.
        muted_seconds: So long the system hears digital silence first, as of a microphone that
            was muted; it is not scored.
        heard_before: Whether the system hears the clip twice and is scored on the second time,
            as in the middle of a meeting or of a long recording.
        metrics: What is worth measuring under it; empty for everything.
    """

    source: Literal["noisy", "clean", "noise", "silence"] = "noisy"
    level_dbfs: float | None = None
    band_hz: float | None = None
    muted_seconds: float = 0.0
    heard_before: bool = False
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no one can mean."""
        level, band = self.level_dbfs, self.band_hz
        if level is not None and not LOWEST_LEVEL <= level <= HIGHEST_LEVEL:
            raise SordinoError(
                f"the level is {level} dBFS: expected {LOWEST_LEVEL:g} to {HIGHEST_LEVEL:g}"
            )
        if band is not None and not band >= LOWEST_BAND:
            raise SordinoError(f"the band ends at {band} Hz: expected {LOWEST_BAND:g} or more")

    @property
    def name(self) -> str:
        """How records and reports call it; empty for the set as it is."""
        parts = [] if self.source == "noisy" else [f"{self.source} only"]
        parts += [] if self.level_dbfs is None else [f"{self.level_dbfs:g} dBFS"]
        parts += [] if self.band_hz is None else [f"up to {self.band_hz / 1000:g} kHz"]
        parts += [f"after {self.muted_seconds:g} s of silence"] if self.muted_seconds else []
        parts += ["heard before"] if self.heard_before else []
        return ", ".join(parts)

    def fits(self, clip: Clip) -> bool:
        """Whether a clip can be heard so.

        The difference of a reverberant recording and its reference holds speech, not noise
        only: such clips (a `room` in META.csv) are left out.
        """
        if self.source in ("noisy", "silence"):
            return True
        return clip.clean is not None and not (self.source == "noise" and clip.traits.get(ROOM))

    def hear(self, clean: Signal | None, noisy: Signal, rate: int) -> Heard:
        """Return what a system gets of a clip; all signals mono at `rate` Hz."""
        if self.source == "clean" and clean is not None:
            noisy = clean
        elif self.source == "noise" and clean is not None:
            clean, noisy = None, noisy - clean
        elif self.source == "silence":
            clean, noisy = None, np.zeros_like(noisy)
        if self.band_hz is not None:
            noisy = _cut_off(noisy, rate, self.band_hz)
            clean = None if clean is None else _cut_off(clean, rate, self.band_hz)
        gain = 1.0
        if self.level_dbfs is not None and noisy.any():
            gain = 10 ** ((self.level_dbfs - level_dbfs(noisy)) / 20)
        mute = np.zeros(round(self.muted_seconds * rate), noisy.dtype)
        lead = np.concatenate([noisy, mute]) if self.heard_before else mute
        return Heard(clean, noisy, gain, lead)


AS_IS = Condition()
QUIET = Condition(level_dbfs=-50, metrics=("pesq", "estoi", "sisdr", "att_db"))
LOUD = Condition(level_dbfs=-6, metrics=QUIET.metrics)
TELEPHONE = Condition(band_hz=NARROW_RATE / 2, metrics=("pesq_nb", "estoi", "sisdr", "att_db"))
UNMUTED = Condition(muted_seconds=20, metrics=QUIET.metrics)
KNOWN = Condition(heard_before=True, metrics=(*QUIET.metrics, "covl", "ovrl", "nr_db"))
CLEAN = Condition("clean", metrics=("pesq", "sisdr", "att_db"))
KNOWN_CLEAN = Condition("clean", heard_before=True, metrics=CLEAN.metrics)
NOISE = Condition("noise", metrics=("level_db",))
SILENCE = Condition("silence", metrics=("out_dbfs",))
CONDITIONS = (QUIET, LOUD, TELEPHONE, UNMUTED, KNOWN, CLEAN, KNOWN_CLEAN, NOISE, SILENCE)


@dataclass(frozen=True)
class Check:
    """A figure under a condition, and the limits that it has to keep on any set.

    Args:
        condition: Under which it is taken.
        measure: Which figure.
        low, high: The limits of its mean.
        change: Whether the figure is the change against the set as it is, clip by clip.
    """

    condition: Condition
    measure: str
    low: float = -math.inf
    high: float = math.inf
    change: bool = False

    @property
    def goal(self) -> str:
        """The limits in words.

        >>> Check(CLEAN, "pesq", low=4.2).goal, Check(LOUD, "pesq", -0.05, 0.05, True).goal
        ('at least 4.2', 'within 0.05')
        """
        if self.high == -self.low:
            return f"within {self.high:g}"
        return f"at least {self.low:g}" if self.high == math.inf else f"at most {self.high:g}"

    @property
    def title(self) -> str:
        """The figure in words."""
        return MEASURES[self.measure].title + (", change" if self.change else "")

    def result(self, records: Mapping[Key, Row], system: str) -> Interval | None:
        """Return the mean and its interval; None if nothing was measured."""
        rows = rows_of(records, system, self.condition.name)
        plain = rows_of(records, system) if self.change else {}
        values = [
            row[self.measure] - (plain[clip][self.measure] if self.change else 0)
            for clip, row in rows.items()
            if self.measure in row and (not self.change or self.measure in plain.get(clip, {}))
        ]
        interval = bootstrap(values)
        return interval if interval.files else None

    def holds(self, mean: float) -> bool:
        """Whether a mean keeps the limits."""
        return self.low <= mean <= self.high


CHECKS = (
    Check(QUIET, "pesq", -0.05, 0.05, change=True),
    Check(LOUD, "pesq", -0.05, 0.05, change=True),
    Check(TELEPHONE, "att_db", high=1.5),
    Check(UNMUTED, "pesq", low=-0.05, change=True),
    Check(KNOWN, "pesq", low=-0.05, change=True),
    Check(CLEAN, "pesq", low=4.2),
    Check(KNOWN_CLEAN, "pesq", low=4.2),
    Check(NOISE, "level_db", low=30),
    Check(SILENCE, "out_dbfs", high=-100),
)


def _cut_off(x: Signal, rate: int, band_hz: float) -> Signal:
    narrow = round(2 * band_hz)
    if narrow >= rate:
        return x
    back = resample(resample(x, rate, narrow), narrow, rate)[: len(x)]
    return np.pad(back, (0, len(x) - len(back)))
