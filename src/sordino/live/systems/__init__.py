"""The sound systems: PulseAudio and PipeWire, Core Audio with BlackHole, Windows with VB-Cable."""

import sys

from sordino.errors import SordinoError
from sordino.live.systems.system import LOUDSPEAKER, MICROPHONE, Device, System

__all__ = ["LOUDSPEAKER", "MICROPHONE", "Device", "System", "choose_system"]


def choose_system() -> System:
    """Return the sound system of this computer; it need not be running yet.

    Raises:
        SordinoError: there is none that Sordino knows; says what to install.
    """
    if sys.platform == "darwin":
        from sordino.live.systems.coreaudio import CoreAudio

        return CoreAudio()
    if sys.platform == "win32":
        from sordino.live.systems.windows import Windows

        return Windows()
    try:
        from sordino.live.systems.pulse import Pulse
    except OSError as error:
        raise SordinoError(
            "the library of PulseAudio and PipeWire is not installed: apt install libpulse0, or "
            "your system's package of the same library"
        ) from error
    return Pulse()
