"""The best model that the processor can keep up with, from moment to moment.

When a model is too slow, the next one takes over; after the last, no model runs and the sound
passes as it is.  After a while the better one is tried again, unheard.  Each failed trial
doubles the time to the next one, so that the sound does not change to and fro.
"""

import time
from collections.abc import Sequence

import numpy as np

from sordino.denoiser import Denoiser
from sordino.live.drift import Samples
from sordino.live.lane import Lane, Trial, lag
from sordino.live.load import Load
from sordino.model import Model

WINDOW_SECONDS = 0.5  # over which the load is judged
OVERLOAD = 0.9  # share of the time at which a model is too slow
SPARE = 0.7  # share below which a better model may take over
TRIAL_SECONDS = 1.0
CLOSE_SECONDS = 0.02  # so far behind may a trial be that takes over
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 64.0  # seconds from one trial to the next
STEADY_SECONDS = 60.0  # after which an overload counts as the first one again


class Ladder:
    """Runs one of some models and climbs down and up between them.

    Args:
        models: the best one first.
        sample_rate: of the sound in Hz.
        attenuation_limit_db: see `Denoiser`.
        realtime: False: as slow as it may be, the first model does it all.
    """

    def __init__(
        self,
        models: Sequence[Model],
        sample_rate: int,
        attenuation_limit_db: float | None = None,
        realtime: bool = True,
    ) -> None:
        self._models, self._rate, self._realtime = models, sample_rate, realtime
        self._limit = attenuation_limit_db
        self.delay = max(lag(self._make_denoiser(rung)) for rung in range(len(models)))
        """Samples by which all output is behind, whatever runs."""
        self.rung = 0
        """Of the model in use, 0 is the best; len(models): none."""
        self._lane: Lane | None = self._make_lane(0)
        self._fresh = self.delay  # samples that the lane has taken; from `delay` on it is in step
        self._trial: Trial | None = None
        self._pause = FIRST_PAUSE
        self._waited = 0.0  # seconds since the last climb or trial
        self._has_climbed = False  # up, and so may have been wrong
        self._load = Load(WINDOW_SECONDS)

    @property
    def model(self) -> str:
        """Name of the model in use; "" if there is none."""
        return self._lane.denoiser.model.info.name if self._lane else ""

    @property
    def speech_probability(self) -> float | None:
        """See `Denoiser.speech_probability`."""
        return self._lane.denoiser.speech_probability if self._lane else None

    @property
    def in_step(self) -> bool:
        """The next block will come without noise; if not, there is still time to fade."""
        return self._lane is not None and self._fresh >= self.delay

    def process(self, block: Samples, strength: float) -> Samples | None:
        """Take whole frames of 10 ms and return as many samples without noise, `delay` late.

        Returns:
            None as long as no model runs, or a new one is not yet in step.
        """
        seconds = len(block) / self._rate
        wet = None
        if self._lane:
            start = time.perf_counter()
            wet = self._processed(self._lane, block, strength)
            self._load.add(seconds, time.perf_counter() - start)
            wet = wet if self.in_step else None
            self._fresh += len(block)
            if self._realtime and self._load.share > OVERLOAD:
                self._climb_down()
        if self._realtime:
            self._waited += seconds
            wet = self._try_better(block, strength, wet)
        return wet

    def close(self) -> None:
        """End a trial, if there is one."""
        if self._trial:
            self._trial.end()
            self._trial = None

    def _processed(self, lane: Lane, block: Samples, strength: float) -> Samples:
        if lane.denoiser.strength != strength:
            lane.denoiser.strength = strength
        return lane.process(block)

    def _make_denoiser(self, rung: int) -> Denoiser:
        return Denoiser(self._models[rung], self._rate, attenuation_limit_db=self._limit)

    def _make_lane(self, rung: int) -> Lane:
        return Lane(self._make_denoiser(rung), self.delay)

    def _climb_down(self) -> None:
        self.close()
        hasty = self._has_climbed and self._waited < STEADY_SECONDS
        self._pause = min(2 * self._pause, LONGEST_PAUSE) if hasty else FIRST_PAUSE
        self._has_climbed = False
        self._waited = 0.0
        self._load = Load(WINDOW_SECONDS)
        self._fresh = 0
        self.rung += 1
        more = self.rung < len(self._models)
        self._lane = self._make_lane(self.rung) if more else None

    def _try_better(self, block: Samples, strength: float, wet: Samples | None) -> Samples | None:
        """Begin, feed or conclude a trial; return the sound, of the better model if it won."""
        if not self._trial:
            if self.rung and self._waited >= self._pause:
                lane = self._make_lane(self.rung - 1)
                lane.denoiser.strength = strength
                self._trial = Trial(lane, self._rate)
            return wet
        trial = self._trial
        worked = trial.busy_seconds + trial.behind_seconds
        if trial.sent_seconds < TRIAL_SECONDS:
            trial.send(block)
            if trial.behind_seconds > TRIAL_SECONDS / 2:
                self._give_up()
        elif worked > SPARE * trial.sent_seconds:
            self._give_up()
        elif trial.behind_seconds > CLOSE_SECONDS:
            trial.send(block)
        else:
            return self._climb_up(trial, block, strength, wet)
        return wet

    def _give_up(self) -> None:
        self.close()
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._waited = 0.0

    def _climb_up(
        self, trial: Trial, block: Samples, strength: float, wet: Samples | None
    ) -> Samples:
        self._lane, self._trial = trial.take_lane(), None
        self._fresh = self.delay
        self._load = Load(WINDOW_SECONDS)
        self._waited = 0.0
        self._has_climbed = True
        self.rung -= 1
        better = self._processed(self._lane, block, strength)
        if wet is None:
            return better
        ramp = np.linspace(0, 1, len(block), dtype=np.float32)
        better -= wet
        better *= ramp
        better += wet
        return better
