"""The ring buffer against a plain queue, and between two real threads."""

import sys
import threading
import tracemalloc
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.live.ring_buffer import RingBuffer

STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "read", "skip"]), st.integers(0, 40)), max_size=60
)


@given(capacity=st.integers(1, 30), steps=STEPS)
def test_it_behaves_like_a_bounded_queue(capacity, steps):
    ring, queue, counter = RingBuffer(capacity), deque(), 0
    for step, count in steps:
        if step == "write":
            samples = np.arange(counter, counter + count, dtype=np.float32)
            counter += count
            fits = min(count, capacity - len(queue))
            assert ring.write(samples) == fits
            queue.extend(samples[:fits])
        elif step == "read":
            out = np.full(count, -1, np.float32)
            got = ring.read(out)
            assert got == min(count, len(queue))
            assert out.tolist() == [queue.popleft() for _ in range(got)] + [-1] * (count - got)
        else:
            skipped = ring.skip(count)
            assert skipped == min(count, len(queue))
            for _ in range(skipped):
                queue.popleft()
        assert ring.readable == len(queue)
        assert ring.writable == capacity - len(queue)


@pytest.fixture
def eager_switching():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.slow
def test_two_threads_lose_and_repeat_nothing():
    total, ring = 200_000, RingBuffer(1021)
    sound = (np.arange(total) % 65521).astype(np.float32)
    sizes = np.random.default_rng(0).integers(1, 700, 8192)

    def write():
        done = step = 0
        while done < total:
            done += ring.write(sound[done : done + sizes[step % len(sizes)]])
            step += 1

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    heard, done, out = np.empty_like(sound), 0, np.empty(700, np.float32)
    step = 7
    while done < total and (writer.is_alive() or ring.readable):
        count = ring.read(out[: sizes[step % len(sizes)]])
        heard[done : done + count] = out[:count]
        done += count
        step += 1
    writer.join(60)
    assert done == total
    assert np.array_equal(heard, sound)


def test_it_knows_when_and_how_much_was_asked_for():
    now = [1.0]
    ring = RingBuffer(100, lambda: now[0])
    assert ring.written_at == ring.taken_at == 1.0
    now[0] = 2.0
    ring.write(np.zeros(10, np.float32))
    now[0] = 3.0
    ring.read(np.zeros(30, np.float32))
    assert (ring.written_at, ring.taken_at, ring.requested) == (2.0, 3.0, 30)


def test_a_read_allocates_nothing_that_stays():
    ring = RingBuffer(4096)
    block, out = np.ones(480, np.float32), np.empty(480, np.float32)
    for _ in range(10):
        ring.write(block)
        ring.read(out)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        ring.write(block)
        ring.read(out)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1000
    assert peak - before < 4000


def test_a_write_wakes_the_reader_once_there_is_enough():
    buffer = RingBuffer(10)
    buffer.threshold = 5
    for _ in range(4):
        assert not buffer.arrived.is_set()
        buffer.write(np.zeros(1, np.float32))
    assert not buffer.arrived.is_set()
    buffer.write(np.zeros(1, np.float32))
    assert buffer.arrived.is_set()
