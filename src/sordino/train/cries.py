"""Calls of animals, made by the source-filter model: chirps and barks.

A buzz with a wandering pitch (a syrinx, vocal folds) goes through resonances (the tract above
them).  That is how speech is made, too (Fant, "Acoustic Theory of Speech Production", 1960), so
two kinds only are made that nobody takes for a person: chirps above the pitch of any voice, and
short rough barks.  Cries at a voice's pitch that glide and last are not noise here: they taught a
network to delete shouting and children.
"""

from dataclasses import dataclass

import numpy as np

from sordino.train.effects import modulate
from sordino.train.fourier import irfft, rfft
from sordino.train.levels import FloatArray, db
from sordino.train.noises import coloured, log_uniform
from sordino.train.textures import periodic, strew

Rng = np.random.Generator


@dataclass(frozen=True)
class Throat:
    """What one animal has to cry with.

    Attributes:
        pitch: Hz, of a call at rest.
        fall_db: dB per octave that the harmonics of its buzz fall by.
        rough: the buzz is uneven.
        breath: amplitude of its hiss; the buzz has about 1.
        resonances: Hz, width as a share of it, and height in dB of each.
    """

    pitch: float
    fall_db: float
    rough: bool
    breath: np.float32
    resonances: list[tuple[float, float, float]]

    @staticmethod
    def draw(rng: Rng, sample_rate: int) -> "Throat":
        """Any throat that is heard at a sample rate in Hz."""
        chirps = rng.random() < 0.6
        lowest, highest = (1200, min(4500, 0.15 * sample_rate)) if chirps else (120, 500)
        return Throat(
            pitch=log_uniform(rng, lowest, max(lowest, highest)),
            fall_db=rng.uniform(0, 9),
            rough=not chirps,
            breath=db(rng.uniform(-40, -6)),
            resonances=[
                (log_uniform(rng, 300, 9000), rng.uniform(0.05, 0.25), rng.uniform(6, 30))
                for _ in range(int(rng.integers(2, 7)))
            ],
        )

    def call(self, rng: Rng, seconds: float, sample_rate: int) -> FloatArray:
        """One call before the resonances, with a pitch that glides, breaks and trembles."""
        samples = int(seconds * sample_rate) + 1
        way = np.linspace(0, 1, samples)
        points = np.cumsum(rng.normal(0, [0.2, 0.35, 0.25, 0.25]))
        octaves = np.interp(way, [0, rng.uniform(0.05, 0.4), rng.uniform(0.5, 0.9), 1], points)
        octaves += rng.uniform(0, 0.05) * np.sin(2 * np.pi * rng.uniform(4, 30) * way * seconds)
        frequency = np.clip(self.pitch * 2**octaves, 40, 0.2 * sample_rate)
        turn = np.cumsum(frequency) / sample_rate
        x = periodic(rng, turn, (self.fall_db, self.fall_db + 2))
        if self.rough and rng.random() < 0.5:  # every second or third turn differs
            strength = rng.uniform(0.1, 1, int(rng.integers(2, 4))).astype(np.float32)
            x *= strength[turn.astype(np.int64) % len(strength)]
        elif self.rough:  # it flutters
            x = modulate(rng, x, sample_rate, rng.uniform(2, 8), log_uniform(rng, 0.01, 0.05))
        x += coloured(rng, samples, sample_rate, rng.uniform(-4, 2)) * (
            np.float32(10) * self.breath
        )
        attack, release = rng.uniform(0.02, 0.4), rng.uniform(0.05, 0.5)
        shape = np.minimum(1, np.minimum(way / attack, (1 - way) / release))
        return x * shape.astype(np.float32)

    def resound(self, x: FloatArray, sample_rate: int) -> FloatArray:
        """`x` through the resonances."""
        spectrum = rfft(x)
        hz = np.linspace(0, sample_rate / 2, len(spectrum), dtype=np.float32)
        gain_db = np.zeros(len(spectrum), np.float32)
        for centre, width, height in self.resonances:
            gain_db += height / (1 + ((hz / centre - 1) / width) ** 2)
        return irfft(spectrum * np.asarray(10 ** (gain_db / 20), np.float32), len(x))


def cries(rng: Rng, samples: int, sample_rate: int) -> FloatArray:
    """Chirping or barking: phrases of 1 to 5 calls, again and again.

    Args:
        rng: random numbers.
        samples: length.
        sample_rate: in Hz.
    """
    throat = Throat.draw(rng, sample_rate)
    seconds = log_uniform(rng, 0.04, 0.2 if throat.rough else 0.5)  # of a call
    phrases = []
    for _ in range(int(rng.integers(1, 4))):
        parts = []
        for _ in range(int(rng.integers(1, 6))):
            call = throat.call(rng, seconds * rng.uniform(0.5, 1.5), sample_rate)
            silence = np.zeros(int(rng.uniform(0, 0.15) * sample_rate), np.float32)
            parts += [silence, call * db(rng.uniform(-8, 0))]
        phrases.append(throat.resound(np.concatenate(parts), sample_rate))
    length = float(np.mean([len(phrase) for phrase in phrases])) / sample_rate
    return strew(rng, phrases, samples, sample_rate, length + log_uniform(rng, 0.1, 2), -10)
