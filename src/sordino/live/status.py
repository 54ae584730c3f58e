"""What a live session is doing at this moment."""

from dataclasses import dataclass
from typing import Literal

State = Literal["active", "bypassed", "muted", "waiting"]

SILENCE_DBFS = -100.0
"""What the level meters show for digital silence."""


@dataclass(frozen=True)
class Status:
    """A snapshot; a new one is made each time it is asked for.

    Args:
        state: "active" (cleaning), "bypassed" (the sound passes as it is), "muted" (silence), or
            "waiting" (a device is not there).
        reason: why, in words for the user; "" if active with the model that was asked for.
        input_dbfs, output_dbfs: level (RMS) of the last 0.1 s in dB re full scale.
        taken_db: by how many dB the pauses are quieter; None if nothing was heard yet.
        speech_probability: that the newest frame holds speech, 0..1; None if the model does not
            estimate it, or does not run.
        cpu_share: time that the engine worked / time of the sound, over the last second.  From 1
            on it cannot keep up.
        underruns: how often the output found no sound to play, since the start.
        model: name of the one in use now; "" while none is.
        strength: share of the noise that is taken away, 0..1.
        latency_seconds: from the microphone to the output as far as known: device buffers,
            algorithm, rings.
        input_name, output_name: of the devices, for people; "" while there is none.
        input_rate, output_rate: of the devices, in Hz; 0 while there is none.
        seconds: of sound since the start.
        drift_ppm: by how much the output's clock runs slower than the input's, in parts per
            million, as compensated now.
    """

    state: State = "waiting"
    reason: str = ""
    input_dbfs: float = SILENCE_DBFS
    output_dbfs: float = SILENCE_DBFS
    taken_db: float | None = None
    speech_probability: float | None = None
    cpu_share: float = 0.0
    underruns: int = 0
    model: str = ""
    strength: float = 1.0
    latency_seconds: float = 0.0
    input_name: str = ""
    output_name: str = ""
    input_rate: int = 0
    output_rate: int = 0
    seconds: float = 0.0
    drift_ppm: float = 0.0
