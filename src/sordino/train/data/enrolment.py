"""Enrolment recordings: cuts of the training speech, their embeddings, and what a user's
microphone, room and noise make of them.

A table of cuts is an .npz file that `scripts/embed_voices.py` writes, one row a cut: `clip`
(path in the folder of speech), `label` (speaker, "" where unknown), `start` and `seconds`,
`embedding`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sordino.errors import SordinoError
from sordino.train.data.augment import band_limit, clip_peaks, random_eq
from sordino.train.data.codecs import draw_codec, through_codec
from sordino.train.data.corpus import ClipPool, Corpus
from sordino.train.data.mixing import random_numbers
from sordino.train.data.noise import excerpt
from sordino.train.data.rooms import draw_room
from sordino.train.data.signal import FloatArray, active_level, db, irfft, rfft
from sordino.voice.encoder import HOP, RATE, WINDOW, filterbank

Rng = np.random.Generator

NARROW = 4000.0  # Hz, the band of a telephone


@dataclass(frozen=True)
class EnrolmentConfig:
    """How enrolment recordings are drawn.  Probabilities are per recording.

    Attributes:
        table: .npz file of cuts with their embeddings.
        encoder: what these are embeddings of, as in `sordino.voice.encoder.VoiceEncoder.id`.
        seconds: length of what the encoder gets in training, s.
        noise: probability of noise.
        snr_db: dB, its range.
        talker: share of noises that are another speaker, in the background.
        room: probability of a room.
        eq: probability of a random equaliser.
        eq_db: dB, standard deviation of its curve.
        narrow: probability of the band of a telephone.
        codec: probability of a speech codec.
        clipping: probability of clipping.
    """

    table: str = ""
    encoder: str = ""
    seconds: tuple[float, float] = (1.5, 4.0)
    noise: float = 0.65
    snr_db: tuple[float, float] = (-2.0, 25.0)
    talker: float = 0.15
    room: float = 0.4
    eq: float = 0.6
    eq_db: float = 5.0
    narrow: float = 0.1
    codec: float = 0.03
    clipping: float = 0.05


@dataclass(frozen=True)
class Cuts:
    """The rows of a table.

    Attributes:
        number: of the clip in the pool of speech, shape = (cuts,).
        label: speaker, "" where unknown.
        start, seconds: where in the clip, s.
        embedding: of unit norm, shape = (cuts, 192).
    """

    number: NDArray[np.int64]
    label: Sequence[str]
    start: FloatArray
    seconds: FloatArray
    embedding: FloatArray

    @classmethod
    def load(cls, path: str | Path, speech: ClipPool) -> "Cuts":
        """Read a table; cuts of clips that the pool does not have are left out.

        Raises:
            SordinoError: it cannot be read, or has no cut of this speech.
        """
        try:
            with np.load(path) as file:
                table = {name: file[name] for name in ("clip", "label", "start", "seconds")}
                embedding = file["embedding"].astype(np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise SordinoError(
                f"cannot read the embeddings {path} ({error}); scripts/embed_voices.py makes them"
            ) from error
        place = {clip.path: number for number, clip in enumerate(speech.clips)}
        rows = [i for i, clip in enumerate(table["clip"]) if str(clip) in place]
        if not rows:
            raise SordinoError(f"{path} has no embedding of the recipe's speech; make it again")
        return cls(
            number=np.array([place[str(table["clip"][i])] for i in rows]),
            label=[str(table["label"][i]) for i in rows],
            start=table["start"][rows],
            seconds=table["seconds"][rows],
            embedding=embedding[rows] / np.linalg.norm(embedding[rows], axis=1, keepdims=True),
        )

    def by_label(self) -> dict[str, list[int]]:
        """Rows of each known speaker."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, label in enumerate(self.label):
            if label:
                rows[label].append(row)
        return dict(rows)


def distort(rng: Rng, x: FloatArray, corpus: Corpus, config: EnrolmentConfig) -> FloatArray:
    """What a recording becomes in some room, beside some noise, through some microphone.

    Args:
        rng: random numbers.
        x: at 16 kHz, shape = (samples,).
        corpus: noise and rooms; speech for other talkers.
        config: how.
    """
    size = len(x)
    gain = np.ones(size // 2 + 1, np.float32)
    if rng.random() < config.eq:
        gain = gain * random_eq(rng, size, RATE, config.eq_db)
    if rng.random() < config.narrow:
        gain = gain * band_limit(size, RATE, NARROW)
    response = gain.astype(np.complex64)
    if corpus.rirs is not None and rng.random() < config.room:
        room, _ = draw_room(rng, corpus.rirs, RATE, size, min(0.6, size / RATE), 0.05)
        response = response * rfft(room)
    y = irfft(rfft(x) * response, size)
    if rng.random() < config.noise:
        talker = rng.random() < config.talker
        pool = corpus.speech if talker else corpus.noise
        if pool is not None:
            noise = excerpt(rng, pool, pool.draw(rng), size, RATE)
            snr_db = rng.uniform(*config.snr_db) + (10 if talker else 0)
            level = active_level(noise, RATE)
            if level > -150:
                y += noise * db(active_level(y, RATE) - snr_db - level)
    if rng.random() < config.clipping:
        y = clip_peaks(y, rng.uniform(1, 12))
    if rng.random() < config.codec:
        y = through_codec(y / max(1.0, float(np.abs(y).max())), RATE, draw_codec(rng, (8, 24)))
    return y


class EncoderBatch(NamedTuple):
    """What the voice encoder learns from: distorted cuts, and the teacher's view of clean ones."""

    features: FloatArray  # (B, T, 80)
    teacher: FloatArray  # (B, 192)


class EncoderMixer:
    """Draws batches for the voice encoder.

    A speaker's share is the root of the number of cuts, so that few speak for many.

    Args:
        config: with the table of the teacher's embeddings.
        corpus: speech, and what disturbs it.

    Raises:
        SordinoError: there is no speech, or no table of it.
    """

    def __init__(self, config: EnrolmentConfig, corpus: Corpus) -> None:
        if corpus.speech is None:
            raise SordinoError("a voice encoder needs a folder of speech")
        self.config, self.corpus, self.speech = config, corpus, corpus.speech
        self.cuts = Cuts.load(config.table, corpus.speech)
        known = {label: len(rows) for label, rows in self.cuts.by_label().items()}
        share = np.array([known.get(label, 1) ** -0.5 for label in self.cuts.label])
        self._cumulative = np.cumsum(share) / share.sum()

    def batch(self, seed: int, index: int, size: int, first: int = 0) -> EncoderBatch:
        """Batch number `index` of the run `seed`, a pure function of its arguments.

        Args:
            seed: of the training run.
            index: number of the batch; all its cuts are equally long.
            size: examples.
            first: number of the first example, for processes that share a batch.
        """
        seconds = random_numbers(seed, index, 0).uniform(*self.config.seconds)
        frames = round(seconds * RATE / HOP)
        examples = [
            self._example(random_numbers(seed, index, 1 + first + i), frames) for i in range(size)
        ]
        features, teacher = zip(*examples, strict=True)
        return EncoderBatch(np.stack(features), np.stack(teacher))

    def _example(self, rng: Rng, frames: int) -> tuple[FloatArray, FloatArray]:
        cuts, samples = self.cuts, (frames - 1) * HOP + WINDOW
        row = int(min(np.searchsorted(self._cumulative, rng.random()), len(cuts.label) - 1))
        spare = max(0.0, float(cuts.seconds[row]) - samples / RATE)
        start = float(cuts.start[row]) + rng.uniform(0, spare)
        length = min(samples, round(float(cuts.seconds[row]) * RATE))
        x = self.speech.read(int(cuts.number[row]), RATE, start, length)
        # A short cut is heard again, as its length says nothing about the speaker.
        x = distort(rng, np.resize(x, samples), self.corpus, self.config)
        x = x * np.float32(0.05 / max(float(np.sqrt(np.mean(x * x))), 1e-6))
        return filterbank(x), cuts.embedding[row]
