"""Test conditions: the same set louder, by telephone, unmuted, after a warm-up, clean only.

A condition changes the input of a system.  Where a figure under a condition has a limit that holds
for every set, `CHECKS` has the limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.evaluate.dataset import MIXTURE, ROOM, Clip
from sordino.evaluate.metrics import level_dbfs, resample
from sordino.evaluate.results import RecordKey, rows_of
from sordino.evaluate.scores import MEASURES, NARROW_RATE, Row
from sordino.evaluate.statistics import Interval, bootstrap

MIN_BAND_HZ, MIN_LEVEL_DBFS, MAX_LEVEL_DBFS = 500.0, -100.0, 20.0
MAX_WARM_UP_SECONDS = 600.0
WARM_UP_SECONDS = 5.0  # of a warm start; `sordino denoise` has the same
WHOLE_CLIP = math.inf  # warm-up as long as the clip


class Stimulus(NamedTuple):
    """Input of a system under a condition, and the signals its output is compared with.

    Attributes:
        clean: The reference, if there is one.
        noisy: The recording.
        gain: Applied to the input; the output is divided by it before it is scored.
        lead: Precedes the recording; this part of the output is not scored.
    """

    clean: Mono | None
    noisy: Mono
    gain: float
    lead: Mono

    @property
    def given(self) -> Mono:
        """The input of the system: `lead` and `noisy`, times `gain`."""
        given = np.concatenate([self.lead, self.noisy]) if len(self.lead) else self.noisy
        return given if self.gain == 1 else self.gain * given

    def undo(self, output: Mono) -> Mono:
        """Remove lead and gain from the output of a system, so that it compares with `noisy`."""
        output = output[len(self.lead) :]
        return output if self.gain == 1 else output / self.gain


@dataclass(frozen=True)
class Condition:
    """A change of the input.

    Args:
        source: What the system gets of a clip: the noisy recording, its clean reference, the
            difference of the two, or digital silence of its length.
        level_dbfs: RMS level to which the input is brought.  Samples stay floats, so nothing
            is clipped; the gain is undone before the output is scored.
        band_hz: Cut-off frequency of the input and of the reference.
        muted_seconds: Length of digital silence before the clip, as from a muted microphone;
            it is not scored.
        warm_up_seconds: Length of the beginning of the clip, repeated if it is shorter, that
            the system gets before the clip; it is not scored.  `WHOLE_CLIP` is the clip once.
        metrics: Measures worth taking under this condition; empty for all wanted.
    """

    source: Literal["noisy", "clean", "noise", "silence"] = "noisy"
    level_dbfs: float | None = None
    band_hz: float | None = None
    muted_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        level, band, warm_up = self.level_dbfs, self.band_hz, self.warm_up_seconds
        if level is not None and not MIN_LEVEL_DBFS <= level <= MAX_LEVEL_DBFS:
            raise SordinoError(
                f"the level is {level} dBFS: expected {MIN_LEVEL_DBFS:g} to {MAX_LEVEL_DBFS:g}"
            )
        if band is not None and not MIN_BAND_HZ <= band < math.inf:
            raise SordinoError(f"the band ends at {band} Hz: expected {MIN_BAND_HZ:g} or more")
        if warm_up != WHOLE_CLIP and not 0 <= warm_up <= MAX_WARM_UP_SECONDS:
            raise SordinoError(
                f"the warm-up is {warm_up} s: expected 0 to {MAX_WARM_UP_SECONDS:g} seconds"
            )

    @property
    def name(self) -> str:
        """Name in records and reports; empty for the set as it is."""
        parts = [] if self.source == "noisy" else [f"{self.source} only"]
        parts += [] if self.level_dbfs is None else [f"{self.level_dbfs:g} dBFS"]
        parts += [] if self.band_hz is None else [f"up to {self.band_hz / 1000:g} kHz"]
        parts += [f"after {self.muted_seconds:g} s of silence"] if self.muted_seconds else []
        parts += [self._warm_up_name] if self.warm_up_seconds else []
        return ", ".join(parts)

    @property
    def _warm_up_name(self) -> str:
        seconds = self.warm_up_seconds
        return f"{'whole clip' if seconds == WHOLE_CLIP else f'{seconds:g} s'} of warm-up"

    @property
    def plain(self) -> bool:
        """Whether the system gets the noisy recording unchanged, cold or warm."""
        return self.source == "noisy" and not (
            self.level_dbfs is not None or self.band_hz is not None or self.muted_seconds
        )

    def fits(self, clip: Clip) -> bool:
        """Whether the condition applies to a clip.

        Only mixtures are changed; clean speech, noise alone and high voices of a set of
        several parts are measured as they are.  The difference of a reverberant recording and
        its reference holds speech besides noise: such clips (a `room` in META.csv) have no
        noise alone.
        """
        if not self.plain and clip.part != MIXTURE:
            return False
        if self.source in ("noisy", "silence"):
            return True
        return clip.clean is not None and not (self.source == "noise" and clip.traits.get(ROOM))

    def apply(self, clean: Mono | None, noisy: Mono, rate: int) -> Stimulus:
        """Return the input of a system for a clip.

        Args:
            clean: The reference, shape = (samples,), if there is one.
            noisy: The recording, shape = (samples,).
            rate: Sample rate of both, Hz.
        """
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
        warm_up = len(noisy)
        if self.warm_up_seconds != WHOLE_CLIP:
            warm_up = round(self.warm_up_seconds * rate)
        lead = np.concatenate([np.resize(noisy, warm_up), mute]) if warm_up else mute
        return Stimulus(clean, noisy, gain, lead)


AS_IS = Condition()
QUIET = Condition(level_dbfs=-50, metrics=("pesq", "estoi", "sisdr", "att_db"))
LOUD = Condition(level_dbfs=-6, metrics=QUIET.metrics)
TELEPHONE = Condition(band_hz=NARROW_RATE / 2, metrics=("pesq_nb", "estoi", "sisdr", "att_db"))
UNMUTED = Condition(muted_seconds=20, metrics=QUIET.metrics)
WARM = Condition(
    warm_up_seconds=WARM_UP_SECONDS,
    metrics=(*QUIET.metrics, "covl", "ovrl", "nr_db", "level_db", "level_loss_db"),
)
CLEAN = Condition("clean", metrics=("pesq", "sisdr", "att_db"))
WARM_CLEAN = Condition("clean", warm_up_seconds=WARM_UP_SECONDS, metrics=CLEAN.metrics)
NOISE = Condition("noise", metrics=("level_db",))
SILENCE = Condition("silence", metrics=("out_dbfs",))
CONDITIONS = {
    "quiet": QUIET,
    "loud": LOUD,
    "telephone": TELEPHONE,
    "unmuted": UNMUTED,
    "warm": WARM,
    "clean": CLEAN,
    "warm-clean": WARM_CLEAN,
    "noise": NOISE,
    "silence": SILENCE,
}


@dataclass(frozen=True)
class Goal:
    """A figure under a condition, and its limits on every set.

    Args:
        condition: The condition.
        measure: The figure.
        low: Lower limit of its mean.
        high: Upper limit of its mean.
        change: Whether it is the change from the unchanged set, clip by clip.
    """

    condition: Condition
    measure: str
    low: float = -math.inf
    high: float = math.inf
    change: bool = False

    @property
    def goal(self) -> str:
        """The limits as text.

        >>> Goal(CLEAN, "pesq", low=4.2).goal, Goal(LOUD, "pesq", -0.05, 0.05, True).goal
        ('at least 4.2', 'within 0.05')
        """
        if self.high == -self.low:
            return f"within {self.high:g}"
        return f"at least {self.low:g}" if self.high == math.inf else f"at most {self.high:g}"

    @property
    def title(self) -> str:
        """Title of the figure."""
        return MEASURES[self.measure].title + (", change" if self.change else "")

    def result(self, records: Mapping[RecordKey, Row], system: str) -> Interval | None:
        """Return the mean with its interval; None if nothing was measured."""
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
        """Whether a mean is within the limits."""
        return self.low <= mean <= self.high


CHECKS = (
    Goal(QUIET, "pesq", -0.05, 0.05, change=True),
    Goal(LOUD, "pesq", -0.05, 0.05, change=True),
    Goal(TELEPHONE, "att_db", high=1.5),
    Goal(UNMUTED, "pesq", low=-0.05, change=True),
    Goal(WARM, "pesq", low=-0.05, change=True),
    Goal(CLEAN, "pesq", low=4.2),
    Goal(WARM_CLEAN, "pesq", low=4.2),
    Goal(NOISE, "level_db", low=30),
    Goal(SILENCE, "out_dbfs", high=-100),
)


def _cut_off(x: Mono, rate: int, band_hz: float) -> Mono:
    narrow = round(2 * band_hz)
    if narrow >= rate:
        return x
    back = resample(resample(x, rate, narrow), narrow, rate)[: len(x)]
    return np.pad(back, (0, len(x) - len(back)))
