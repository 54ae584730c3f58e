"""The way out: from the engine's blocks to the sink's ring, at the pace of the sink's clock.

The ring must hold enough that the sink always finds sound, and no more, because what lies
in it is latency.  Once a second its lowest fill is compared with a margin; the delay from the
source's clock to the sink's is then steered to where that margin is just kept.  Both are
measured with the moments at which the devices last moved a block, so they are known far finer
than the size of a block, and do not jump when the blocks of the two clocks overtake each other.
"""

import time
from collections.abc import Callable
from math import inf

import numpy as np

from sordino.live.drift import DriftController, Interpolator, Samples
from sordino.live.ports import Sink

LONGEST_BLOCK_SECONDS = 0.1  # that a device moves at once
WINDOW_SECONDS = 1.0
MARGIN_SECONDS = 0.003  # lowest fill that is aimed at; grows where devices are unsteady
LARGEST_MARGIN_SECONDS = 0.025
CALM_SECONDS = 30  # without an underrun, after which a smaller margin is tried
SLACK_SECONDS = 0.003  # the margin may be missed by so much without a new aim
CUT_SECONDS = 0.015  # what exceeds the margin by more is cut out, not worked off
FIRST_CUT_SECONDS = 0.005  # the same while the devices settle
SETTLING_SECONDS = 5.0
FADE_SECONDS = 0.0025


class Playout:
    """Writes blocks into a sink's ring and keeps its fill low and steady.

    Args:
        sink: an open port.  If it is not clocked, blocks pass unchanged but for their rate, and
            `push` waits for room.
        rate: of the blocks, in Hz.
        clock: what time it is, in seconds.
    """

    def __init__(
        self, sink: Sink, rate: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.delay = 0.0
        """From the source's clock to the sink's: all rings and waiting between, in seconds."""
        self.underruns = 0
        """Times that the sink found no sound, from the first block on."""
        self.cuts = 0
        """Times that sound was cut out, because too much had piled up."""
        self._sink, self._rate, self._clock = sink, sink.sample_rate, clock
        needed = sink.clocked or sink.sample_rate != rate
        self._interpolator = Interpolator(rate, sink.sample_rate) if needed else None
        self._controller = DriftController()
        self._margin = MARGIN_SECONDS
        self._target: float | None = None  # of the delay; None: to be found
        self._calm = 0.0  # seconds since an underrun
        self._started = False
        self._played = 0.0  # undisturbed seconds
        self._xruns = 0
        self._fade = round(FADE_SECONDS * sink.sample_rate)
        self._held = np.zeros(0, np.float32)  # the end before a cut, to be crossfaded
        self._to_cut = 0  # samples, while a cut is under way
        self._begin_window()

    @property
    def drift_ppm(self) -> float:
        """By how much the sink's clock is slower than the source's, as compensated now."""
        return 1e6 * self._controller.correction

    @property
    def latency(self) -> float:
        """Of the interpolation, in seconds."""
        return self._interpolator.latency if self._interpolator else 0.0

    def push(self, block: Samples, age: float = 0.0) -> None:
        """Write a block.

        Args:
            block: shape = (samples,).
            age: seconds since its last sample came from the source's device.
        """
        correction = self._controller.correction if self._sink.clocked else 0.0
        samples = self._interpolator(block, correction) if self._interpolator else block
        if not self._sink.clocked:
            self._write_all(samples)
            return
        ring = self._sink.ring
        # As if the sink took sample by sample what it takes block by block.
        since = min(max(self._clock() - ring.taken_at, 0.0), LONGEST_BLOCK_SECONDS)
        if self._started:
            self._lowest = min(self._lowest, ring.readable / self._rate - since)
        samples = self._without_cut(samples)
        self._pad(since, len(samples))
        ring.write(samples)
        self._delays += age + ring.readable / self._rate - since
        self._pushes += 1
        self._elapsed += len(samples) / self._rate
        if self._elapsed >= WINDOW_SECONDS:
            self._conclude_window()

    def _pad(self, since: float, count: int) -> None:
        """At the start and after each underrun, write silence so that the margin is there."""
        missed = self._sink.xruns - self._xruns
        if missed or not self._started:
            self._xruns += missed
            if self._started:
                self.underruns += missed
                self._disturbed = True
            self._started = True
            ring = self._sink.ring
            since = min(since, max(ring.asked, count) / self._rate)
            wanted = round((self._margin + since) * self._rate)
            ring.write(np.zeros(max(0, wanted - ring.readable), np.float32))

    def _write_all(self, samples: Samples) -> None:
        while len(samples := samples[self._sink.ring.write(samples) :]) and self._sink.alive:
            time.sleep(0.001)

    def _begin_window(self) -> None:
        self._lowest: float = inf
        self._delays = self._elapsed = 0.0
        self._pushes = 0
        self._disturbed = False

    def _conclude_window(self) -> None:
        self.delay = self._delays / self._pushes
        excess = self._lowest - self._margin
        elapsed, disturbed = self._elapsed, self._disturbed
        self._begin_window()
        self._calm += elapsed
        if disturbed:
            self._calm = 0.0
            self._margin = min(1.5 * self._margin, LARGEST_MARGIN_SECONDS)
            self._target = None  # the delay has jumped
            return
        if self._calm >= CALM_SECONDS:
            self._calm = 0.0
            self._margin = max(self._margin / 1.2, MARGIN_SECONDS)
        self._played += elapsed
        if excess > (CUT_SECONDS if self._played > SETTLING_SECONDS else FIRST_CUT_SECONDS):
            self._to_cut = round(excess * self._rate)
            self.cuts += 1
            self._target = None
            return
        if self._target is None or abs(excess) > SLACK_SECONDS:
            self._target = self.delay - excess
        self._controller.update(self.delay - self._target, elapsed)

    def _without_cut(self, samples: Samples) -> Samples:
        """Leave out the samples that are to be cut, and crossfade over the gap."""
        if not self._to_cut and not len(self._held):
            return samples
        sound = np.concatenate([self._held, samples])
        fade = self._fade
        if len(sound) < self._to_cut + fade:
            # The beginning is kept for the crossfade; what follows it is the cut.
            self._held = sound
            return sound[:0]
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        after = sound[self._to_cut :].copy()
        after[:fade] = (1 - ramp) * sound[:fade] + ramp * after[:fade]
        self._held, self._to_cut = sound[:0], 0
        return after
