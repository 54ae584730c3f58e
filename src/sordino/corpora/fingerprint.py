"""Acoustic fingerprints: the same recording is found again at another level, rate or codec.

Source: Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sordino.arrays import Mono
from sordino.train.data.decode import resample

RATE = 8000  # Hz
FRAME = 2960  # samples, 0.37 s
HOP = 93  # samples, 11.6 ms
BANDS = np.geomspace(300.0, 2000.0, 34)  # Hz, edges of 33 bands
SECONDS = 8.0  # from the beginning of the sound
INDEXED = 8  # every 8th word is looked up
MIN_HITS = 3  # words in common, at one shift, before two clips are compared
MIN_WORDS = 32  # that overlap, for a comparison to mean anything
MAX_ERRORS = 0.25  # share of bits that differ; unrelated sounds differ in half of them

Words = NDArray[np.uint32]


def fingerprint(x: Mono, rate: int) -> Words:
    """Return one word of 32 bits every 11.6 ms of the first seconds of a sound.

    A bit says whether the difference between two neighbouring bands grew since the frame before.

    Args:
        x: one channel; silence before the sound has to be cut off.
        rate: sample rate in Hz.
    """
    y = resample(np.ascontiguousarray(x[: round(SECONDS * rate)], np.float32), rate, RATE)
    if len(y) < FRAME + HOP:
        return np.zeros(0, np.uint32)
    frames = sliding_window_view(y, FRAME)[::HOP] * np.hanning(FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.round(BANDS * FRAME / RATE).astype(int)
    energy = np.add.reduceat(power, edges, axis=1)[:, :-1]
    across = energy[:, :-1] - energy[:, 1:]
    bits = np.diff(across, axis=0) > 0
    return (bits @ (1 << np.arange(32, dtype=np.uint64))).astype(np.uint32)


def find_duplicates(digests: Sequence[str], prints: Sequence[Words]) -> dict[int, int]:
    """Find recordings that are there more than once.

    Args:
        digests: of the samples; equal ones are the same recording.
        prints: fingerprints of the same recordings.

    Returns:
        Number of a recording -> number of the first one like it.
    """
    first: dict[str, int] = {}
    same: dict[int, int] = {}
    for number, digest in enumerate(digests):
        if first.setdefault(digest, number) != number:
            same[number] = first[digest]
    return same | _alike(prints, same)


def _alike(prints: Sequence[Words], known: dict[int, int]) -> dict[int, int]:
    """Find recordings whose fingerprints agree, among those that are not known as duplicates."""
    left = [number for number in range(len(prints)) if number not in known]
    words = np.concatenate([prints[n][::INDEXED] for n in left] or [np.zeros(0, np.uint32)])
    counts = [len(prints[n][::INDEXED]) for n in left]
    owners = np.repeat(np.array(left, np.int64), counts)
    places = np.concatenate([np.arange(count) * INDEXED for count in counts] or [np.zeros(0)])
    order = np.argsort(words, kind="stable")
    words, owners, places = words[order], owners[order], places[order].astype(np.int64)
    same: dict[int, int] = {}
    for number in left:
        other = _best(number, prints, words, owners, places)
        if other is not None:
            same[number] = same.get(other, other)
    return same


def _best(
    number: int,
    prints: Sequence[Words],
    words: Words,
    owners: NDArray[np.int64],
    places: NDArray[np.int64],
) -> int | None:
    """Return the earlier recording that this one repeats, if there is one."""
    own = prints[number]
    votes: Counter[tuple[int, int]] = Counter()
    left, right = np.searchsorted(words, own, "left"), np.searchsorted(words, own, "right")
    for place in np.flatnonzero((right > left) & (own != 0)):  # digital silence says nothing
        hits = slice(left[place], min(right[place], left[place] + 100))
        for owner, there in zip(owners[hits], places[hits], strict=True):
            if owner < number:
                votes[int(owner), int(there - place)] += 1
    for (owner, shift), count in votes.most_common(3):
        if count >= MIN_HITS and _errors(own, prints[owner], shift) < MAX_ERRORS:
            return owner
    return None


def _errors(a: Words, b: Words, shift: int) -> float:
    """Return the share of bits that differ where `a`, `shift` words later, overlaps `b`."""
    first = max(0, -shift)
    count = min(len(a) - first, len(b) - max(0, shift))
    if count < MIN_WORDS:
        return 1.0
    differ = a[first : first + count] ^ b[max(0, shift) : max(0, shift) + count]
    return float(np.bitwise_count(differ).sum()) / (32 * count)
