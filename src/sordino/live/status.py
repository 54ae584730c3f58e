"""What a live session tells about itself: its status, its processor time, its last seconds."""

import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sordino.arrays import Mono
from sordino.live.monitor import SILENCE_DBFS

State = Literal["active", "bypassed", "muted", "waiting", "idle"]


@dataclass(frozen=True)
class Status:
    """A snapshot of what a session is doing.

    Args:
        state: "active" (cleaning), "bypassed" (the sound passes as it is), "muted" (silence, by
            the user or because the microphone's own switch is off), "waiting" (a device is not
            there), or "idle" (nobody listens, and the microphone is let go).
        reason: why, in words for the user; "" if active with the model that the user chose.
        notice: what the user should know besides, while all works; "" if nothing.
        input_dbfs, output_dbfs: level (RMS) of the last 0.1 s in dB re full scale.
        taken_db: by how many dB the pauses are quieter; None if nothing was heard yet.
        speech_probability: that the newest frame holds speech, 0..1; None if the model does not
            estimate it, or does not run.
        voice: names of the voices that are kept alone; "" keeps everybody.
        voice_probability: that one of them speaks in the newest frame, 0..1; None if there is none
            or it is not estimated.
        cpu_share: processor time of the whole process / time that went by, over the last second or
            more; 1 is all of one core.
        underruns: how often the output found no sound to play, since the start.
        model: name of the one in use now; "" while none is.
        strength: share of the noise that is taken away, 0..1.
        latency_seconds: from the microphone to the output as far as known: device buffers,
            algorithm, ring buffers.
        input_name, output_name: of the devices, for people; "" while there is none.
        input_rate, output_rate: of the devices, in Hz; 0 while there is none.
        channel, channels: which channel of the input is used, counted from 1, and of how many;
            0 while there is none.
        seconds: of sound since the start.
        drift_ppm: by how much the output's clock runs slower than the input's, in parts per
            million, as compensated now.
    """

    state: State = "waiting"
    reason: str = ""
    notice: str = ""
    input_dbfs: float = SILENCE_DBFS
    output_dbfs: float = SILENCE_DBFS
    taken_db: float | None = None
    speech_probability: float | None = None
    voice: str = ""
    voice_probability: float | None = None
    cpu_share: float = 0.0
    underruns: int = 0
    model: str = ""
    strength: float = 1.0
    latency_seconds: float = 0.0
    input_name: str = ""
    output_name: str = ""
    input_rate: int = 0
    output_rate: int = 0
    channel: int = 0
    channels: int = 0
    seconds: float = 0.0
    drift_ppm: float = 0.0


class Recent(NamedTuple):
    """The last seconds of a session, noisy and clean, aligned to the sample."""

    noisy: Mono
    clean: Mono
    sample_rate: int
    """In Hz."""


class ProcessorUse:
    """Processor time of this process, all its threads, as a share of one core."""

    def __init__(self) -> None:
        self._since = time.perf_counter(), time.process_time()
        self._share = 0.0

    def share(self) -> float:
        """Return the share since the call a second or more ago that began the measurement."""
        wall, used = time.perf_counter(), time.process_time()
        seconds = wall - self._since[0]
        if seconds >= 1:
            self._share = (used - self._since[1]) / seconds
            self._since = wall, used
        return self._share
