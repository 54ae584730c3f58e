"""Excerpts: what is heard of the clips of a pool, as it is or put together anew."""

import numpy as np

from sordino.train.corpus import Pool
from sordino.train.handling import thump
from sordino.train.levels import FloatArray, active_level, db
from sordino.train.noises import log_uniform, overlay

Rng = np.random.Generator


def excerpt(rng: Rng, pool: Pool, number: int, samples: int, sample_rate: int) -> FloatArray:
    """A random stretch of a clip; one shorter than that is repeated with small pauses."""
    seconds, clip = samples / sample_rate, pool.clips[number]
    if clip.seconds >= seconds:
        start = rng.uniform(0, clip.seconds - seconds)
        return pool.read(number, sample_rate, start, samples)
    once = pool.read(number, sample_rate)
    x = np.zeros(samples, np.float32)
    at = -int(rng.integers(0, max(1, len(once))))
    while at < samples:
        overlay(x, once, at)
        at += len(once) + int(rng.uniform(0.05, 0.5) * sample_rate)
    return x


def scatter(
    rng: Rng, pool: Pool, number: int, samples: int, sample_rate: int, close: bool = False
) -> FloatArray:
    """The short sounds of a clip at random times: single key strokes become typing.

    Sounds of other clips with the same label come in too, so that a folder of single
    strokes, one a file, makes typing as well.

    Args:
        rng: random numbers.
        pool: of noise.
        number: of a clip with events.
        samples: length of what is returned.
        sample_rate: in Hz.
        close: the microphone stands on the same table, which every stroke shakes.
    """
    kin = pool.kin(number)
    x = np.zeros(samples, np.float32)
    mean_gap = log_uniform(rng, 0.05, 0.8)  # seconds between sounds
    knock = thump(rng, sample_rate) * db(rng.uniform(-18, 0)) if close else None
    at = rng.exponential(mean_gap) - 0.2
    while at < samples / sample_rate:
        clip = pool.clips[number]
        start, stop = clip.events[int(rng.integers(len(clip.events)))]
        sound = pool.read(number, sample_rate, start, int((stop - start) * sample_rate))
        sound = sound * db(rng.uniform(-6, 0))
        stroke = stop - start <= 0.35  # seconds; longer sounds, a bark, are no strokes
        overlay(x, sound, round(at * sample_rate))
        if knock is not None and stroke:
            overlay(x, knock * np.abs(sound).max(initial=0.0), round(at * sample_rate))
        # A long sound is heard out; strokes may overlap as they do on a keyboard.
        at += rng.exponential(mean_gap) + (0.03 if stroke else stop - start)
        number = int(kin[int(rng.integers(len(kin)))])
    return x


def babble(
    rng: Rng, speech: Pool, avoid: str, samples: int, sample_rate: int, wide: bool
) -> FloatArray:
    """4 to 10 speakers at once, each within 4 dB of the others; none of them is `avoid`."""
    x = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(4, 11))):
        voice = other_voice(rng, speech, avoid, samples, sample_rate, wide)
        level = active_level(voice, sample_rate)
        if level > -60:
            x += voice * db(rng.uniform(-4, 0) - 25 - level)
    return x


def other_voice(
    rng: Rng, speech: Pool, avoid: str, samples: int, sample_rate: int, wide: bool
) -> FloatArray:
    """An excerpt of another speaker than `avoid`; silence where four draws gave no other."""
    for _ in range(4):
        number = speech.draw(rng, wide)
        if not avoid or speech.clips[number].label != avoid:
            return excerpt(rng, speech, number, samples, sample_rate)
    return np.zeros(samples, np.float32)
