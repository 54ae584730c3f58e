"""Systems on which a driver, installed once, is the virtual device: a cable from out to in.

What is played into the one end of the cable is recorded from the other.  So it is the
microphone of meeting programs when Sordino plays into it, and their loudspeaker when Sordino
records from it.  Devices are found by name in what PortAudio lists.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sordino.errors import SordinoError
from sordino.live.portaudio import PortAudioSink, PortAudioSource, portaudio
from sordino.live.ports import Sink, Source
from sordino.live.systems.system import LOUDSPEAKER, MICROPHONE, Device, Kind, choose

Listing = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Devices and host APIs, as `sounddevice.query_devices` and `query_hostapis` return them."""


@dataclass(frozen=True)
class Cable:
    """What is known of a driver.

    Args:
        host_api: PortAudio's name of the interface whose devices are used.
        family: how the names of all its devices begin; none of them is a real one.
        output: how the name of the end begins that is played into.
        input: how the name of the end begins that is recorded from.
        missing: what to tell the user who has not installed it.
    """

    host_api: str
    family: str
    output: str
    input: str
    missing: str


class CableSystem:
    """Devices of one of PortAudio's host APIs and a cable among them, as a `System`.

    Args:
        name: for people.
        cable: the driver to look for.
    """

    def __init__(self, name: str, cable: Cable) -> None:
        self.name = name
        self._cable = cable
        self._ports: list[Source | Sink] = []

    def devices(self) -> list[Device]:
        """See `System`."""
        return devices(_listing(), self._cable)

    def find_input(self, name: str | None) -> Device:
        """See `System`."""
        return choose(self._current(), "input", name)

    def find_output(self, name: str | None) -> Device:
        """See `System`."""
        return choose(self._current(), "output", name)

    def open_input(self, name: str | None, rate: int) -> Source:
        """See `System`."""
        source = PortAudioSource(self._number("input", name), rate)
        source.open()
        self._ports.append(source)
        return source

    def open_output(self, name: str | None, rate: int) -> Sink:
        """See `System`."""
        sink = PortAudioSink(self._number("output", name), rate)
        sink.open()
        self._ports.append(sink)
        return sink

    @contextmanager
    def virtual_microphone(self, label: str = MICROPHONE) -> Iterator[str]:  # noqa: ARG002
        """See `System`; the cable is there anyway and keeps its own label."""
        yield end(self._current(), "output", self._cable).name

    @contextmanager
    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> Iterator[str]:  # noqa: ARG002
        """See `virtual_microphone`."""
        yield end(self._current(), "input", self._cable).name

    def clean_up(self) -> list[str]:
        """See `System`; nothing is ever left."""
        return []

    def changes(self) -> int:
        """See `System`; PortAudio does not tell."""
        return 0

    def close(self) -> None:
        """See `System`."""

    def _number(self, kind: Kind, name: str | None) -> int:
        listing = _listing()
        return number_of(listing, self._cable, choose(devices(listing, self._cable), kind, name))

    def _current(self) -> list[Device]:
        """Return what is there now.

        PortAudio looks for devices once, when it starts, and may only be started again while
        nothing is open.
        """
        self._ports = [port for port in self._ports if port.alive]
        if not self._ports:
            sounddevice = portaudio()
            sounddevice._terminate()
            sounddevice._initialize()
        return self.devices()


def devices(listing: Listing, cable: Cable) -> list[Device]:
    """Return the devices of one host API, inputs first.

    Args:
        listing: of all host APIs.
        cable: its host API counts, and what is of its family is marked as virtual.
    """
    listed, apis = listing
    api = next((api for api in apis if api["name"] == cable.host_api), None)
    if api is None:
        return []
    kinds: tuple[Kind, Kind] = ("input", "output")
    return [
        Device(
            name=each["name"],
            label=each["name"],
            kind=kind,
            rate=round(each["default_samplerate"]),
            channels=each[f"max_{kind}_channels"],
            default=number == api[f"default_{kind}_device"],
            virtual=each["name"].startswith(cable.family),
        )
        for kind in kinds
        for number in api["devices"]
        if (each := listed[number])[f"max_{kind}_channels"] > 0
    ]


def number_of(listing: Listing, cable: Cable, device: Device) -> int:
    """Return PortAudio's number of a device that `devices` has returned."""
    listed, apis = listing
    numbers = next(api["devices"] for api in apis if api["name"] == cable.host_api)
    return next(
        number
        for number in numbers
        if listed[number]["name"] == device.name
        and listed[number][f"max_{device.kind}_channels"] > 0
    )


def end(found: Sequence[Device], kind: Kind, cable: Cable) -> Device:
    """Return one end of the cable.

    Raises:
        SordinoError: it is not installed; says how to.
    """
    name = cable.input if kind == "input" else cable.output
    device = next(
        (each for each in found if each.kind == kind and each.name.startswith(name)), None
    )
    if device is None:
        raise SordinoError(cable.missing)
    return device


def _listing() -> Listing:
    sounddevice = portaudio()
    return list(sounddevice.query_devices()), list(sounddevice.query_hostapis())
