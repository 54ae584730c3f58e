"""What Sordino asks of a computer's sound system; each system is one file beside this one."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from sordino.live.ports import DeviceLost, Sink, Source

Kind = Literal["input", "output"]

MICROPHONE = "Sordino Microphone"
"""What meeting programs list among their microphones."""

LOUDSPEAKER = "Sordino Loudspeaker"
"""What meeting programs list among their loudspeakers, for the other direction."""


@dataclass(frozen=True)
class Device:
    """A microphone or a loudspeaker, or what looks like one to programs.

    Args:
        name: by which the system knows it; for `--input` and `--output`.
        label: for people.
        kind: "input" or "output".
        rate: at which it runs by itself, in Hz.
        channels: how many it has.
        default: it is the one that programs use if nothing is chosen.
        monitor: it is no microphone but hears what a loudspeaker plays.
        virtual: it is one of Sordino's own, or the cable that serves as one.
    """

    name: str
    label: str
    kind: Kind
    rate: int
    channels: int
    default: bool = False
    monitor: bool = False
    virtual: bool = False


class System(Protocol):
    """Devices, ports and virtual devices; all methods may be called from any thread."""

    @property
    def name(self) -> str:
        """For people: "pulseaudio 16.1"."""
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

    def open_input(self, name: str | None, rate: int) -> Source:
        """Return an open source that hears what `find_input` finds, mono, at `rate` Hz if it can.

        Raises:
            DeviceLost: there is none now.
        """
        ...

    def open_output(self, name: str | None, rate: int) -> Sink:
        """Return an open sink that plays to what `find_output` finds; see `open_input`."""
        ...

    def virtual_microphone(self, label: str = MICROPHONE) -> AbstractContextManager[str]:
        """Make a microphone for other programs, as long as the context lasts.

        The context's value is the name of the output that feeds it.  On leaving, the default
        devices are as before.  Leaving is safe when the server has gone, and a new context
        makes the device anew under the same name.

        Raises:
            DeviceLost: the sound server is not there.
            SordinoError: it cannot be made here; says what to install.
        """
        ...

    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> AbstractContextManager[str]:
        """Make a loudspeaker for other programs; the value is the input that hears it.

        See `virtual_microphone`.
        """
        ...

    def clean_up(self) -> list[str]:
        """Remove virtual devices that a crashed run has left; return their names."""
        ...

    def changes(self) -> int:
        """Return a number that grows when a device, a default or the server comes or goes.

        Cheap.  It may miss a new default, so that who must know has to look now and then too;
        a system that cannot tell always returns the same number.
        """
        ...

    def close(self) -> None:
        """Stop watching for changes."""
        ...


def choose(devices: list[Device], kind: Kind, name: str | None) -> Device:
    """Return the device of this name or label, or the best default.

    Args:
        devices: what there is.
        kind: "input" or "output".
        name: None: the default.  A device that sends a loudspeaker's sound back, or one of
            Sordino's own, is only taken if it is named.

    Raises:
        DeviceLost: there is none.
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
    raise DeviceLost(f"there is no {what} {name!r} now: `sordino devices` lists what there is")
