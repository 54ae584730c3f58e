"""Two devices, two clocks: resampling by a ratio that follows the drift between them.

A microphone and a loudspeaker that both claim 48 kHz differ by up to some hundred parts per
million.  Left alone, the buffer between them would run empty or over once in a while.

The sink's buffer must hold enough that the sink always finds sound, and no more, because what
lies in it is latency.  Once a second its lowest fill is compared with a margin; the delay from
the source's clock to the sink's is then steered to where that margin is just kept.  Both are
measured with the moments at which the devices last moved a block, so they are known far finer
than the size of a block, and do not jump when the blocks of the two clocks overtake each other.
"""

import time
from collections.abc import Callable
from math import ceil, inf
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Mono
from sordino.live.backends.base import Sink

HALF_TAPS = 32  # on either side, at the lower of the two rates: 0.67 ms at 48 kHz
ORDER = 8  # of the polynomials in the fractional position; what they leave is below -120 dB
KAISER_BETA = 9.0  # stopband at -90 dB

GAIN = 0.05  # per second: a delay of 10 ms too much is worked off at 500 ppm
INTEGRAL_GAIN = GAIN**2 / 4  # critically damped
MAX_CORRECTION = 3e-3  # a twentieth of a semitone

MAX_BLOCK_SECONDS = 0.1  # that a device moves at once
WINDOW_SECONDS = 1.0
MARGIN_SECONDS = 0.003  # lowest fill that is aimed at; grows where devices are unsteady
MAX_MARGIN_SECONDS = 0.025
CALM_SECONDS = 30  # without an underrun, after which a smaller margin is tried
SLACK_SECONDS = 0.003  # the margin may be missed by so much without a new aim
CUT_SECONDS = 0.015  # what exceeds the margin by more is cut out, not worked off
FIRST_CUT_SECONDS = 0.005  # the same while the devices settle
SETTLING_SECONDS = 5.0
FADE_SECONDS = 0.0025


class Interpolator:
    """Resamples a stream by a ratio that may change with every block.

    A windowed sinc whose taps are polynomials in the fractional position (C. W. Farrow, "A
    continuously variable digital delay element", ISCAS 1988).  Its few coefficients stay in the
    processor's cache, unlike a table of filters.  soxr has a mode for variable rates, but
    python-soxr does not offer it.

    Args:
        in_rate, out_rate: nominal sample rates in Hz.

    >>> interpolator = Interpolator(48000, 48000)
    >>> sound = np.random.default_rng(0).standard_normal(480).astype(np.float32)
    >>> same = interpolator(sound)
    >>> bool(np.allclose(same[HALF_TAPS:], sound[:-HALF_TAPS], atol=1e-6))
    True
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        cutoff = min(1.0, out_rate / in_rate)
        self._half = ceil(HALF_TAPS / cutoff)
        self._step = in_rate / out_rate
        self._taps = _taps(self._half, cutoff)
        self._past = np.zeros(2 * self._half - 1, np.float32)
        self._position = 0.0  # of the next sample to come out, from the start of _past
        self.latency = self._half / in_rate
        """In seconds."""

    def __call__(self, samples: Mono, correction: float = 0.0) -> Mono:
        """Take any number of samples and return those that are ready.

        Args:
            samples: shape = (samples,).
            correction: share by which fewer samples come out than the nominal rates say.
        """
        sound = np.concatenate([self._past, samples])
        step = self._step * (1 + correction)
        room = len(sound) - 2 * self._half + 1  # positions below this have all their taps
        count = max(0, ceil((room - self._position) / step))
        positions = self._position + step * np.arange(count)
        self._past = sound[room:].copy()
        self._position += step * count - room
        if not count:
            return sound[:0]
        wholes = positions.astype(np.int64)
        fractions = (2 * (positions - wholes) - 1).astype(np.float32)
        out = np.zeros(count, np.float32)
        for taps in self._taps[::-1]:  # Horner's rule
            out = out * fractions + cast(Mono, np.correlate(sound, taps)[wholes])
        return out


def _taps(half: int, cutoff: float) -> NDArray[np.float32]:
    """Return the polynomials of all taps in f = -1..1, from one sample to the next.

    Shape = (ORDER + 1, 2 * half), the constant terms first.
    """
    f = np.cos(np.pi * (np.arange(4 * ORDER) + 0.5) / (4 * ORDER))[:, None]  # Chebyshev's nodes
    distance = np.arange(2 * half) - (half - 1) - (f + 1) / 2
    window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (distance / half) ** 2)))
    taps = cutoff * np.sinc(cutoff * distance) * window / np.i0(KAISER_BETA)
    taps /= taps.sum(axis=1, keepdims=True)
    polyfit = cast(Any, np.polynomial.polynomial.polyfit)
    return np.asarray(polyfit(f[:, 0], taps, ORDER), np.float32)


class DriftController:
    """Finds the correction that keeps a delay where it should be: proportional and integral.

    Critically damped; a drift of 200 ppm moves the delay by 3 ms before it is caught.  It is
    slow enough that what the devices' jitter adds stays at a few ppm.  Update it about once a
    second.
    """

    def __init__(self) -> None:
        self.correction = 0.0
        """Share by which fewer samples are to come out than the nominal rates say."""
        self._integral = 0.0

    def update(self, error: float, seconds: float) -> None:
        """Take by how many seconds the delay is too long, and the seconds since the last call."""
        self._integral = _limited(self._integral + INTEGRAL_GAIN * error * seconds)
        self.correction = _limited(GAIN * error + self._integral)


def _limited(correction: float) -> float:
    return min(max(correction, -MAX_CORRECTION), MAX_CORRECTION)


class DriftCompensator:
    """Writes blocks into a sink's ring buffer and keeps its fill low and steady.

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
        """From the source's clock to the sink's: all buffers and waiting between, in seconds."""
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
        self._held: Mono = np.zeros(0, np.float32)  # the end before a cut, to be crossfaded
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

    def push(self, block: Mono, age: float = 0.0) -> None:
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
        buffer = self._sink.buffer
        # As if the sink took sample by sample what it takes block by block.
        since = min(max(self._clock() - buffer.taken_at, 0.0), MAX_BLOCK_SECONDS)
        if self._started:
            self._lowest = min(self._lowest, buffer.readable / self._rate - since)
        samples = self._without_cut(samples)
        self._pad(since, len(samples))
        buffer.write(samples)
        self._delays += age + buffer.readable / self._rate - since
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
            buffer = self._sink.buffer
            since = min(since, max(buffer.requested, count) / self._rate)
            wanted = round((self._margin + since) * self._rate)
            buffer.write(np.zeros(max(0, wanted - buffer.readable), np.float32))

    def _write_all(self, samples: Mono) -> None:
        while len(samples := samples[self._sink.buffer.write(samples) :]) and self._sink.alive:
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
            self._margin = min(1.5 * self._margin, MAX_MARGIN_SECONDS)
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

    def _without_cut(self, samples: Mono) -> Mono:
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
