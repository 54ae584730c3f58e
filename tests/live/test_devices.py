"""Streams are reopened when another program no longer forces a large quantum."""

import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.live.devices import LONG_STEP_SECONDS, StepMeter
from sordino.live.ring_buffer import RingBuffer
from support.meeting import live
from support.sound_servers import Recorder, require, wait_for

RATE = 48000
CHECK_SECONDS = 0.1
QUANTA = [64, 256, 480, 1024, 2048, 8192]


def shrinks_after(phases):
    """Simulate a device that takes steps of some size for some time; return when that is noticed.

    Args:
        phases: (samples a step, seconds) each.
    """
    now, due = 0.0, 0.0
    buffer = RingBuffer(RATE, lambda: now)
    meter = StepMeter(buffer, RATE, lambda: now)
    for step, seconds in phases:
        end = now + seconds
        while now < end:
            while due <= now:
                buffer.read(np.empty(step, np.float32))
                due += step / RATE
            if meter.has_shrunk():
                return now - (end - seconds)
            now += CHECK_SECONDS
    return None


@pytest.mark.parametrize("quantum", [1024, 2048, 4096])
def test_the_end_of_a_large_quantum_is_noticed_within_two_seconds(quantum):
    assert shrinks_after([(256, 5), (quantum, 10), (256, 5)]) < 2


@given(st.lists(st.tuples(st.sampled_from(QUANTA), st.just(3.0)), min_size=1, max_size=6))
def test_only_steps_that_become_shorter_are_noticed(phases):
    steps = [step for step, _ in phases]
    longest = np.maximum.accumulate(steps)
    shrunk = any(
        before > LONG_STEP_SECONDS * RATE and step < before / 2
        for before, step in zip(longest, steps, strict=True)
    )
    assert (shrinks_after(phases) is not None) == shrunk


@pytest.mark.parametrize("server", ["pipewire"], indirect=True)
def test_the_delay_comes_back_after_a_forced_quantum(server):
    require("pw-metadata")

    def force(quantum):
        metadata = ["pw-metadata", "-n", "settings", "0", "clock.force-quantum", str(quantum)]
        subprocess.run(metadata, check=True, stdout=subprocess.DEVNULL)

    with live() as session, Recorder("sordino_microphone") as meeting:
        sink = session._engine.sink
        meeting.read(3.0)
        force(2048)
        wait_for(lambda: sink.buffer.requested >= 2048, "long steps")
        meeting.read(2.0)
        force(0)
        wait_for(lambda: not sink.alive, "new streams")
        wait_for(lambda: session.status().state == "active", "sound")
        sink = session._engine.sink
        wait_for(lambda: 0 < sink.buffer.requested <= 512, "short steps")
        meeting.read(2.0)
        # A stream that was not reopened would stay at 0.060.
        wait_for(lambda: sink.latency < 0.035, "the latency of before")
