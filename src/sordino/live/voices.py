"""Voices in live use: recording one to enrol, and enrolling one while it speaks."""

from collections.abc import Callable
from threading import Event, Thread

import numpy as np

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.live.backends.base import Backend, DeviceLost
from sordino.live.monitor import Monitor
from sordino.voice import Voice

RATE = 48000  # Hz
STEP_SECONDS = 0.1
STALL_SECONDS = 2.0  # without sound, after which a microphone counts as lost
AUTO_SPEECH_SECONDS = 8.0  # that automatic enrolment needs
AUTO_SOUND_SECONDS = 30.0  # that it looks at
AUTO_RETRY_SECONDS = 5.0  # between two attempts


def record(
    backend: Backend,
    seconds: float,
    input: str | None = None,
    on_step: Callable[[float, Mono], None] | None = None,
    stop: Event | None = None,
) -> tuple[Mono, int]:
    """Record a microphone; return the samples and their rate in Hz.

    Args:
        backend: where devices are.
        seconds: how much, or less if it is stopped before.
        input: name or label of the microphone; None: the default.
        on_step: called ten times a second with the seconds so far and the newest sound.
        stop: ends it early when set.

    Raises:
        SordinoError: there is no such microphone, or no sound comes from it.
    """
    try:
        source = backend.open_input(input, RATE)
    except DeviceLost as error:
        raise SordinoError(f"{error}: `sordino doctor` says how to fix it") from error
    parts: list[Mono] = []
    wanted, count, waited = round(seconds * source.sample_rate), 0, 0.0
    block = np.zeros(round(STEP_SECONDS * source.sample_rate), np.float32)
    try:
        while count < wanted and not (stop and stop.is_set()):
            source.buffer.arrived.clear()
            taken = source.buffer.read(block[: wanted - count])
            if not taken:
                if source.ended:
                    break
                if not source.alive or waited > STALL_SECONDS:
                    raise SordinoError(f"no sound comes from {source.name}: try another microphone")
                waited += 0.0 if source.buffer.arrived.wait(STEP_SECONDS) else STEP_SECONDS
                continue
            waited = 0.0
            parts.append(block[:taken].copy())
            count += taken
            if on_step:
                on_step(count / source.sample_rate, parts[-1])
    finally:
        source.close()
    return np.concatenate([np.zeros(0, np.float32), *parts]), source.sample_rate


class AutoEnrolment:
    """Enrols whoever speaks first, from the sound that goes by; for one session only.

    The checks of enrolment decide when there has been enough clean speech of one person.  The
    profile is kept in memory, and is gone with the session.

    Args:
        monitor: of the session.
        on_voice: called with the profile, from a thread of its own.
    """

    def __init__(self, monitor: Monitor, on_voice: Callable[[Voice], None]) -> None:
        self.done = False
        """Whether there is a profile."""
        self._monitor, self._on_voice = monitor, on_voice
        self._due = AUTO_SPEECH_SECONDS  # of sound, when to try
        self._thread: Thread | None = None

    def poll(self) -> None:
        """Start an attempt if one is due; to be called several times a second."""
        seconds = self._monitor.samples / self._monitor.sample_rate
        busy = self._thread is not None and self._thread.is_alive()
        if self.done or busy or seconds < self._due:
            return
        self._due = seconds + AUTO_RETRY_SECONDS
        self._thread = Thread(target=self._try, name="enrolment", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for an attempt that is running; its result is discarded."""
        self.done = True
        if self._thread:
            self._thread.join()

    def _try(self) -> None:
        noisy, _ = self._monitor.recent(AUTO_SOUND_SECONDS)
        try:
            voice = Voice.enroll((noisy, self._monitor.sample_rate))
        except SordinoError:
            return  # not enough speech yet, or of more than one person
        if voice.seconds >= AUTO_SPEECH_SECONDS and not self.done:
            self.done = True
            self._on_voice(voice)
