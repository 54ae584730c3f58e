"""What the user may change while the engine runs."""

from dataclasses import dataclass


@dataclass
class Controls:
    """Written by any thread, read by the engine before each block.

    Args:
        strength: share of the noise that is taken away, 0..1.
        bypass: let the sound pass as it is.
        muted: put out silence.
    """

    strength: float = 1.0
    bypass: bool = False
    muted: bool = False
