"""`sordino evaluate --voice`: how well an enrolled voice is kept and others go.

Four controls stand beside the model: the input, the universal model without a profile, the
enrolment of somebody else, and the oracle mask.  They reveal a constant gain, and a model that
ignores the profile.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sordino.arrays import Mono
from sordino.denoiser import Denoiser
from sordino.evaluate.metrics import RATE
from sordino.evaluate.results import write_csv
from sordino.evaluate.scores import pesq_wb
from sordino.evaluate.statistics import Interval, bootstrap
from sordino.evaluate.tables import Cell, Column, Table
from sordino.evaluate.voice_clips import BOTH, VoiceClip, measure, oracle
from sordino.model import Model, load_model
from sordino.voice import Voice
from sordino.voice.encoder import VoiceEncoder

if TYPE_CHECKING:
    from sordino.evaluate.voice_judge import Judge  # it needs PyTorch

INPUT, UNIVERSAL, RIGHT, WRONG, ORACLE = (
    "input",
    "universal",
    "enrolled",
    "wrong enrolment",
    "oracle mask",
)
SHORT, LONG, NOISY = "enrolled, 3 s", "enrolled, 10 s", "enrolled in noise at 5 dB"
MEASURES = {  # title and decimals
    "sisdri": ("SI-SDRi dB", 1),
    "pesq": ("PESQ", 2),
    "other_both_db": ("other, both dB", 1),
    "other_alone_db": ("other, alone dB", 1),
    "target_db": ("target dB", 1),
    "over_suppressed": ("over-suppressed %", 1),
    "confused": ("confused %", 0),
    "mistaken": ("mistaken %", 0),
}
NOTE = (
    "SI-SDRi, PESQ, confused, mistaken and 'other, both' where both speak; 'target' and "
    "'over-suppressed' where it is alone; dB of attenuation.  ± half of the bootstrap 95 % "
    "interval over pairs of speakers"
)
Row = dict[str, float]


@dataclass(frozen=True)
class Bar:
    """A goal for clips at 0 dB without noise.

    Attributes:
        text: what it asks for.
        goal: the number.
        above: whether the figure is to be above it, else below.
    """

    text: str
    goal: float
    above: bool


BARS = {
    "sisdri": Bar("SI-SDRi", 6.0, True),
    "right-wrong": Bar("SI-SDRi, right less wrong enrolment", 8.0, True),
    "other_alone_db": Bar("other alone, dB down", 15.0, True),
    "target_db": Bar("target alone, dB down", 1.0, False),
    "confused": Bar("confused, %", 10.0, False),
    "mistaken": Bar("mistaken, %", 10.0, False),
}


class VoiceEvaluation:
    """The figures of a model on a set.

    Args:
        clips: of the set.
        model: that keeps voices.
        judge: a speaker encoder that the model did not learn from, for "mistaken"; None: without.

    Raises:
        SordinoError: the model keeps no voices.
    """

    def __init__(
        self,
        clips: Sequence[VoiceClip],
        model: str | Path = "default-voice",
        judge: "Judge | None" = None,
    ) -> None:
        self.clips = list(clips)
        self._judge = judge
        self.measures = [name for name in MEASURES if judge or name != "mistaken"]
        """What is measured."""
        self._model, self._universal = load_model(model), load_model("default")
        self._encoder = VoiceEncoder.load()
        self.rows: dict[str, dict[str, Row]] = {}
        """System -> clip -> measures."""

    def run(self, advance: Callable[[], None] = lambda: None) -> None:
        """Measure all systems on all clips; `advance` is called after each clip."""
        for clip in self.clips:
            for name, estimate in self._estimates(clip).items():
                row = measure(clip, estimate)
                both = slice(BOTH.start * RATE, BOTH.stop * RATE)
                row["pesq"] = pesq_wb(clip.target[both], estimate[both])
                if self._judge:
                    target, other = clip.target[: both.stop], clip.others[both.start :]
                    heard = self._judge.nearer(estimate[both], target, other)
                    row["mistaken"] = 100.0 * (not heard)
                self.rows.setdefault(name, {})[clip.name] = row
            advance()

    def _estimates(self, clip: VoiceClip) -> dict[str, Mono]:
        enrolment = clip.enrolment
        noisy = in_noise(enrolment, 5.0)
        return {
            INPUT: clip.mixture,
            UNIVERSAL: self._denoised(clip, self._universal, None),
            RIGHT: self._denoised(clip, self._model, enrolment),
            WRONG: self._denoised(clip, self._model, self._wrong(clip).enrolment),
            SHORT: self._denoised(clip, self._model, enrolment[: 3 * RATE]),
            LONG: self._denoised(clip, self._model, enrolment[: 10 * RATE]),
            NOISY: self._denoised(clip, self._model, noisy),
            ORACLE: oracle(clip),
        }

    def _wrong(self, clip: VoiceClip) -> VoiceClip:
        """A clip whose target is the other talker of this one, else one who is not in it."""
        for wanted in ({clip.pair[1]}, {c.pair[0] for c in self.clips} - set(clip.pair)):
            for other in self.clips:
                if other.pair[0] in wanted:
                    return other
        return clip

    def _denoised(self, clip: VoiceClip, model: Model, enrolment: Mono | None) -> Mono:
        voice = None
        if enrolment is not None:
            voice = Voice(self._encoder.embed(enrolment, RATE), self._encoder.id)
        denoiser = Denoiser(model, RATE, voice=voice, voice_fallback=None)
        return np.concatenate([denoiser.feed(clip.mixture), denoiser.flush()])

    def interval(
        self, system: str, name: str, clips: Sequence[VoiceClip] | None = None
    ) -> Interval:
        """Mean of a measure with its bootstrap interval over pairs of speakers."""
        return self._over_pairs(lambda clip: self.rows[system][clip.name][name], clips)

    def right_less_wrong(self, clips: Sequence[VoiceClip] | None = None) -> Interval:
        """SI-SDR with the right enrolment less that with a wrong one."""
        right, wrong = self.rows[RIGHT], self.rows[WRONG]
        return self._over_pairs(
            lambda clip: right[clip.name]["sisdri"] - wrong[clip.name]["sisdri"], clips
        )

    def _over_pairs(
        self, value: Callable[[VoiceClip], float], clips: Sequence[VoiceClip] | None
    ) -> Interval:
        pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
        for clip in self.clips if clips is None else clips:
            pairs[clip.pair].append(value(clip))
        return bootstrap([float(np.nanmean(values)) for values in pairs.values()])

    def plain(self) -> list[VoiceClip]:
        """Clips at 0 dB without noise, which the bars are about."""
        return [
            clip
            for clip in self.clips
            if not clip.traits.get("noise") and float(clip.traits.get("sir_db") or 0) == 0
        ]


def in_noise(x: Mono, snr_db: float) -> Mono:
    """A recording in pink noise, always the same, at an SNR in dB."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=len(x)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), len(x))
    gain = np.sqrt(np.mean(x**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (x + gain * noise).astype(np.float32)


def summary(evaluation: VoiceEvaluation, column: str = "") -> Table:
    """A row for each system; with a column of META.csv, a section for each of its values."""
    rows: list[list[Cell]] = []
    sections: dict[int, str] = {}
    groups: dict[str, list[VoiceClip]] = defaultdict(list)
    for clip in evaluation.clips:
        groups[clip.traits.get(column) or "none" if column else ""].append(clip)
    for value, clips in sorted(groups.items()):
        if column:
            sections[len(rows)] = f"{column} {value}: {len(clips)} clips"
        for system in evaluation.rows:
            cells = [Cell(system)]
            for name in evaluation.measures:
                found = evaluation.interval(system, name, clips)
                cells.append(_figure(found, MEASURES[name][1]))
            rows.append(cells)
    columns = [Column("name", "system", True)]
    columns += [Column(name, MEASURES[name][0]) for name in evaluation.measures]
    pairs = len({clip.pair for clip in evaluation.clips})
    title = f"{len(evaluation.clips)} clips, {pairs} pairs of speakers"
    return Table(title, columns, rows, NOTE, sections)


def bars(evaluation: VoiceEvaluation) -> Table:
    """Which goals the enrolled model reaches on clips at 0 dB without noise."""
    clips = evaluation.plain()
    rows: list[list[Cell]] = []
    wanted = {k: v for k, v in BARS.items() if k not in MEASURES or k in evaluation.measures}
    for name, bar in wanted.items() if clips else ():
        found = (
            evaluation.right_less_wrong(clips)
            if name == "right-wrong"
            else evaluation.interval(RIGHT, name, clips)
        )
        reached = found.mean >= bar.goal if bar.above else found.mean <= bar.goal
        sign = ">=" if bar.above else "<="
        rows.append(
            [
                Cell(bar.text),
                Cell(f"{sign} {bar.goal:g}", value=bar.goal),
                _figure(found, 1),
                Cell("yes" if reached else "no", "strong" if reached else "bad", bool(reached)),
            ]
        )
    columns = [
        Column("bar", "bar", True),
        Column("goal", "goal"),
        Column("value", "value"),
        Column("reached", "reached"),
    ]
    return Table(f"Goals at 0 dB without noise: {len(clips)} clips", columns, rows)


def _figure(found: Interval, decimals: int) -> Cell:
    half = (found.high - found.low) / 2
    text = f"{found.mean:.{decimals}f}"
    return Cell(text if np.isnan(half) else f"{text} ± {half:.{decimals}f}", value=found.mean)


def write_figures(evaluation: VoiceEvaluation, path: Path) -> None:
    """Write one row for each system and clip, with the columns of META.csv."""
    traits = [name for name in evaluation.clips[0].traits if name != "name"]
    rows = [
        {"system": system, "clip": clip.name}
        | {name: clip.traits[name] for name in traits}
        | evaluation.rows[system][clip.name]
        for system in evaluation.rows
        for clip in evaluation.clips
    ]
    write_csv(path, ["system", "clip", *traits, *evaluation.measures], rows)


def tables(evaluation: VoiceEvaluation, by: Sequence[str] = ()) -> list[Table]:
    """The summary, the goals, and a summary for each column of META.csv in `by`."""
    first = [summary(evaluation), bars(evaluation)]
    return [*first, *(summary(evaluation, column) for column in by)]
