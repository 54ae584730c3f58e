"""The latency of a loopback, measured with clicks: of known delay, and through real servers."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from sordino.live.backends import LOUDSPEAKER, MICROPHONE, choose_backend
from sordino.live.latency import clicks, loop_latency
from sordino.live.ring_buffer import RingBuffer
from support.sound_servers import undisturbed

RATE = 48000


class Port:
    sample_rate = RATE
    alive = True

    def __init__(self):
        self.buffer = RingBuffer(RATE)


class Loopback:
    """Moves sound from a sink to a source with a delay, about every millisecond."""

    def __init__(self, delay):
        self.sink, self.source = Port(), Port()
        self._delay = delay
        self._ended = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        late = []
        block = np.empty(RATE, np.float32)
        while not self._ended.wait(0.001):
            now = time.perf_counter()
            if count := self.sink.buffer.read(block):
                late.append((now + self._delay, block[:count].copy()))
            while late and late[0][0] <= now:
                self.source.buffer.write(late.pop(0)[1])


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.005, 0.030, 0.120])
def test_a_loopback_of_known_delay(seconds):
    with Loopback(seconds) as loopback:
        heard = list(clicks(loopback.sink, loopback.source, 9))
    assert len(heard) == 9
    assert seconds <= min(heard) < seconds + 0.010
    assert np.median(heard) < seconds + 0.050


def test_a_loopback_without_sound(monkeypatch):
    monkeypatch.setattr("sordino.live.latency.TIMEOUT_SECONDS", 0.05)
    with Loopback(10.0) as loopback:
        assert list(clicks(loopback.sink, loopback.source)) == []


def test_a_source_that_is_lost_ends_the_wait():
    loopback = Loopback(10.0)
    loopback.source.alive = False
    begin = time.perf_counter()
    assert list(clicks(loopback.sink, loopback.source)) == []
    assert time.perf_counter() - begin < 1.0


def test_loopback_through_the_virtual_devices(server):
    def is_plausible(seconds):
        # Two blocks of 10 ms wait in the sink, one in the source.
        return seconds is not None and 0.010 < seconds < 0.150

    def measured(label):
        return undisturbed(lambda: loop_latency(backend, label, RATE), is_plausible)

    with closing(choose_backend()) as backend:
        assert loop_latency(backend, MICROPHONE, RATE) is None  # it is not there
        with backend.virtual_microphone():
            assert is_plausible(measured(MICROPHONE))
            server.ask(
                lambda pulse: pulse.mute(server.sources()["sordino_microphone"]),
                lambda: server.sources()["sordino_microphone"].mute,
                "a muted microphone",
            )
            assert loop_latency(backend, MICROPHONE, RATE) is None
        with backend.virtual_loudspeaker():
            assert is_plausible(measured(LOUDSPEAKER))
