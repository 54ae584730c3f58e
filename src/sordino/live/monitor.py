"""What is known of the sound that went by: levels, the last seconds, recordings."""

import math

import numpy as np

from sordino.arrays import Mono
from sordino.levels import NoiseMeter
from sordino.live.recorder import Recorder

SILENCE_DBFS = -100.0
"""What the level meters show for digital silence."""

LEVEL_SECONDS = 0.1
TAKEN_SECONDS = 10.0  # the noise that is taken is measured over the last one to two of these
KEPT_SECONDS = 30.0
SPARE_SECONDS = 1.0  # may be overwritten while a reader copies


class Monitor:
    """Takes the noisy and the clean sound, aligned, from one thread; others ask.

    It outlives engines: when a device comes back, what was heard before is still there.

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
