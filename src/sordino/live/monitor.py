"""What a live session reports: its status, levels, processor time and last seconds."""

import math
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sordino.arrays import Mono
from sordino.levels import NoiseMeter
from sordino.live.recorder import Recorder

State = Literal["active", "bypassed", "muted", "waiting", "idle"]

SILENCE_DBFS = -100.0
"""What the level meters show for digital silence."""

LEVEL_SECONDS = 0.1
TAKEN_SECONDS = 10.0  # the noise that is taken is measured over the last one to two of these
KEPT_SECONDS = 30.0
SPARE_SECONDS = 1.0  # may be overwritten while a reader copies


@dataclass(frozen=True)
class Status:
    """A snapshot of what a session is doing.

    Args:
        state: "active" (cleaning), "bypassed" (the sound passes as it is), "muted" (silence, by
            the user or because the microphone's own switch is off), "waiting" (a device is not
            there), or "idle" (no program records, and the microphone is closed).
        reason: why, in words for the user; "" if active with the model that the user chose.
        notice: what the user should know besides, while all works; "" if nothing.
        input_dbfs, output_dbfs: level (RMS) of the last 0.1 s in dB re full scale.
        taken_db: by how many dB the pauses are quieter; None if nothing was heard yet.
        speech_probability: that the newest frame holds speech, 0..1; None if the model does not
            estimate it, or does not run.
        voice: names of the only voices that are kept; "" keeps everybody.
        voice_probability: that one of them speaks in the newest frame, 0..1; None if there is none
            or it is not estimated.
        cpu_share: processor time of the whole process / time that went by, over the last second or
            more; 1 is all of one core.
        underruns: how often the output found no sound to play, since the start.
        model: name of the one in use now; "" while none is.
        strength: share of the noise that is removed, 0..1.
        latency_seconds: from the microphone to the output as far as known: device buffers,
            algorithm, ring buffers.
        input_name, output_name: of the devices, for people; "" while there is none.
        input_rate, output_rate: of the devices, in Hz; 0 while there is none.
        channel, channels: which channel of the input is used, counted from 1, and of how many;
            0 while there is none.
        seconds: of sound since the start.
        drift_ppm: by how much the output's clock runs slower than the input's, in parts per
            million, as compensated now.
    """

    state: State = "waiting"
    reason: str = ""
    notice: str = ""
    input_dbfs: float = SILENCE_DBFS
    output_dbfs: float = SILENCE_DBFS
    taken_db: float | None = None
    speech_probability: float | None = None
    voice: str = ""
    voice_probability: float | None = None
    cpu_share: float = 0.0
    underruns: int = 0
    model: str = ""
    strength: float = 1.0
    latency_seconds: float = 0.0
    input_name: str = ""
    output_name: str = ""
    input_rate: int = 0
    output_rate: int = 0
    channel: int = 0
    channels: int = 0
    seconds: float = 0.0
    drift_ppm: float = 0.0


class Recent(NamedTuple):
    """The last seconds of a session, noisy and clean, aligned to the sample."""

    noisy: Mono
    clean: Mono
    sample_rate: int
    """In Hz."""


class ProcessorUse:
    """Processor time of this process, all its threads, as a share of one core."""

    def __init__(self) -> None:
        self._since = time.perf_counter(), time.process_time()
        self._share = 0.0

    def share(self) -> float:
        """Return the share since the call a second or more ago that began the measurement."""
        wall, used = time.perf_counter(), time.process_time()
        seconds = wall - self._since[0]
        if seconds >= 1:
            self._share = (used - self._since[1]) / seconds
            self._since = wall, used
        return self._share


class Monitor:
    """Takes the noisy and the clean sound, aligned, from one thread; other threads read it.

    It outlives engines: when a device comes back, the sound before is still there.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.input_dbfs = self.output_dbfs = SILENCE_DBFS
        self.taken_db: float | None = None
        self.samples = 0
        """Taken since the start."""
        self.recorders: tuple[Recorder, ...] = ()
        self._kept = np.zeros((2, round((KEPT_SECONDS + SPARE_SECONDS) * sample_rate)), "f4")
        self._level_step = round(LEVEL_SECONDS * sample_rate)
        self._unmeasured = 0  # samples
        self._meters = [NoiseMeter(sample_rate), NoiseMeter(sample_rate)]
        self._metered = 0.0  # seconds in the younger meter

    def feed(self, noisy: Mono, clean: Mono) -> None:
        """Take a block of both."""
        self._keep(noisy, clean)
        for recorder in self.recorders:
            recorder.feed(noisy, clean)
        self._unmeasured += len(noisy)
        if self._unmeasured >= self._level_step:
            count = min(self._unmeasured, round(KEPT_SECONDS * self.sample_rate))
            self._unmeasured = 0
            self._measure(*self._last(count))

    def recent(self, seconds: float) -> tuple[Mono, Mono]:
        """Return the last seconds of noisy and clean sound, at most KEPT_SECONDS; as copies."""
        wanted = round(min(max(seconds, 0.0), KEPT_SECONDS) * self.sample_rate)
        return self._last(min(wanted, self.samples))

    def silence(self) -> None:
        """Show that no sound comes."""
        self.input_dbfs = self.output_dbfs = SILENCE_DBFS

    def _keep(self, noisy: Mono, clean: Mono) -> None:
        size = self._kept.shape[1]
        noisy, clean = noisy[-size:], clean[-size:]
        start = self.samples % size
        first = min(len(noisy), size - start)
        for row, sound in zip(self._kept, (noisy, clean), strict=True):
            row[start : start + first] = sound[:first]
            row[: len(sound) - first] = sound[first:]
        self.samples += len(noisy)

    def _last(self, count: int) -> tuple[Mono, Mono]:
        size = self._kept.shape[1]
        start = (self.samples - count) % size
        first = min(count, size - start)
        both = np.concatenate(
            [self._kept[:, start : start + first], self._kept[:, : count - first]], axis=1
        )
        return both[0], both[1]

    def _measure(self, noisy: Mono, clean: Mono) -> None:
        self.input_dbfs = _dbfs(noisy[-self._level_step :])
        self.output_dbfs = _dbfs(clean[-self._level_step :])
        for meter in self._meters:
            meter.feed(noisy[:, None], clean[:, None])
        self.taken_db = self._meters[0].taken_db
        self._metered += len(noisy) / self.sample_rate
        if self._metered >= TAKEN_SECONDS:
            self._metered = 0.0
            self._meters = [self._meters[1], NoiseMeter(self.sample_rate)]


def _dbfs(sound: Mono) -> float:
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    return max(SILENCE_DBFS, 10 * math.log10(power + 1e-30))
