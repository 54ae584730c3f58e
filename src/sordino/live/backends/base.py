"""What every audio backend offers: devices, streams with a ring buffer each, virtual devices.

A stream and the engine share a `RingBuffer`.  A source's own thread or callback writes into its
buffer; a sink's reads from its buffer and plays silence for what is not there.  Neither does
anything else: no locks, no logging, no waiting for the engine.
"""

import os
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from sordino.errors import SordinoError
from sordino.live.channels import ChannelPicker
from sordino.live.ring_buffer import RingBuffer

Kind = Literal["input", "output"]

BLOCK_SECONDS = 0.010
"""Size of the blocks that devices should be asked for; one frame of the network."""

RING_SECONDS = 1.0
"""Capacity of a ring buffer.  It costs no latency: the engine keeps the buffers nearly empty."""

MICROPHONE = "Sordino Microphone"
"""What meeting programs list among their microphones."""

LOUDSPEAKER = "Sordino Loudspeaker"
"""What meeting programs list among their loudspeakers, for the other direction."""

REALTIME_PRIORITY = 10  # of 99: below the sound servers, above everything that is not real-time


class DeviceLost(Exception):  # noqa: N818
    """A device, or its sound server, is missing or has disappeared.

    The message tells the user which ("the microphone was unplugged").  The session waits and
    tries again; the user sees a state, not an error.
    """


class UnheardError(DeviceLost):
    """On demand: no program records the virtual microphone, so the real one stays closed."""


class UnknownDevice(DeviceLost):
    """No device has the name that the user gave, though the backend answers."""


class RefusedDeviceError(SordinoError):
    """A device that must not be used: feedback loop, or virtual device of another session."""


class ServerLost(DeviceLost):
    """The sound server does not answer."""


@dataclass(frozen=True)
class Device:
    """A microphone or a loudspeaker, or what looks like one to programs.

    Args:
        name: by which the backend knows it; for `--input` and `--output`.
        label: for people.
        kind: "input" or "output".
        rate: at which it runs by itself, in Hz.
        channels: how many it has.
        default: it is the one that programs use if nothing is chosen.
        monitor: it is no microphone but records what a loudspeaker plays.
        virtual: it is one of Sordino's own, or the cable that serves as one.
        managed: another `sordino` that is running has made it.
        muted: it gives silence, because its switch in the system's mixer is off.
    """

    name: str
    label: str
    kind: Kind
    rate: int
    channels: int
    default: bool = False
    monitor: bool = False
    virtual: bool = False
    managed: bool = False
    muted: bool = False


class Port(Protocol):
    """An open stream of one channel to or from a device; subclass `Source` or `Sink`.

    A port is opened once and closed once.  For a device that came back there is a new port.
    """

    name: str
    """The device's label, for people."""

    sample_rate: int
    """Of the stream in Hz; known once the port is open."""

    buffer: RingBuffer
    """Float32, mono, full scale +-1.  Made by the port with a capacity of RING_SECONDS."""

    xruns: int = 0
    """Times that a source found its buffer full, or a sink its buffer without enough samples."""

    clocked: bool = True
    """The device has a clock of its own that sets the pace.  A port that is not clocked (a
    file, as fast as possible) waits for its buffer instead: nothing is lost or repeated."""

    ended: bool = False
    """There will be no more sound, and this is no error (the end of a file)."""

    @property
    def alive(self) -> bool:
        """The device is there and the stream runs.  Cheap; read many times a second."""
        ...

    @property
    def latency(self) -> float:
        """Seconds in the device's own buffers, beyond the ring buffer, as far as known."""
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
    """A microphone, or something like it: it writes one channel into its buffer."""

    picker: ChannelPicker
    """Knows which channel that is, and how many there are."""


class Sink(Port, Protocol):
    """A loudspeaker, or something like it: it reads from its buffer."""


class Backend(Protocol):
    """Devices, streams and virtual devices; all methods may be called from any thread."""

    @property
    def name(self) -> str:
        """For people: "pulseaudio 16.1"."""
        ...

    @property
    def notice(self) -> str:
        """What the user should know about the devices while all works; "" if nothing.  Cheap."""
        ...

    def devices(self) -> list[Device]:
        """Return what there is now, inputs first.

        Raises:
            DeviceLost: the sound server is not there.
        """
        ...

    def find_input(self, name: str | None) -> Device:
        """Return the microphone of this name or label; None: the one to be used by default.

        By default it is the system's own default, but never a virtual or a monitor device.

        Raises:
            DeviceLost: there is none now.
        """
        ...

    def find_output(self, name: str | None) -> Device:
        """Return the loudspeaker of this name or label; None: the one to be used by default.

        Raises:
            DeviceLost: there is none now.
        """
        ...

    def open_input(self, name: str | None, rate: int, channel: int | None = None) -> Source:
        """Return an open source on what `find_input` finds, mono, at `rate` Hz if it can.

        Args:
            name: see `find_input`.
            rate: in Hz.
            channel: of the device, counted from 1; None: the one with sound.

        Raises:
            DeviceLost: there is none now.
            SordinoError: it has no such channel.
        """
        ...

    def open_output(self, name: str | None, rate: int) -> Sink:
        """Return an open sink that plays to what `find_output` finds; see `open_input`."""
        ...

    def virtual_microphone(self, label: str = MICROPHONE) -> AbstractContextManager[str]:
        """Make a microphone for other programs, as long as the context lasts.

        The context's value is the name of the output that feeds it.  On leaving, the default
        devices are as before.  Leaving is safe when the server has gone, and a new context
        creates the device again under the same name.

        Raises:
            DeviceLost: the sound server is not there.
            SordinoError: it cannot be made here; says what to install.
        """
        ...

    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> AbstractContextManager[str]:
        """Make a loudspeaker for other programs; the value is the input that records it.

        See `virtual_microphone`.
        """
        ...

    def echo_canceller(self, microphone: str, loudspeaker: str) -> AbstractContextManager[str]:
        """Take out of a microphone what programs play, as long as the context lasts.

        The context's value is the name of the input without the echo.  On leaving, the default
        devices are as before.

        Args:
            microphone: name of an input.
            loudspeaker: name of the output that it hears.

        Raises:
            DeviceLost: the sound server is not there.
            SordinoError: this system has no canceller.
        """
        ...

    def is_heard(self) -> bool:
        """Return whether another program records the virtual microphone.

        Raises:
            DeviceLost: the sound server is not there.
            SordinoError: this system does not tell.
        """
        ...

    def clean_up(self) -> list[str]:
        """Remove virtual devices that a crashed run has left; return their names."""
        ...

    def changes(self) -> int:
        """Return a number that grows when a device, a default or the server comes or goes.

        Cheap.  It may miss a new default, so callers should also check from time to time; a
        backend that cannot tell always returns the same number.
        """
        ...

    def close(self) -> None:
        """Stop watching for changes."""
        ...


def choose_device(devices: list[Device], kind: Kind, name: str | None) -> Device:
    """Return the device of this name or label, or the best default.

    Args:
        devices: what there is.
        kind: "input" or "output".
        name: None: the default.  A monitor of a loudspeaker, or one of Sordino's own devices,
            is only taken if it is named.

    Raises:
        DeviceLost: there is none.
        UnknownDevice: there is none of this name.
    """
    what = "microphone" if kind == "input" else "loudspeaker"
    candidates = [device for device in devices if device.kind == kind]
    if name is None:
        real = [device for device in candidates if not device.monitor and not device.virtual]
        if not real:
            raise DeviceLost(f"there is no {what}: plug one in")
        return next((device for device in real if device.default), real[0])
    wanted = name.casefold()
    for device in candidates:
        if device.name == name:
            return device
    for device in candidates:
        if wanted in (device.name.casefold(), device.label.casefold()):
            return device
    raise UnknownDevice(f"there is no {what} {name!r} now: `sordino devices` lists what there is")


def check_channel(device: Device, channel: int | None) -> None:
    """Raise SordinoError if a device has no such channel."""
    if channel is not None and not 1 <= channel <= device.channels:
        has = "1 channel" if device.channels == 1 else f"{device.channels} channels"
        raise SordinoError(
            f"{device.label} has {has}: channel {channel} is not among them, choose from 1 on"
        )


def virtual_end(backend: Backend, kind: Kind, label: str) -> Device | None:
    """Return the input or the output of a virtual device; a cable keeps a name of its own.

    Raises:
        DeviceLost: the sound server is not there.
    """
    ends = [each for each in backend.devices() if each.virtual and each.kind == kind]
    named = [each for each in ends if label in each.label]
    return min(named or ends, key=lambda each: each.monitor, default=None)


def raise_priority() -> bool:
    """Give the calling thread real-time priority; return whether the system allowed it.

    Linux allows it to root and to groups with an `rtprio` limit.  Threads that this one starts
    are ordinary again.
    """
    if hasattr(os, "SCHED_RESET_ON_FORK"):
        with suppress(OSError):
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY))
            return True
    return False
