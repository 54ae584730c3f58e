"""The best model that the processor can keep up with, from moment to moment.

When a model is too slow, the next one takes over; after the last, no model runs and the sound
passes as it is.  After a while the better one is tried again, in a thread of its own whose
output is not used.  Each failed trial doubles the time to the next one, so that the sound does
not change to and fro.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue

import numpy as np

from sordino.arrays import Mono
from sordino.denoiser import Denoiser
from sordino.model import Model
from sordino.voice import VoiceChoice

WINDOW_SECONDS = 0.5  # over which the load is judged
OVERLOAD = 0.9  # share of the time at which a model is too slow
SPARE = 0.7  # share below which a better model may take over
TRIAL_SECONDS = 1.0
CATCH_UP_SECONDS = 0.02  # a trial may be so far behind when it takes over
FIRST_PAUSE, MAX_PAUSE = 4.0, 64.0  # seconds between two trials
STEADY_SECONDS = 60.0  # after which an overload counts as the first one again


def processing_delay(denoiser: Denoiser) -> int:
    """Return the delay in samples of a denoiser that is fed whole frames of 10 ms."""
    native = denoiser.sample_rate in denoiser.model.info.native_rates
    return denoiser.latency_samples - (denoiser.sample_rate // 100 if native else 0)


class DelayLine:
    """Gives back as many samples as it takes, later.

    Args:
        delay: in samples.

    >>> line = DelayLine(2)
    >>> line(np.float32([1, 2, 3])).tolist(), line(np.float32([4])).tolist()
    ([0.0, 0.0, 1.0], [2.0])
    """

    def __init__(self, delay: int) -> None:
        self._inside = np.zeros(delay, np.float32)

    def __call__(self, samples: Mono, count: int | None = None) -> Mono:
        """Take samples and return the oldest `count`; by default as many as came in."""
        count = len(samples) if count is None else count
        sound = np.concatenate([self._inside, samples])
        self._inside = sound[count:]
        return sound[:count]


class AlignedDenoiser:
    """A denoiser whose output is as long as its input and delayed by a constant time.

    Args:
        denoiser: for mono sound.
        delay: of the output in samples, at least `processing_delay(denoiser)`.
    """

    def __init__(self, denoiser: Denoiser, delay: int) -> None:
        self.denoiser = denoiser
        self._line = DelayLine(delay)

    def process(self, block: Mono) -> Mono:
        """Take whole frames of 10 ms and return as many samples."""
        return self._line(self.denoiser.feed(block), len(block))


class Trial:
    """A denoiser in a thread of its own, to see whether the processor keeps up with it.

    Its output is not used, so that being too slow does no harm.

    Args:
        aligned: fresh.
        sample_rate: in Hz.
    """

    def __init__(self, aligned: AlignedDenoiser, sample_rate: int) -> None:
        self.aligned = aligned
        self.sent_seconds = 0.0
        """Duration of the sound that it was given."""
        self.busy_seconds = 0.0
        """Time that it worked on the sound that is done."""
        self.done_seconds = 0.0
        self._rate, self._ended = sample_rate, False
        self._blocks: SimpleQueue[Mono | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="trial", daemon=True)
        self._thread.start()

    @property
    def behind_seconds(self) -> float:
        """Duration of the sound that it was given and has not done yet."""
        return self.sent_seconds - self.done_seconds

    def send(self, block: Mono) -> None:
        """Give it the next block."""
        self.sent_seconds += len(block) / self._rate
        self._blocks.put(block)

    def end(self) -> None:
        """Let its thread end, after the block that it works on; without waiting for it."""
        self._ended = True
        self._blocks.put(None)

    def finish(self) -> AlignedDenoiser:
        """Wait until all is done and return the denoiser, which goes on where the trial was."""
        self._blocks.put(None)
        self._thread.join()
        return self.aligned

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None and not self._ended:
            start = time.perf_counter()
            self.aligned.process(block)
            self.busy_seconds += time.perf_counter() - start
            self.done_seconds += len(block) / self._rate


class LoadMeter:
    """Time that a thread works / duration of the sound, over the last seconds.

    The part of the first window that is still to come counts as idle, so that one slow step
    at the beginning is no overload.

    Args:
        seconds: length of the window.

    >>> load = LoadMeter(1.0)
    >>> load.add(0.5, work=0.2)
    >>> load.share
    0.2
    """

    def __init__(self, seconds: float) -> None:
        self._window = seconds
        self._steps: deque[tuple[float, float]] = deque()
        self._sound = self._work = 0.0

    @property
    def share(self) -> float:
        """From 1 on it cannot keep up."""
        return self._work / max(self._sound, self._window)

    def add(self, sound: float, work: float) -> None:
        """Take the seconds of sound and of work of a step."""
        self._steps.append((sound, work))
        self._sound += sound
        self._work += work
        while self._sound - self._steps[0][0] >= self._window:
            sound, work = self._steps.popleft()
            self._sound -= sound
            self._work -= work


class ModelFallback:
    """Runs one of several models, and steps down and up between them.

    Args:
        models: the best one first.
        sample_rate: of the sound in Hz.
        realtime: if False, the first model is used however slow it is.
        voices: to be kept by the models that can.
    """

    def __init__(
        self,
        models: Sequence[Model],
        sample_rate: int,
        realtime: bool = True,
        voices: VoiceChoice | None = None,
    ) -> None:
        self._voices = voices or VoiceChoice()
        self._models, self._rate, self._realtime = models, sample_rate, realtime
        self.delay = max(
            processing_delay(self._make_denoiser(level)) for level in range(len(models))
        )
        """Delay of all output in samples, whatever runs."""
        self.level = 0
        """Of the model in use, 0 is the best; len(models): none."""
        self._denoiser: AlignedDenoiser | None = self._make_aligned(0)
        self._fresh = self.delay  # samples that the denoiser has taken
        self._trial: Trial | None = None
        self._pause = FIRST_PAUSE
        self._waited = 0.0  # seconds since the last step or trial
        self._strength: float = 1.0
        self._limit: float | None = None  # see `Denoiser.attenuation_limit_db`
        self._has_stepped_up = False  # recently, so that a new overload doubles the pause
        self._load = LoadMeter(WINDOW_SECONDS)

    @property
    def model(self) -> str:
        """Name of the model in use; "" if there is none."""
        return self._denoiser.denoiser.model.info.name if self._denoiser else ""

    @property
    def speech_probability(self) -> float | None:
        """See `Denoiser.speech_probability`."""
        return self._denoiser.denoiser.speech_probability if self._denoiser else None

    @property
    def target_probability(self) -> float | None:
        """See `Denoiser.target_probability`."""
        return self._denoiser.denoiser.target_probability if self._denoiser else None

    @property
    def voice_missing(self) -> bool:
        """See `Denoiser.voice_missing`."""
        return self._denoiser is not None and self._denoiser.denoiser.voice_missing

    @property
    def is_aligned(self) -> bool:
        """The denoiser has taken `delay` samples, so that its next block is aligned."""
        return self._denoiser is not None and self._fresh >= self.delay

    def process(
        self, block: Mono, strength: float, attenuation_limit_db: float | None = None
    ) -> Mono | None:
        """Take whole frames of 10 ms and return as many samples without noise, `delay` late.

        Args:
            block: shape = (samples,).
            strength, attenuation_limit_db: see `Denoiser`.

        Returns:
            None as long as no model runs, or a new one is not aligned yet.
        """
        self._strength, self._limit = strength, attenuation_limit_db
        seconds = len(block) / self._rate
        wet = None
        if self._denoiser:
            start = time.perf_counter()
            wet = self._processed(self._denoiser, block)
            self._load.add(seconds, time.perf_counter() - start)
            wet = wet if self.is_aligned else None
            self._fresh += len(block)
            if self._realtime and self._load.share > OVERLOAD:
                self._step_down()
        if self._realtime:
            self._waited += seconds
            wet = self._try_better(block, wet)
        return wet

    def close(self) -> None:
        """End a trial, if there is one."""
        if self._trial:
            self._trial.end()
            self._trial = None

    def _processed(self, aligned: AlignedDenoiser, block: Mono) -> Mono:
        denoiser = aligned.denoiser
        if denoiser.strength != self._strength:
            denoiser.strength = self._strength
        if denoiser.attenuation_limit_db != self._limit:
            denoiser.attenuation_limit_db = self._limit
        return aligned.process(block)

    def _make_denoiser(self, level: int) -> Denoiser:
        model = self._models[level]
        return Denoiser(model, self._rate, **self._voices.options(model))

    def _make_aligned(self, level: int) -> AlignedDenoiser:
        return AlignedDenoiser(self._make_denoiser(level), self.delay)

    def _step_down(self) -> None:
        self.close()
        too_early = self._has_stepped_up and self._waited < STEADY_SECONDS
        self._pause = min(2 * self._pause, MAX_PAUSE) if too_early else FIRST_PAUSE
        self._has_stepped_up = False
        self._waited = 0.0
        self._load = LoadMeter(WINDOW_SECONDS)
        self._fresh = 0
        self.level += 1
        more = self.level < len(self._models)
        self._denoiser = self._make_aligned(self.level) if more else None

    def _try_better(self, block: Mono, wet: Mono | None) -> Mono | None:
        """Begin, feed or conclude a trial; return the sound, of the better model if it won."""
        if not self._trial:
            if self.level and self._waited >= self._pause:
                aligned = self._make_aligned(self.level - 1)
                aligned.denoiser.strength = self._strength
                aligned.denoiser.attenuation_limit_db = self._limit
                self._trial = Trial(aligned, self._rate)
            return wet
        trial = self._trial
        worked = trial.busy_seconds + trial.behind_seconds
        if trial.sent_seconds < TRIAL_SECONDS:
            trial.send(block)
            if trial.behind_seconds > TRIAL_SECONDS / 2:
                self._give_up()
        elif worked > SPARE * trial.sent_seconds:
            self._give_up()
        elif trial.behind_seconds > CATCH_UP_SECONDS:
            trial.send(block)
        else:
            return self._step_up(trial, block, wet)
        return wet

    def _give_up(self) -> None:
        self.close()
        self._pause = min(2 * self._pause, MAX_PAUSE)
        self._waited = 0.0

    def _step_up(self, trial: Trial, block: Mono, wet: Mono | None) -> Mono:
        self._denoiser, self._trial = trial.finish(), None
        self._fresh = self.delay
        self._load = LoadMeter(WINDOW_SECONDS)
        self._waited = 0.0
        self._has_stepped_up = True
        self.level -= 1
        better = self._processed(self._denoiser, block)
        if wet is None:
            return better
        ramp = np.linspace(0, 1, len(block), dtype=np.float32)
        better -= wet
        better *= ramp
        better += wet
        return better
