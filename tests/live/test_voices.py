"""Recording a voice to enrol it, and enrolling one while it speaks."""

import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.live import voices
from sordino.live.monitor import Monitor
from sordino.live.voices import AutoEnrolment
from sordino.voice.encoder import VoiceEncoder
from support.memory_ports import MemorySource
from support.signals import noise
from support.voices import TiltEncoder, recording


class Microphones:
    """A backend with one microphone."""

    def __init__(self, sound, realtime=False):
        self.source = MemorySource(sound, 48000, realtime)

    def open_input(self, name, rate):
        self.source.open()
        return self.source


def test_as_much_is_recorded_as_is_wanted():
    sound, steps = noise(3 * 48000), []
    samples, rate = voices.record(
        Microphones(sound), 2.0, on_step=lambda seconds, block: steps.append(seconds)
    )
    np.testing.assert_array_equal(samples, sound[: 2 * rate])
    assert steps == sorted(steps)
    assert steps[-1] == 2.0


def test_a_microphone_that_falls_silent_is_told(monkeypatch):
    monkeypatch.setattr(voices, "STALL_SECONDS", 0.2)
    microphones = Microphones(noise(48000), realtime=True)
    microphones.source.stalled = True
    with pytest.raises(SordinoError, match="no sound comes from memory"):
        voices.record(microphones, 2.0)


@pytest.fixture
def enrolled(monkeypatch):
    """Feed recordings to automatic enrolment and poll it; return the profiles."""
    monkeypatch.setattr(VoiceEncoder, "load", TiltEncoder)

    def poll(sound, rate):
        found, monitor = [], Monitor(rate)
        enrolment = AutoEnrolment(monitor, found.append)
        for start in range(0, len(sound), rate):
            block = sound[start : start + rate]
            monitor.feed(block, block)
            enrolment.poll()
            if enrolment._thread:
                enrolment._thread.join()
        enrolment.close()
        return found

    return poll


def test_who_speaks_first_is_enrolled_once(enrolled):
    sound, rate = recording("allison", 24)
    found = enrolled(sound, rate)
    assert len(found) == 1
    assert found[0].seconds >= voices.AUTO_SPEECH_SECONDS
    assert found[0].name == ""


@pytest.mark.slow
def test_noise_and_several_people_enrol_nobody(enrolled):
    (first, rate), (second, _) = recording("allison", 6), recording("carlo", 6)
    assert enrolled(np.concatenate([first, second]), rate) == []
    assert enrolled(noise(20 * rate), rate) == []
