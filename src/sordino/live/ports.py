"""Where live sound comes from and where it goes: what every kind of device has in common.

A port and the engine share a `Ring`.  A source's own thread or callback writes into its ring;
a sink's reads from its ring, and plays silence for what is not there.  Neither does anything
else: no locks, no logging, no waiting for the engine.
"""

from typing import Protocol

from sordino.live.ring import Ring

BLOCK_SECONDS = 0.010
"""Size of the blocks that devices should be asked for; one frame of the network."""

RING_SECONDS = 1.0
"""Room in a ring.  It costs no latency: the engine keeps the rings nearly empty."""


class DeviceLost(Exception):  # noqa: N818
    """A device, or the sound server behind it, is not there, or not any more.

    The message says so in words for the user ("the microphone was unplugged").  The session
    waits and tries again; to the user it is a state and no error.
    """


class Port(Protocol):
    """A device with one channel of sound; subclass `Source` or `Sink`.

    A port is opened once and closed once.  For a device that came back there is a new port.
    """

    name: str
    """The device's label, for people."""

    sample_rate: int
    """In Hz, as it runs; known once the port is open."""

    ring: Ring
    """Float32, mono, full scale +-1.  Made by the port with room for RING_SECONDS."""

    xruns: int = 0
    """Times that a source found its ring full, or a sink its ring without enough samples."""

    clocked: bool = True
    """The device has a clock of its own that sets the pace.  A port that is not clocked (a
    file, as fast as possible) waits for its ring instead: nothing is lost or repeated."""

    ended: bool = False
    """There will never be more sound, and that is no fault (the end of a file)."""

    @property
    def alive(self) -> bool:
        """The device is there and the stream runs.  Cheap; asked many times a second."""
        ...

    @property
    def latency(self) -> float:
        """Seconds in the device's own buffers, on the far side of the ring, as far as known."""
        ...

    def open(self) -> None:
        """Start the stream; on a port that is open already, do nothing.

        Raises:
            DeviceLost: the device is not there.
        """
        ...

    def close(self) -> None:
        """Stop the stream and let the device go; may be called at any time and twice."""
        ...


class Source(Port, Protocol):
    """A microphone, or something like it: it writes into its ring."""


class Sink(Port, Protocol):
    """A loudspeaker, or something like it: it reads from its ring."""
