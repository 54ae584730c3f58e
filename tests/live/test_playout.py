"""Two devices with clocks of their own, simulated block by block."""

import numpy as np
import pytest

from sordino.live.playout import CUT_SECONDS, FADE_SECONDS, Playout
from sordino.live.backends.base import Sink
from sordino.live.ring_buffer import RingBuffer
from support.signals import tone

RATE = 48000
BLOCK = 480


class Loudspeaker(Sink):
    """A sink that is driven by the test's own clock."""

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


class World:
    """A source and a sink, each at its own pace, and the time."""

    def __init__(self, sound, ppm=0.0, pull=BLOCK, jitter=0.0, out_rate=RATE):
        self.now = 0.0
        self.sink = Loudspeaker(lambda: self.now, out_rate)
        self.playout = Playout(self.sink, RATE, lambda: self.now)
        self.fills = []
        self._sound, self._random, self._jitter = sound, np.random.default_rng(0), jitter
        self._pull = pull
        self._push_every = BLOCK / RATE / (1 + ppm * 1e-6)
        self._pull_every = pull / out_rate
        self._pushes = self._pulls = 0
        self._stalled_until = 0.0

    def stall(self, seconds):
        """Let the engine sleep."""
        self._stalled_until = self.now + seconds

    def run(self, seconds):
        """Let the time pass."""
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
                start = (self._pushes * BLOCK) % (len(self._sound) - BLOCK)
                start -= start % BLOCK
                age = self.now - self._pushes * self._push_every
                self.playout.push(self._sound[start : start + BLOCK], age)
            else:
                self.fills.append(self.sink.buffer.readable / self.sink.sample_rate)
                self._pulls += 1
                self.sink.pull(self._pull)

    def heard(self, seconds):
        """Return the last of what came out."""
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
def test_a_drift_is_followed_for_minutes(ppm):
    world = World(tone(1000, RATE), ppm, jitter=0.001)
    world.run(60)
    underruns, delays = world.playout.underruns, []
    world.fills.clear()
    for _ in range(120):
        world.run(1)
        delays.append(world.playout.delay)
    assert world.playout.underruns == underruns
    assert world.playout.cuts == 0
    assert abs(world.playout.drift_ppm - ppm) < 30
    assert max(delays) < 0.02
    assert max(delays) - min(delays) < 0.004
    assert max(world.fills) - min(world.fills) < 0.015, "more than a block and some ms"
    assert sine_purity_db(world.heard(2), 1000 * (1 + ppm * 1e-6), RATE) > 70


@pytest.mark.parametrize(("pull", "out_rate"), [(1024, RATE), (240, RATE), (441, 44100)])
def test_other_blocks_and_rates_of_the_sink(pull, out_rate):
    world = World(tone(1000, RATE), 50, pull, jitter=0.001, out_rate=out_rate)
    world.run(60)
    underruns = world.playout.underruns
    world.run(10)
    assert world.playout.underruns == underruns <= 2
    assert world.playout.delay < 0.012 + pull / out_rate
    assert sine_purity_db(world.heard(2), 1000 * (1 + 50e-6), out_rate) > 70


def test_unsteady_devices_get_a_larger_margin():
    world = World(tone(1000, RATE), 0, jitter=0.02)
    world.run(40)
    underruns = world.playout.underruns
    world.run(20)
    assert world.playout.underruns <= underruns + 1
    assert world.playout.delay < 0.045


def test_latency_returns_after_a_stall_without_a_click():
    frequency, amplitude = 100, 0.5
    world = World(tone(frequency, RATE, amplitude=amplitude), 0)
    world.run(5)
    before = world.playout.delay
    world.stall(0.3)
    world.run(0.5)
    assert world.playout.underruns > 0, "it was heard, and counted"
    world.sink.heard.clear()
    world.run(10)
    assert 1 <= world.playout.cuts <= 2
    assert world.playout.delay < before + CUT_SECONDS
    steps = np.abs(np.diff(world.heard(10)))
    steepest = 2 * np.pi * frequency / RATE * amplitude
    faded = 2 * amplitude / (FADE_SECONDS * RATE)
    assert steps.max() <= steepest + faded


def test_the_first_second_is_no_underrun():
    world = World(tone(1000, RATE))
    for _ in range(100):
        world.sink.pull(BLOCK)  # the loudspeaker runs before the engine
    world.run(3)
    assert world.playout.underruns == 0
    assert world.playout.delay < 0.02


def test_a_sink_without_a_clock_gets_every_sample():
    sound = tone(440, RATE)
    sink = Loudspeaker(lambda: 0.0)
    sink.clocked = False
    playout = Playout(sink, RATE)
    for start in range(0, len(sound), BLOCK):
        playout.push(sound[start : start + BLOCK])
    sink.pull(len(sound))
    assert np.array_equal(sink.heard[0], sound)
