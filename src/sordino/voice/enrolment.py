"""Enrolment: from recordings of one person to an embedding, with checks that say what to fix.

A profile is made once and used for months, so a bad recording is refused with the reason.  Noise is
no reason: the voice encoder is trained with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import ArrayLike, NDArray

from sordino.arrays import Interleaved, Mono
from sordino.errors import SordinoError
from sordino.inference import MaskStream
from sordino.io.audiofile import explain, open_source
from sordino.model import load_model
from sordino.stft import FRAMES_PER_SECOND, StreamingAnalysis
from sordino.voice.encoder import VoiceEncoder

SENTENCES = (
    "The North Wind and the Sun were disputing which was the stronger, when a traveller came along "
    "wrapped in a warm cloak. They agreed that the one who first succeeded in making the traveller "
    "take his cloak off should be considered stronger than the other."
)
"""To be read aloud: 15 to 20 seconds that hold most sounds of English (after Aesop)."""

RATE = 16000  # Hz, at which speech is looked for
MIN_SPEECH_SECONDS = 3.0  # of all recordings together
MAX_SECONDS = 300.0  # of a recording
SPEECH = 0.5  # probability from which a frame is speech
MARGIN_FRAMES = 10  # around speech that are kept, too
MIN_LEVEL_DBFS = -55.0  # of the speech
FULL_SCALE = 0.99
MAX_CLIPPED = 0.001  # share of the samples at full scale
WINDOW_SECONDS = 3.0  # of speech, in which one voice is compared with another
ONE_VOICE = 0.4  # cosine similarity below which two parts are of two people; found on dev/voice

Recording = str | Path | tuple[ArrayLike, int]
"""A file, or samples and their rate in Hz; shape = (samples,) or (samples, channels)."""


@dataclass(frozen=True)
class Enrolled:
    """What recordings say about a voice.

    Args:
        embedding: of the voice, of unit norm.
        seconds: of speech in the recordings.
        encoder: what made the embedding.
    """

    embedding: NDArray[np.float32]
    seconds: float
    encoder: str


def enrol(recordings: Sequence[Recording], encoder: VoiceEncoder | None = None) -> Enrolled:
    """Embed one person's voice from recordings; they are averaged.

    Args:
        recordings: of the same person, with 3 s of speech at least, better 20 s.
        encoder: None is the packaged one.

    Raises:
        SordinoError: a recording cannot be read, clips or is too quiet, there is too little
            speech, or there is more than one voice.
    """
    if not recordings:
        raise SordinoError("there is no recording to enrol: give at least one")
    encoder = encoder or VoiceEncoder.load()
    speech = [_speech(each) for each in recordings]
    seconds = sum(len(each) for each in speech) / RATE
    if seconds < MIN_SPEECH_SECONDS:
        raise SordinoError(
            f"there are only {seconds:.1f} s of speech: {MIN_SPEECH_SECONDS:g} s are needed, and "
            "20 s serve best"
        )
    windows = [part for each in speech for part in _windows(each)]
    embeddings = np.stack([encoder.embed(part, RATE) for part in windows])
    if voice_similarity(embeddings) < ONE_VOICE:
        raise SordinoError(
            "there is more than one voice in it: record a place or a time where nobody else speaks"
        )
    weights = np.array([len(part) for part in windows], np.float32)
    mean = weights @ embeddings
    embedding = (mean / np.linalg.norm(mean)).astype(np.float32)
    return Enrolled(embedding, seconds, encoder.id)


def voice_similarity(embeddings: NDArray[np.float32]) -> float:
    """Return how alike the two most different voices among embeddings are, -1..1.

    The two that are farthest apart each gather those nearer to them; what counts is the cosine
    similarity of the two means, which is more reliable than that of any two short parts.

    Args:
        embeddings: of parts of the speech, each of length 1; shape = (parts, size).

    Returns:
        1 for fewer than two parts.

    >>> voice_similarity(np.eye(2, dtype=np.float32)), voice_similarity(np.eye(1, dtype=np.float32))
    (0.0, 1.0)
    """
    if len(embeddings) < 2:
        return 1.0
    similar = embeddings @ embeddings.T
    first, second = np.unravel_index(similar.argmin(), similar.shape)
    near = similar[first] >= similar[second]
    means = [embeddings[side].mean(0) for side in (near, ~near) if side.any()]
    if len(means) < 2:
        return 1.0
    return float(means[0] @ means[1] / (np.linalg.norm(means[0]) * np.linalg.norm(means[1])))


def speech_probabilities(samples: Mono) -> NDArray[np.float32]:
    """Estimate in which frames there is speech, with the packaged model.

    Args:
        samples: sound at 16 kHz.

    Returns:
        A probability for each whole frame of 10 ms, shape = (frames,).
    """
    model = load_model()
    stream = cast(MaskStream, model.open(1))
    spectra = StreamingAnalysis(model.stft(RATE), 1)(samples[None])
    parts: list[NDArray[np.float32]] = []
    for start in range(0, spectra.shape[1], FRAMES_PER_SECOND):
        stream.process(spectra[:, start : start + FRAMES_PER_SECOND])
        parts.append(stream.speech[0].copy())
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _speech(recording: Recording) -> Mono:
    """Return the speech in a recording, at 16 kHz.

    Raises:
        SordinoError: the recording is not fit for it.
    """
    name = str(recording) if isinstance(recording, str | Path) else "the recording"
    sound, rate = _samples(recording, name)
    if not np.isfinite(sound).all():
        raise SordinoError(f"{name} holds NaN or Inf: export it again")
    if len(sound) > MAX_SECONDS * rate:
        raise SordinoError(f"{name} is longer than {MAX_SECONDS:g} s: cut out where you speak")
    samples = sound[:, int(np.square(sound).sum(0).argmax())] if len(sound) else sound[:, 0]
    clipped = float(np.mean(np.abs(samples) >= FULL_SCALE)) if len(samples) else 0.0
    if clipped > MAX_CLIPPED:
        raise SordinoError(f"{name} is clipped (too loud): turn the microphone down")
    if rate != RATE:
        samples = soxr.resample(samples, rate, RATE)
    speaks = speech_probabilities(samples) >= SPEECH
    if not speaks.any():
        raise SordinoError(f"there is no speech in {name}: check the microphone")
    kept = np.convolve(speaks, np.ones(2 * MARGIN_FRAMES + 1), "same") > 0
    step = RATE // FRAMES_PER_SECOND
    # A frame sees what ends with it; the end of the sound has no frame of its own.
    speech = samples[: len(kept) * step][np.repeat(kept, step)[: len(samples)]]
    level = 10 * np.log10(np.mean(np.square(speech, dtype=np.float64)) + 1e-20)
    if level < MIN_LEVEL_DBFS:
        raise SordinoError(
            f"{name} is too quiet ({level:.0f} dBFS): speak nearer to the microphone, or turn it up"
        )
    return speech


def _samples(recording: Recording, name: str) -> tuple[Interleaved, int]:
    """Return a recording, shape = (samples, channels), and its rate in Hz."""
    if not isinstance(recording, str | Path):
        given, rate = recording
        sound = np.asarray(given, np.float32)
        return (sound[:, None] if sound.ndim == 1 else sound), rate
    try:
        with open_source(Path(recording)) as source:
            rate, blocks, count = source.info.sample_rate, list[Interleaved](), 0
            for block in source.blocks():
                blocks.append(block)
                count += len(block)
                if count > MAX_SECONDS * rate:
                    break
            return np.concatenate([np.zeros((0, source.info.channels), "f4"), *blocks]), rate
    except Exception as error:
        raise SordinoError(explain(error, name, "")) from error


def _windows(speech: Mono) -> list[Mono]:
    """Cut speech into parts of the same length, about 3 s."""
    count = max(1, round(len(speech) / (WINDOW_SECONDS * RATE)))
    return np.array_split(speech, count)
