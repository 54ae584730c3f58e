"""Keeping enrolled voices only: a stream through a network for them, and its watchdog.

The network takes an embedding beside the spectrum, and tells with each frame whether that voice
speaks (`target`).  `VoiceStream` runs it for one or several voices; `VoiceWatchdog` notices when
people speak and none of them is enrolled, so that a wrong profile never silences a meeting.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Self

import numpy as np

from sordino.inference import Array, MaskNetwork, MaskStream
from sordino.stft import FRAMES_PER_SECOND, Spectra

FALLBACK_SECONDS = 6.0  # of speech without the enrolled voice
FADE_SECONDS = 1.0  # from the enrolled voices to everybody, and back
DECISION_FRAMES = 50  # between two decisions of the watchdog
FOREGROUND_DB = 6.0  # people farther away than the enrolled voice are quieter by more than this
LEVEL_SHARE = 0.02  # of a new frame in the level of the enrolled voice
RETURN_RATIO = 5.0  # a second of the enrolled voice offsets this many without it
PRESENT = 0.5  # probability


@dataclass(frozen=True, eq=False)
class VoiceFilter:
    """Which voices to keep, and how.

    Args:
        embeddings: of the voices, shape = (voices, 192).
        others_db: other voices are attenuated by at most this many dB; None is no limit.
        fallback_seconds: of speech without an enrolled voice, after which everybody is kept until
            one is heard again; None is never.
    """

    embeddings: Array
    others_db: float | None = None
    fallback_seconds: float | None = FALLBACK_SECONDS


class VoiceWatchdog:
    """Notices that people speak, but not the enrolled voice.

    It counts the seconds of speech without that voice.  The voice itself counts down, five times
    as fast, so that a few frames that were taken for it change nothing.  Once the voice has been
    heard, speech that is quieter than it by more than 6 dB does not count: that is somebody
    farther away, whom the profile is there to remove.

    Args:
        seconds: of speech without the voice until it counts as missing.

    >>> watchdog = VoiceWatchdog(1.0)
    >>> for _ in range(100):
    ...     watchdog.update(speech=0.9, target=0.1, power=1.0)
    >>> watchdog.missing
    True
    """

    def __init__(self, seconds: float) -> None:
        self.missing = False
        """Whether the voice has not been heard for too long."""
        self._limit = seconds
        self._seconds = 0.0
        self._level_db: float | None = None  # of the enrolled voice

    def update(self, speech: float, target: float, power: float) -> None:
        """Take a frame.

        Args:
            speech: probability that anybody speaks.
            target: probability that the enrolled voice speaks.
            power: of the frame.
        """
        if speech < PRESENT:
            return
        level_db = 10 * log10(power + 1e-20)
        step = 1 / FRAMES_PER_SECOND
        if target >= PRESENT:
            known = level_db if self._level_db is None else self._level_db
            self._level_db = known + LEVEL_SHARE * (level_db - known)
            self._seconds = max(0.0, self._seconds - RETURN_RATIO * step)
        elif self._level_db is None or level_db > self._level_db - FOREGROUND_DB:
            self._seconds = min(self._limit, self._seconds + step)
        # The tolerance makes up for rounding in sums of 0.01.
        if self._seconds > self._limit - step / 2:
            self.missing = True
        elif self._seconds < self._limit / 2:
            self.missing = False


class VoiceStream:
    """One stream through a `MaskNetwork` that keeps one or several enrolled voices.

    Several voices are several people at one microphone.  The network is run for each of them in
    one batch, and each bin gets the mask that attenuates least, the one with the largest
    |1 - mask|.  A bin belongs to whoever is loudest in it; the mask of that person keeps it, and
    all other masks would remove it.  An average of the masks would remove half of each voice, and
    an average of the embeddings is the embedding of nobody.

    With `others_db`, the strength is held below 1 - 10^(-others_db / 20) in frames in which
    somebody else speaks, by the probability of that: speech * (1 - target).  It is the attenuation
    limit of `Denoiser` in those frames alone; noise is still taken out in full where nobody speaks.

    When the watchdog reports that the voices are missing, the network is also run for any voice
    (with zeros for it), and the output fades over to that within a second.  The watchdog
    decides twice a second, at the same frames for any block size.  Only while everybody is kept
    does a step cost more.

    Args:
        network: with the output `target`.
        channels: of the sound.
        strength: share of the noise that is removed, 0..1; settable while running.
        voices: to keep.
    """

    delay_frames = 0

    def __init__(
        self, network: MaskNetwork, channels: int, strength: float, voices: VoiceFilter
    ) -> None:
        self.strength = strength
        self.speech_probability: float | None = 0.0
        self.target_probability = 0.0
        """That an enrolled voice speaks in the newest frame, in any channel."""
        self.missing_seconds = 0.0
        """How long the enrolled voices have been missing altogether."""
        self._network, self._channels, self._voices = network, channels, voices
        self._watchdog = VoiceWatchdog(voices.fallback_seconds or FALLBACK_SECONDS)
        self._universal = False  # whether the network is run for any voice, too
        self._falls_back = False  # whether the sound fades over to that, or back
        self._share = 0.0  # of the universal mask in the last frame
        self._frames = 0  # since the last decision
        self._conditions = np.repeat(network.condition(voices.embeddings), channels, axis=0)
        self._stream = MaskStream(network, len(self._conditions), 1.0, self._conditions)
        kept = 0.0 if voices.others_db is None else 10 ** (-voices.others_db / 20)
        self._kept = np.float32(kept)  # share of other voices that stays

    @property
    def voice_missing(self) -> bool:
        """Whether people speak, and no enrolled voice has been heard for some seconds."""
        return self._watchdog.missing

    @property
    def keeps_everybody(self) -> bool:
        """Whether it does as without a profile, because no enrolled voice is heard."""
        return self._universal

    def restart_watchdog(self) -> None:
        """Reset the watchdog; the state of the network stays."""
        self._watchdog = VoiceWatchdog(self._voices.fallback_seconds or FALLBACK_SECONDS)
        self.missing_seconds = 0.0

    def process(self, spectra: Spectra) -> Spectra:
        """Take frames and return what is to be removed from them.

        Shape: (channels, frames, bins), in and out.
        """
        frames = spectra.shape[1]
        if frames == 1:
            return self._taken(spectra, self._stream.process(self._repeated(spectra)))
        noises: list[Spectra] = []
        start = 0
        while start < frames:
            part = spectra[:, start : start + DECISION_FRAMES - self._frames]
            start += part.shape[1]
            noises.append(self._taken(part, self._stream.process(self._repeated(part))))
        if not noises:
            return spectra
        return noises[0] if len(noises) == 1 else np.concatenate(noises, 1)

    def flush(self) -> Spectra:
        """Return nothing: no frame waits here."""
        return np.zeros((self._channels, 0, 0), np.complex64)

    def batch_key(self, spectra: Spectra) -> Hashable:
        """Streams of one network with as many frames of as many bins may share a run.

        One that has to decide in the middle of its frames runs alone.

        Shape: (channels, frames, bins).
        """
        decides = self._frames + spectra.shape[1] > DECISION_FRAMES
        return VoiceStream, self._network, spectra.shape[1:], id(self) if decides else None

    @classmethod
    def process_together(cls, streams: Sequence[Self], spectra: Sequence[Spectra]) -> list[Spectra]:
        """Run the network once: the channels of all streams and voices are its batch.

        Shape: of each stream, (channels, frames, bins).
        """
        noises = MaskStream.process_together(
            [each._stream for each in streams],
            [each._repeated(own) for each, own in zip(streams, spectra, strict=True)],
        )
        each_stream = zip(streams, spectra, noises, strict=True)
        return [stream._taken(own, noise) for stream, own, noise in each_stream]

    @property
    def _rows(self) -> int:
        """How often the network is run."""
        return len(self._voices.embeddings) + self._universal

    def _repeated(self, spectra: Spectra) -> Spectra:
        return spectra if self._rows == 1 else np.concatenate([spectra] * self._rows)

    def _taken(self, spectra: Spectra, noises: Spectra) -> Spectra:
        """Return what is to be removed, of the noise for each voice; up to the next decision."""
        count, (channels, frames, _) = len(self._voices.embeddings), spectra.shape
        speech, logits = self._stream.speech, self._stream.target
        assert logits is not None
        if self._rows > 1:
            noises = noises.reshape(self._rows, *spectra.shape)
            speech = speech.reshape(self._rows, channels, frames)[:count].max(0)
            logits = logits.reshape(self._rows, channels, frames)[:count].max(0)
            taken = noises[0] if count == 1 else least_attenuating(spectra, noises[:count])
        else:
            taken = noises
        target = sigmoid(logits)
        if self._kept:
            strength = np.minimum(self.strength, 1 - self._kept * speech * (1 - target))
            taken = taken * strength[..., None]
        elif self.strength != 1:
            taken = taken * np.float32(self.strength)
        if self._universal:
            shares = self._shares(frames)
            taken = taken + shares[None, :, None] * (self.strength * noises[count] - taken)
        self._watch(spectra, _most(speech), _most(target))
        return taken

    def _shares(self, frames: int) -> Array:
        """Return the share of the universal mask in the next frames."""
        step = (1 if self._falls_back else -1) / (FADE_SECONDS * FRAMES_PER_SECOND)
        shares = self._share + step * np.arange(1, frames + 1, dtype=np.float32)
        shares = shares.clip(0, 1)
        self._share = float(shares[-1])
        return shares

    def _watch(self, spectra: Spectra, speech: Array, target: Array) -> None:
        """Note who speaks, and decide if it is time to."""
        self.speech_probability, self.target_probability = float(speech[-1]), float(target[-1])
        parts = spectra.view(np.float32)
        powers = _most(np.einsum("cfk,cfk->cf", parts, parts))
        for each in zip(speech.tolist(), target.tolist(), powers.tolist(), strict=True):
            self._watchdog.update(*each)
            self.missing_seconds += self._watchdog.missing / FRAMES_PER_SECOND
        self._frames = (self._frames + spectra.shape[1]) % DECISION_FRAMES
        if not self._frames:
            self._decide()

    def _decide(self) -> None:
        """Run the network for any voice, too, or no longer, as the watchdog says."""
        self._falls_back = self._watchdog.missing and self._voices.fallback_seconds is not None
        universal = self._falls_back or self._share > 0
        if universal == self._universal:
            return
        self._universal = universal
        rows = list(range(len(self._voices.embeddings) * self._channels))
        voice = self._conditions
        if universal:  # it takes over the state of the first voice, which is near its own
            rows += range(self._channels)
            voice = np.concatenate([voice, np.zeros_like(voice[: self._channels])])
        self._stream = self._stream.with_channels(rows, voice)


def _most(values: Array) -> Array:
    """Return the largest value of all channels; shape = (channels, frames) to (frames,)."""
    return values[0] if len(values) == 1 else values.max(0)


def least_attenuating(spectra: Spectra, noises: Spectra) -> Spectra:
    """Return in each bin the noise that leaves the most of it.

    Args:
        spectra: shape = (channels, frames, bins).
        noises: in them for each voice, shape = (voices, channels, frames, bins).

    >>> spectra = np.ones((1, 1, 2), np.complex64)
    >>> least_attenuating(spectra, np.array([[[[0.9, 0.1]]], [[[0.2, 0.8]]]], np.complex64)).real
    array([[[0.2, 0.1]]], dtype=float32)
    """
    best = np.abs(spectra - noises).argmax(0)
    return np.take_along_axis(noises, best[None], 0)[0]


def sigmoid(logits: Array) -> Array:
    """Return the probability of logits of any shape; by tanh, which does not overflow.

    >>> sigmoid(np.float32([-500, 0, 500])).tolist()
    [0.0, 0.5, 1.0]
    """
    return (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32, copy=False)
