"""Audio backends: PulseAudio and PipeWire; Core Audio with BlackHole; WASAPI with VB-Cable."""

import sys

from sordino.errors import SordinoError
from sordino.live.backends.base import LOUDSPEAKER, MICROPHONE, Backend, Device

__all__ = ["LOUDSPEAKER", "MICROPHONE", "Backend", "Device", "choose_backend"]


def choose_backend() -> Backend:
    """Return the audio backend of this computer; its server need not be running yet.

    Raises:
        SordinoError: there is none that Sordino knows; says what to install.
    """
    if sys.platform in ("darwin", "win32"):
        from sordino.live.backends import portaudio

        mac = sys.platform == "darwin"
        return portaudio.PortAudioBackend(portaudio.BLACKHOLE if mac else portaudio.VB_CABLE)
    try:
        from sordino.live.backends.pulse import PulseBackend
    except OSError as error:
        raise SordinoError(
            "the library of PulseAudio and PipeWire is not installed: apt install libpulse0, or "
            "your system's package of the same library"
        ) from error
    return PulseBackend()
