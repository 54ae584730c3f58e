"""Mixtures for an enrolled voice: a target, other talkers, noise, and an enrolment.

Every few examples are those of the universal network, with a voice of zeros.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.train.data.augment import expand
from sordino.train.data.config import check_weights
from sordino.train.data.corpus import Corpus
from sordino.train.data.enrolment import Cuts, EnrolmentConfig
from sordino.train.data.mixing import MixConfig, Mixer, mix, random_numbers
from sordino.train.data.signal import FloatArray, active_level, db, good_size, irfft, rfft
from sordino.train.data.synth import overlay

Rng = np.random.Generator

KINDS = ("talkers_noise", "talkers", "noise", "alone", "absent")
KINDS_OF_TWO = ("talkers_noise", "talkers")  # in which the target and others speak
SWAP_PERIOD = 4  # examples of which one may be the mixture before it, for the other voice
ATTEMPTS = 1000  # to find a speaker with another utterance to enrol from
APART = 3.0  # s between the target's cut and one of the enrolment in the same recording
NEAREST = 0.05  # share of all speakers that are the nearest to a voice
GENDER = re.compile(r"-([FM])[a-z]?\d*$")  # in the label of a speaker: kathleen-F, so7001-Mc


@dataclass(frozen=True)
class TalkersConfig:
    """How mixtures for an enrolled voice are drawn.

    Attributes:
        universal: one example in so many is the universal network's; 0: none is.
        talkers_noise, talkers, noise, alone, absent: weights of the others: the target with other
            talkers and noise, with other talkers, with noise, alone; and the target absent, where
            others speak, half of the time in noise.
        two: probability of two other talkers.
        swapped: whether every third example with a voice is the mixture of the one before it, in
            which the other talker is the enrolled one: same sound, another answer, so that
            nothing but the voice tells what to keep.
        sir_db: dB, target over other talkers.
        same_gender: probability that another talker is of the target's gender,
        nearest: or one of the most similar voices, or else any other.
        farther: probability that other talkers are farther from the microphone.
        partial: probability that a talker begins or ends inside the example.
        enrolled: cuts that an enrolment is the mean of.
        cuts: that a speaker must have at least to be a target.
    """

    universal: int = 4
    talkers_noise: float = 0.35
    talkers: float = 0.20
    noise: float = 0.20
    alone: float = 0.05
    absent: float = 0.20
    two: float = 0.3
    swapped: bool = False
    sir_db: tuple[float, float] = (-5.0, 10.0)
    same_gender: float = 0.4
    nearest: float = 0.2
    farther: float = 0.7
    partial: float = 0.5
    enrolled: tuple[int, int] = (1, 4)
    cuts: int = 3

    def __post_init__(self) -> None:
        """Refuse weights by which nothing can be drawn."""
        check_weights("talkers", [(kind, getattr(self, kind)) for kind in KINDS])
        if self.swapped:
            check_weights("talkers.swapped", [(kind, getattr(self, kind)) for kind in KINDS_OF_TWO])


class TalkerBatch(NamedTuple):
    """Mixtures, what is to be kept of them, and whose voice it is."""

    noisy: FloatArray  # (B, N), |noisy| <= 1
    clean: FloatArray  # (B, N), early-reflection speech of the target at its level in the mixture
    sample_rate: int  # Hz
    bandwidth: FloatArray  # (B,), Hz; above it the target is unknown
    speech: FloatArray  # (B, T), T = N // hop; 1 where anybody speaks
    voice: FloatArray  # (B, 192), zeros: universal
    target: FloatArray  # (B, T); 1 where the target speaks
    mixture: NDArray[np.int64]  # (B,); examples with equal numbers are one mixture


class Speakers:
    """Who can be enrolled, and who is like whom.

    The gender of a speaker whose label does not tell is that of the nearer mean of those whose
    label does.

    Args:
        cuts: the table of embeddings.
        least: cuts that a target must have.

    Raises:
        SordinoError: fewer than two speakers have as many.
    """

    def __init__(self, cuts: Cuts, least: int) -> None:
        self.cuts = cuts
        self.rows = {
            label: rows
            for label, rows in cuts.by_label().items()
            if len({(cuts.number[row], cuts.start[row]) for row in rows}) >= least
        }
        self.labels = sorted(self.rows)
        if len(self.labels) < 2:
            raise SordinoError(
                f"too few speakers have {least} cuts in the table of embeddings: give more speech"
            )
        share = np.array([len(self.rows[label]) ** 0.5 for label in self.labels])
        self.share = share / share.sum()

    @cached_property
    def means(self) -> FloatArray:
        """Mean embedding of each speaker, of unit norm, shape = (speakers, 192)."""
        means = np.stack([self.cuts.embedding[self.rows[label]].mean(0) for label in self.labels])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    @cached_property
    def female(self) -> NDArray[np.bool_]:
        """Whether each speaker is female."""
        told = [GENDER.search(label) for label in self.labels]
        known: dict[str, list[int]] = {"F": [], "M": []}
        for number, match in enumerate(told):
            if match:
                known[match[1]].append(number)
        if not known["F"] or not known["M"]:
            return np.zeros(len(self.labels), bool)
        axis = self.means[known["F"]].mean(0) - self.means[known["M"]].mean(0)
        middle = 0.5 * (self.means[known["F"]].mean(0) + self.means[known["M"]].mean(0)) @ axis
        female = self.means @ axis > middle
        for letter, numbers in known.items():
            female[numbers] = letter == "F"
        return female

    def draw(self, rng: Rng) -> int:
        """Number of a random speaker."""
        return int(rng.choice(len(self.labels), p=self.share))

    def other(self, rng: Rng, speaker: int, config: TalkersConfig) -> int:
        """A row of another speaker: of the same gender, one of the nearest, or any."""
        kind, count = rng.random(), len(self.labels)
        if kind < config.same_gender:
            alike = np.flatnonzero(self.female == self.female[speaker])
        elif kind < config.same_gender + config.nearest:
            size = max(2, round(NEAREST * count))
            alike = np.argsort(-self.means @ self.means[speaker])[:size]
        else:
            alike = np.zeros(0, int)
        alike = alike[alike != speaker]
        if len(alike):
            return self.pick(rng, int(rng.choice(alike)))
        while True:  # those with too few cuts for a target, too
            row = int(rng.integers(len(self.cuts.label)))
            if self.cuts.label[row] != self.labels[speaker]:
                return row

    def pick(self, rng: Rng, speaker: int) -> int:
        """A random row of a speaker."""
        return int(rng.choice(self.rows[self.labels[speaker]]))

    def enrolment(
        self, rng: Rng, speaker: int, used: list[int], counts: tuple[int, int]
    ) -> FloatArray | None:
        """Embedding of a speaker from other utterances than some rows; None if there are none.

        Args:
            rng: random numbers.
            speaker: its number.
            used: rows that are heard in the mixture.
            counts: fewest and most cuts that are averaged.
        """
        rows = [r for r in self.rows[self.labels[speaker]] if all(self.apart(r, u) for u in used)]
        if not rows:
            return None
        count = min(len(rows), int(rng.integers(counts[0], counts[1] + 1)))
        mean = self.cuts.embedding[rng.choice(rows, count, replace=False)].mean(0)
        return mean / np.linalg.norm(mean)

    def apart(self, row: int, other: int) -> bool:
        """Whether two cuts are of different utterances."""
        cuts = self.cuts
        if cuts.number[row] != cuts.number[other]:
            return True
        first, second = sorted((row, other), key=lambda r: cuts.start[r])
        return bool(cuts.start[second] - cuts.start[first] - cuts.seconds[first] >= APART)


class Talk(NamedTuple):
    """What comes to the microphone, before what happens behind it."""

    noisy: FloatArray  # (N,)
    clean: FloatArray  # (N,), the target
    others: FloatArray  # (N,), other talkers, dry of late reflections
    bandwidth: float  # Hz
    voice: FloatArray  # (192,)
    other_bandwidth: float = 0.0  # Hz, and
    other_voice: FloatArray | None = None  # (192,) of the other talker, if it can be enrolled


class TalkerTarget(NamedTuple):
    """What the network should make of a mixture, for one voice."""

    noisy: FloatArray  # (N,)
    clean: FloatArray  # (N,)
    bandwidth: float  # Hz
    speech: FloatArray  # (T,)
    voice: FloatArray  # (192,)
    target: FloatArray  # (T,)


class TalkerMixer(Mixer):
    """Draws batches for an enrolled voice.

    Args:
        config: noise, rooms, levels and channels, as for the universal network.
        talkers: who speaks when.
        enrolment: with the table of embeddings.
        corpus: speech, noise and rooms.

    Raises:
        SordinoError: see `Mixer`, `Cuts` and `Speakers`.
    """

    def __init__(
        self, config: MixConfig, talkers: TalkersConfig, enrolment: EnrolmentConfig, corpus: Corpus
    ) -> None:
        super().__init__(config, corpus)
        if corpus.speech is None:
            raise SordinoError(
                "an enrolled voice is learnt from a folder of speech, not from pairs"
            )
        self.talkers, self.pool = talkers, corpus.speech
        self.speakers = Speakers(Cuts.load(enrolment.table, corpus.speech), talkers.cuts)
        weights = np.array([getattr(talkers, kind) for kind in KINDS])
        self.weights = weights / weights.sum()

    def batch(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, seed: int, index: int, size: int, first: int = 0
    ) -> TalkerBatch:
        """Batch number `index` of the run `seed`, see `Mixer.batch`."""
        rate = self.rate(seed, index)
        examples: list[TalkerTarget] = []
        pair: tuple[int, list[TalkerTarget]] = (-1, [])
        for number in range(first, first + size):
            swapped = self._swaps(number)
            mixture = number - swapped
            if pair[0] != mixture:
                pair = mixture, self._talk(random_numbers(seed, index, 1 + mixture), mixture, rate)
            examples.append(pair[1][int(swapped)])
        noisy, clean, bandwidth, speech, voice, target = zip(*examples, strict=True)
        return TalkerBatch(
            noisy=np.stack(noisy),
            clean=np.stack(clean),
            sample_rate=rate,
            bandwidth=np.array(bandwidth, np.float32),
            speech=np.stack(speech),
            voice=np.stack(voice),
            target=np.stack(target),
            mixture=np.array([n - self._swaps(n) for n in range(first, first + size)]),
        )

    def _universal(self, number: int) -> bool:
        """Whether an example of a batch is the universal network's."""
        every = self.talkers.universal
        return bool(every) and number % every == 0

    def _swaps(self, number: int) -> bool:
        """Whether an example is the mixture of the one before it, for the other voice."""
        whole = self.talkers.universal % SWAP_PERIOD == 0  # else a pair could be broken
        return self.talkers.swapped and whole and number % SWAP_PERIOD == 2

    def _talk(self, rng: Rng, number: int, rate: int) -> list[TalkerTarget]:
        """An example, and the same mixture for the other voice if the next one is that."""
        if self._universal(number):
            noisy, clean, bandwidth, speech = self._example(rng, rate)
            return [
                TalkerTarget(noisy, clean, bandwidth, speech, np.zeros(192, np.float32), speech)
            ]
        limit, codec = self._channel(rng, rate)
        both = self._swaps(number + 1)
        weights = self.weights * np.isin(KINDS, KINDS_OF_TWO) if both else self.weights
        talk = self.talk(rng, str(rng.choice(KINDS, p=weights / weights.sum())), rate, limit, both)
        parts = (talk.clean, talk.others)
        noisy, (clean, others), curve = self._captured(rng, talk.noisy, parts, rate, codec)
        target, other = self._activity(clean, curve, rate), self._activity(others, curve, rate)
        speech = np.maximum(target, other)
        answers = [TalkerTarget(noisy, clean, talk.bandwidth, speech, talk.voice, target)]
        if talk.other_voice is not None:
            answers.append(
                TalkerTarget(noisy, others, talk.other_bandwidth, speech, talk.other_voice, other)
            )
        return answers

    def talk(self, rng: Rng, kind: str, rate: int, limit: float, enrol_other: bool = False) -> Talk:
        """What comes to the microphone in an example of some kind.

        Args:
            rng: random numbers.
            kind: one of `KINDS`.
            rate: Hz.
            limit: bandwidth in Hz.
            enrol_other: whether there is one other talker, who can be enrolled as well.
        """
        config, speakers = self.config, self.speakers
        samples = round(config.seconds * rate)
        size = good_size(samples + round(config.room_seconds * rate))
        lead = size - samples
        for _ in range(ATTEMPTS):
            enrolled = speakers.draw(rng)
            row = speakers.pick(rng, enrolled)
            used = [] if kind == "absent" else [row]
            voice = speakers.enrolment(rng, enrolled, used, self.talkers.enrolled)
            second = self._second(rng, enrolled) if enrol_other else None
            if voice is not None and (second is not None or not enrol_other):
                break
        else:
            raise SordinoError(
                "the table of embeddings holds no second utterance of a speaker to enrol from: "
                "give more speech"
            )
        in_room = self.corpus.rirs is not None and rng.random() < config.room
        rooms = self._rooms(rng, size, rate) if in_room else [None, None]
        silence: FloatArray = np.zeros(samples, np.float32)
        clean, wet, others = silence, silence, silence.copy()
        bandwidth = limit
        if kind != "absent":
            clip = self.pool.clips[int(speakers.cuts.number[row])]
            bandwidth = min(limit, clip.bandwidth)
            clean, wet = self._voice(rng, row, size, rate, limit, rooms[0])
            clean, wet = clean[lead:], wet[lead:]
        noisy = wet
        if kind in ("talkers", "talkers_noise", "absent"):
            count = 2 if second is None and rng.random() < self.talkers.two else 1
            for _ in range(count):
                other = second[0] if second else speakers.other(rng, enrolled, self.talkers)
                dry, heard = (
                    x[lead:] for x in self._voice(rng, other, size, rate, limit, rooms[1])
                )
                gain = self._gain(rng, clean, dry, rate)
                others += dry * gain
                noisy = noisy + heard * gain
        with_noise = kind in ("noise", "talkers_noise") or (kind == "absent" and rng.random() < 0.5)
        if with_noise:
            label = speakers.labels[enrolled]
            noise, louder = self.background.draw(rng, size, rate, label)
            gain = self._filter(rng, size, rate, limit, config.noise_eq_db)
            noise = irfft(rfft(noise) * gain, size)[lead:]
            reference = clean if kind != "absent" else others
            snr = rng.normal(config.snr_mean_db - louder, config.snr_spread_db)
            noisy = noisy + mix(reference, noise, float(np.clip(snr, *config.snr_db)), rate)
        if second is None:
            return Talk(noisy, clean, others, bandwidth, voice)
        clip = self.pool.clips[int(speakers.cuts.number[second[0]])]
        return Talk(noisy, clean, others, bandwidth, voice, min(limit, clip.bandwidth), second[1])

    def _second(self, rng: Rng, enrolled: int) -> tuple[int, FloatArray] | None:
        """A row of another speaker, and the embedding of an enrolment from other utterances."""
        speakers = self.speakers
        row = speakers.other(rng, enrolled, self.talkers)
        label = str(speakers.cuts.label[row])
        if label not in speakers.rows:
            return None
        voice = speakers.enrolment(rng, speakers.labels.index(label), [row], self.talkers.enrolled)
        return None if voice is None else (row, voice)

    def _voice(
        self,
        rng: Rng,
        row: int,
        size: int,
        rate: int,
        limit: float,
        room: tuple[FloatArray, FloatArray] | None,
    ) -> tuple[FloatArray, FloatArray]:
        """A cut as target (early reflections, pauses made quiet) and as it is heard."""
        config, cuts = self.config, self.speakers.cuts
        seconds = float(cuts.seconds[row])
        x = self.pool.read(int(cuts.number[row]), rate, float(cuts.start[row]), int(seconds * rate))
        source = np.zeros(size, np.float32)
        spare = size - len(x)
        begin = int(rng.integers(min(0, spare), max(0, spare) + 1))
        overlay(source, x, begin)
        if rng.random() < self.talkers.partial:
            self._silence_part(rng, source, rate)
        spectrum = self._filter(rng, size, rate, limit, config.eq_db)
        whole, early = room or (None, None)
        signals: list[FloatArray] = []
        for depth, response in ((config.target_expand_db, early), (config.expand_db, whole)):
            gain = spectrum if response is None else spectrum * rfft(response)
            signals.append(irfft(rfft(expand(source, rate, depth)) * gain, size))
        return signals[0], signals[1]

    @staticmethod
    def _silence_part(rng: Rng, x: FloatArray, rate: int) -> None:
        """Silence before or after some time, with a fade of 10 ms."""
        at, fade = int(rng.uniform(0.3, 0.7) * len(x)), rate // 100
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        if rng.random() < 0.5:
            x[:at] = 0
            x[at : at + fade] *= ramp
        else:
            x[at:] = 0
            x[at - fade : at] *= ramp[::-1]

    def _rooms(self, rng: Rng, size: int, rate: int) -> list[tuple[FloatArray, FloatArray]]:
        """Two rooms, for the target and for others; mostly the drier one for the target."""
        pair = [self._room(rng, size, rate) for _ in range(2)]
        late = [float(np.sum((w - e) ** 2) / (np.sum(e**2) + 1e-9)) for w, e in pair]
        if late[0] > late[1]:
            pair.reverse()
        return pair if rng.random() < self.talkers.farther else pair[::-1]

    def _gain(self, rng: Rng, clean: FloatArray, other: FloatArray, rate: int) -> np.float32:
        """What brings another talker to a random level under the target."""
        level = active_level(other, rate)
        if level < -150:
            return np.float32(1)
        reference = active_level(clean, rate)
        if reference < -150:  # nobody to compare with
            return db(-25 - level - rng.uniform(0, 6))
        return db(reference - rng.uniform(*self.talkers.sir_db) - level)
