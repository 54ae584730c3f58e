"""Drift: the interpolator keeps sines clean; two simulated clocks are followed block by block."""

import numpy as np
import pytest
from hypothesis import given

from sordino.live.backends.base import Sink
from sordino.live.drift import (
    CUT_SECONDS,
    FADE_SECONDS,
    HALF_TAPS,
    MAX_CORRECTION,
    DriftCompensator,
    DriftController,
    Interpolator,
)
from sordino.live.ring_buffer import RingBuffer
from support.signals import agreement_db, block_sizes, cut, noise, tone

RATE = 48000
BLOCK = 480
RATES = [(48000, 48000), (48000, 44100), (44100, 48000), (48000, 16000), (16000, 48000)]


@pytest.mark.parametrize(("in_rate", "out_rate"), RATES)
@pytest.mark.parametrize("correction", [0.0, 200e-6, -MAX_CORRECTION])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7])
def test_a_sine_stays_clean(in_rate, out_rate, correction, share):
    frequency = share * min(in_rate, out_rate) / 2
    interpolator = Interpolator(in_rate, out_rate)
    out = interpolator(tone(frequency, in_rate), correction)
    assert abs(len(out) / (out_rate / (1 + correction)) - 1) < 0.003
    step = in_rate / out_rate * (1 + correction)
    time = np.arange(len(out)) * step / in_rate - interpolator.latency
    wanted = 0.5 * np.sin(2 * np.pi * frequency * time)
    settled = slice(round(2.1 * interpolator.latency * out_rate), None)
    assert agreement_db(wanted[settled], out[settled]) > 85


def test_what_the_lower_rate_cannot_hold_is_removed():
    out = Interpolator(48000, 16000)(tone(10000, 48000))
    assert np.abs(out[200:]).max() < 0.5e-4


@pytest.mark.slow
@given(sizes=block_sizes(900))
def test_blocks_leave_no_seams(sizes):
    sound = noise(6000)
    whole = Interpolator(48000, 44100)(sound, 1e-4)
    interpolator = Interpolator(48000, 44100)
    parts = np.concatenate([interpolator(block, 1e-4) for block in cut(sound, sizes)])
    assert agreement_db(whole, parts) > 100


def test_equal_rates_are_a_pure_delay():
    sound = noise(4800)
    out = Interpolator(48000, 48000)(sound)
    assert agreement_db(sound[:-HALF_TAPS], out[HALF_TAPS:]) > 120


def test_a_change_of_the_ratio_is_smooth():
    interpolator = Interpolator(48000, 48000)
    corrections = np.linspace(-MAX_CORRECTION, MAX_CORRECTION, 100)
    blocks = [
        interpolator(block, correction)
        for block, correction in zip(cut(tone(1000, 48000), [480]), corrections, strict=True)
    ]
    out = np.concatenate(blocks)[100:]
    curvature = np.abs(np.diff(out, 2)).max()
    assert curvature < 1.02 * 0.5 * (2 * np.pi * 1000 / 48000) ** 2


@pytest.mark.parametrize("ppm", [-500, 20, 500])
def test_the_controller_finds_the_drift(ppm):
    controller, delay, worst = DriftController(), 0.0, 0.0
    for _ in range(600):
        delay += ppm * 1e-6 - controller.correction
        controller.update(delay, 1.0)
        worst = max(worst, abs(delay))
    assert controller.correction == pytest.approx(ppm * 1e-6, abs=1e-6)
    assert abs(delay) < 1e-5
    assert worst < 16 * abs(ppm) * 1e-6


def test_the_correction_is_never_audible():
    controller = DriftController()
    for _ in range(100):
        controller.update(10.0, 1.0)
    assert controller.correction == MAX_CORRECTION
    for _ in range(60):
        controller.update(-0.1, 1.0)
    assert controller.correction == -MAX_CORRECTION


class Loudspeaker(Sink):
    """A sink that is driven by the simulated clock."""

    name, latency, alive = "loudspeaker", 0.0, True

    def __init__(self, clock, sample_rate=RATE):
        self.sample_rate = sample_rate
        self.buffer = RingBuffer(sample_rate, clock)
        self.heard = []

    def open(self):
        pass

    def close(self):
        pass

    def pull(self, count):
        block = np.zeros(count, np.float32)
        self.xruns += self.buffer.read(block) < count
        self.heard.append(block)


class Simulation:
    """A source and a sink with clocks of their own, in simulated time."""

    def __init__(
        self, sound, ppm=0.0, pull=BLOCK, jitter=0.0, out_rate=RATE, rate=RATE, block=BLOCK
    ):
        self.now = 0.0
        self.sink = Loudspeaker(lambda: self.now, out_rate)
        self.compensator = DriftCompensator(self.sink, rate, lambda: self.now)
        self.fills = []
        self._sound, self._random, self._jitter = sound, np.random.default_rng(0), jitter
        self._pull, self._block = pull, block
        self._push_every = block / rate / (1 + ppm * 1e-6)
        self._pull_every = pull / out_rate
        self._pushes = self._pulls = 0
        self._stalled_until = 0.0

    def stall(self, seconds):
        """Let nothing be pushed for this long."""
        self._stalled_until = self.now + seconds

    def run(self, seconds):
        """Simulate this many seconds."""
        end = self.now + seconds
        while True:
            push_at = max((self._pushes + 1) * self._push_every, self._stalled_until)
            pull_at = (self._pulls + 1.37) * self._pull_every
            at = min(push_at, pull_at)
            if at > end:
                return
            self.now = max(self.now, at + self._jitter * self._random.random())
            if push_at <= pull_at:
                self._pushes += 1
                block = self._block
                start = (self._pushes * block) % (len(self._sound) - block)
                start -= start % block
                age = self.now - self._pushes * self._push_every
                self.compensator.push(self._sound[start : start + block], age)
            else:
                self.fills.append(self.sink.buffer.readable / self.sink.sample_rate)
                self._pulls += 1
                self.sink.pull(self._pull)

    def heard(self, seconds):
        """Return the last seconds of what the sink took."""
        sound = np.concatenate(self.sink.heard)
        return sound[-round(seconds * self.sink.sample_rate) :].astype(np.float64)


def sine_purity_db(sound, frequency, rate):
    """Power of a sine over that of all else, in dB; the worst 0.1 s."""
    return min(
        _purity_db(part, frequency, rate) for part in np.split(sound, 10 * len(sound) // rate)
    )


def _purity_db(sound, frequency, rate):
    time = np.arange(len(sound)) / rate
    best = -np.inf
    width = 2e-4
    centre = frequency
    for _ in range(7):
        for each in centre * (1 + np.linspace(-width, width, 9)):
            basis = np.stack([np.sin(2 * np.pi * each * time), np.cos(2 * np.pi * each * time)], 1)
            fit = basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]
            purity = 10 * np.log10(np.sum(fit**2) / np.sum((sound - fit) ** 2))
            if purity > best:
                best, chosen = purity, each
        centre, width = chosen, width / 4
    return best


@pytest.mark.parametrize("ppm", [200, -200])
@pytest.mark.slow
def test_a_drift_is_followed_for_minutes(ppm):
    simulation = Simulation(tone(1000, RATE), ppm, jitter=0.001)
    simulation.run(60)
    underruns, delays = simulation.compensator.underruns, []
    simulation.fills.clear()
    for _ in range(120):
        simulation.run(1)
        delays.append(simulation.compensator.delay)
    assert simulation.compensator.underruns == underruns
    assert simulation.compensator.cuts == 0
    assert abs(simulation.compensator.drift_ppm - ppm) < 30
    assert max(delays) < 0.02
    assert max(delays) - min(delays) < 0.004
    assert max(simulation.fills) - min(simulation.fills) < 0.015, "more than a block and some ms"
    assert sine_purity_db(simulation.heard(2), 1000 * (1 + ppm * 1e-6), RATE) > 70


@pytest.mark.slow
def test_the_delay_after_an_hour_is_that_of_the_first_minute():
    rate, block = 1000, 50  # few and large blocks: an hour in seconds
    simulation = Simulation(noise(rate), 180, block, 0.001, out_rate=rate, rate=rate, block=block)
    compensator = simulation.compensator
    simulation.run(60)
    first, underruns, cuts = compensator.delay, compensator.underruns, compensator.cuts
    delays = []
    for _ in range(59):
        simulation.run(60)
        simulation.sink.heard.clear()
        simulation.fills.clear()
        delays.append(compensator.delay)
    assert delays == pytest.approx(59 * [first], abs=0.004)
    assert (compensator.underruns, compensator.cuts) == (underruns, cuts)


@pytest.mark.slow
@pytest.mark.parametrize(("pull", "out_rate"), [(1024, RATE), (240, RATE), (441, 44100)])
def test_other_blocks_and_rates_of_the_sink(pull, out_rate):
    simulation = Simulation(tone(1000, RATE), 50, pull, jitter=0.001, out_rate=out_rate)
    simulation.run(60)
    underruns = simulation.compensator.underruns
    simulation.run(10)
    assert simulation.compensator.underruns == underruns <= 2
    assert simulation.compensator.delay < 0.012 + pull / out_rate
    assert sine_purity_db(simulation.heard(2), 1000 * (1 + 50e-6), out_rate) > 70


@pytest.mark.slow
def test_unsteady_devices_get_a_larger_margin():
    simulation = Simulation(tone(1000, RATE), 0, jitter=0.02)
    simulation.run(40)
    underruns = simulation.compensator.underruns
    simulation.run(20)
    assert simulation.compensator.underruns <= underruns + 1
    assert simulation.compensator.delay < 0.045


@pytest.mark.slow
def test_latency_returns_after_a_stall_without_a_click():
    frequency, amplitude = 100, 0.5
    simulation = Simulation(tone(frequency, RATE, amplitude=amplitude), 0)
    simulation.run(5)
    before = simulation.compensator.delay
    simulation.stall(0.3)
    simulation.run(0.5)
    assert simulation.compensator.underruns > 0, "it was heard, and counted"
    simulation.sink.heard.clear()
    simulation.run(10)
    assert 1 <= simulation.compensator.cuts <= 2
    assert simulation.compensator.delay < before + CUT_SECONDS
    steps = np.abs(np.diff(simulation.heard(10)))
    steepest = 2 * np.pi * frequency / RATE * amplitude
    faded = 2 * amplitude / (FADE_SECONDS * RATE)
    assert steps.max() <= steepest + faded


def test_the_first_second_is_no_underrun():
    simulation = Simulation(tone(1000, RATE))
    for _ in range(100):
        simulation.sink.pull(BLOCK)  # the loudspeaker runs before the engine
    simulation.run(3)
    assert simulation.compensator.underruns == 0
    assert simulation.compensator.delay < 0.02


def test_a_sink_without_a_clock_gets_every_sample():
    sound = tone(440, RATE)
    sink = Loudspeaker(lambda: 0.0)
    sink.clocked = False
    compensator = DriftCompensator(sink, RATE)
    for start in range(0, len(sound), BLOCK):
        compensator.push(sound[start : start + BLOCK])
    sink.pull(len(sound))
    assert np.array_equal(sink.heard[0], sound)
