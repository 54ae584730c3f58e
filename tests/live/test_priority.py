"""Real-time priority: set where it is allowed; no message where it is not."""

import os
import threading

import pytest

from sordino.live.backends.base import raise_priority

HAS_SCHEDULER = hasattr(os, "SCHED_RESET_ON_FORK")


def in_a_thread(work):
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.skipif(not HAS_SCHEDULER, reason="this system has no real-time scheduler to ask")
def test_it_is_the_thread_s_own():
    def work():
        allowed = raise_priority()
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        child = in_a_thread(lambda: os.sched_getscheduler(0))
        return allowed, policy, child

    before = os.sched_getscheduler(0)
    allowed, policy, child = in_a_thread(work)
    assert policy == (os.SCHED_RR if allowed else before)
    assert child == before
    assert os.sched_getscheduler(0) == before


@pytest.mark.skipif(not HAS_SCHEDULER, reason="this system has no real-time scheduler to ask")
def test_a_refusal_is_quiet(monkeypatch, capfd):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert raise_priority() is False
    assert capfd.readouterr() == ("", "")
