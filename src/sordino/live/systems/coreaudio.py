"""macOS: Core Audio, with BlackHole as the virtual device."""

from sordino.live.systems.cable import Cable, CableSystem

BLACKHOLE = Cable(
    host_api="Core Audio",
    family="BlackHole",
    output="BlackHole",
    input="BlackHole",
    missing=(
        "macOS has no virtual microphone of its own and BlackHole is not installed: run "
        "`brew install blackhole-2ch`, restart the Mac, start again, and choose "
        '"BlackHole 2ch" as the microphone in the meeting program'
    ),
)


class CoreAudio(CableSystem):
    """The sound system of macOS, as a `System`."""

    def __init__(self) -> None:
        super().__init__("Core Audio", BLACKHOLE)
