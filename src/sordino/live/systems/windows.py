"""Windows: WASAPI, with VB-Cable as the virtual device.

Of PortAudio's interfaces only WASAPI counts: MME cuts names off after 31 characters, and both it
and DirectSound add far more than 10 ms.
"""

from sordino.live.systems.cable import Cable, CableSystem

VB_CABLE = Cable(
    host_api="Windows WASAPI",
    family="CABLE",
    output="CABLE Input",
    input="CABLE Output",
    missing=(
        "Windows has no virtual microphone of its own and VB-Cable is not installed: get it from "
        "https://vb-audio.com/Cable, run its setup as administrator, restart Windows, start "
        'again, and choose "CABLE Output" as the microphone in the meeting program'
    ),
)


class Windows(CableSystem):
    """The sound system of Windows, as a `System`."""

    def __init__(self) -> None:
        super().__init__("Windows WASAPI", VB_CABLE)
