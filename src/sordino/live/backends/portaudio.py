"""Devices through PortAudio, with an installed cable driver as the virtual device.

macOS has BlackHole and Windows has VB-Cable: what is played into the one end of the cable is
recorded from the other.  So the cable is the microphone of meeting programs when Sordino plays
into it, and their loudspeaker when Sordino records from it.

The callbacks run in PortAudio's thread.  They copy between its buffer and the ring buffer and do
nothing else: no locks, no allocation, no logging.
"""

# No types: sounddevice.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sordino.errors import SordinoError, install_command
from sordino.live.backends.base import (
    BLOCK_SECONDS,
    LOUDSPEAKER,
    MICROPHONE,
    RING_SECONDS,
    Device,
    DeviceLost,
    Kind,
    Sink,
    Source,
    check_channel,
    choose_device,
)
from sordino.live.channels import ChannelPicker
from sordino.live.ring_buffer import RingBuffer

Listing = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Devices and host APIs, as `sounddevice.query_devices` and `query_hostapis` return them."""


MAX_CHANNELS = 32  # of a microphone; ALSA's plugins claim to have any number


@dataclass(frozen=True)
class Cable:
    """A driver that offers a loudspeaker and a microphone which are connected.

    Args:
        host_api: PortAudio's name of the interface whose devices are used.
        family: prefix of the names of all its devices; none of them is a real one.
        output: prefix of the name of the end that is played into.
        input: prefix of the name of the end that is recorded from.
        missing: what to tell the user who has not installed it.
    """

    host_api: str
    family: str
    output: str
    input: str
    missing: str


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

# Of PortAudio's interfaces on Windows only WASAPI counts: MME cuts names off after 31
# characters, and both it and DirectSound add far more than 10 ms.
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


class PortAudioBackend:
    """Devices of one of PortAudio's host APIs and a cable among them, as a `Backend`.

    Args:
        cable: the driver to look for; its host API is the one that is used.
    """

    notice = ""

    def __init__(self, cable: Cable) -> None:
        self.name = cable.host_api
        self._cable = cable
        self._ports: list[Source | Sink] = []

    def devices(self) -> list[Device]:
        """See `Backend`."""
        return list_devices(_listing(), self._cable)

    def find_input(self, name: str | None) -> Device:
        """See `Backend`."""
        return choose_device(self._current(), "input", name)

    def find_output(self, name: str | None) -> Device:
        """See `Backend`."""
        return choose_device(self._current(), "output", name)

    def open_input(self, name: str | None, rate: int, channel: int | None = None) -> Source:
        """See `Backend`."""
        check_channel(self.find_input(name), channel)
        source = PortAudioSource(self._number("input", name), rate, channel)
        source.open()
        self._ports.append(source)
        return source

    def open_output(self, name: str | None, rate: int) -> Sink:
        """See `Backend`."""
        sink = PortAudioSink(self._number("output", name), rate)
        sink.open()
        self._ports.append(sink)
        return sink

    @contextmanager
    def virtual_microphone(self, label: str = MICROPHONE) -> Generator[str]:  # noqa: ARG002
        """See `Backend`; the cable is there anyway and keeps its own label."""
        yield cable_end(self._current(), "output", self._cable).name

    @contextmanager
    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> Generator[str]:  # noqa: ARG002
        """See `virtual_microphone`."""
        yield cable_end(self._current(), "input", self._cable).name

    def echo_canceller(self, microphone: str, loudspeaker: str) -> AbstractContextManager[str]:  # noqa: ARG002
        """See `Backend`."""
        raise SordinoError(
            "--echo-cancel needs PulseAudio or PipeWire: leave it out, meeting programs have "
            "cancellers of their own"
        )

    def is_heard(self) -> bool:
        """See `Backend`; a cable does not tell."""
        raise SordinoError(
            "--on-demand needs PulseAudio or PipeWire: this system does not report which programs "
            "record"
        )

    def clean_up(self) -> list[str]:
        """See `Backend`; nothing is ever left."""
        return []

    def changes(self) -> int:
        """See `Backend`; PortAudio does not tell."""
        return 0

    def close(self) -> None:
        """See `Backend`."""

    def _number(self, kind: Kind, name: str | None) -> int:
        listing = _listing()
        device = choose_device(list_devices(listing, self._cable), kind, name)
        return device_number(listing, self._cable, device)

    def _current(self) -> list[Device]:
        """Return what there is now.

        PortAudio lists devices once, when it starts, and may only be started again while
        nothing is open.
        """
        self._ports = [port for port in self._ports if port.alive]
        if not self._ports:
            sounddevice = import_sounddevice()
            # sounddevice has no public way to refresh its list of devices; its documentation names
            # these two functions for it.
            sounddevice._terminate()
            sounddevice._initialize()
        return self.devices()


def list_devices(listing: Listing, cable: Cable) -> list[Device]:
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


def device_number(listing: Listing, cable: Cable, device: Device) -> int:
    """Return PortAudio's number of a device that `list_devices` has returned."""
    listed, apis = listing
    numbers = next(api["devices"] for api in apis if api["name"] == cable.host_api)
    return next(
        number
        for number in numbers
        if listed[number]["name"] == device.name
        and listed[number][f"max_{device.kind}_channels"] > 0
    )


def cable_end(found: Sequence[Device], kind: Kind, cable: Cable) -> Device:
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


def import_sounddevice() -> Any:
    """Return the module `sounddevice`.

    Raises:
        SordinoError: it or PortAudio is not installed.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise SordinoError(
            f"live use needs the package sounddevice: {install_command('live')}"
        ) from error
    except OSError as error:
        raise SordinoError(
            "PortAudio is not installed: apt install libportaudio2, or brew install portaudio"
        ) from error
    return cast(Any, sounddevice)


def _listing() -> Listing:
    sounddevice = import_sounddevice()
    return list(sounddevice.query_devices()), list(sounddevice.query_hostapis())


class _PortAudioPort(ABC):
    """What both directions share.

    Args:
        device: PortAudio's number of the device; None: the default one.
        rate: wished for, in Hz.  A device that cannot do it runs at its own.
    """

    _kind: str
    _max_channels: int
    xruns = 0
    clocked = True
    ended = False

    def __init__(self, device: int | None, rate: int) -> None:
        self._portaudio = import_sounddevice()
        self._device, self.sample_rate = device, rate
        self._stream: Any = None
        info = self._info()
        self.name = str(info["name"])
        self._channels = min(self._max_channels, int(info[f"max_{self._kind}_channels"]))
        if not self._rate_works(rate):
            self.sample_rate = round(float(info["default_samplerate"]))
        self.buffer = RingBuffer(round(RING_SECONDS * self.sample_rate))

    @property
    def alive(self) -> bool:
        """See `Port`."""
        return self._stream is not None and bool(self._stream.active)

    @property
    def latency(self) -> float:
        """See `Port`."""
        return float(self._stream.latency) if self._stream else 0.0

    def open(self) -> None:
        """See `Port`."""
        if self._stream is not None:
            return
        make = getattr(self._portaudio, f"{self._kind.capitalize()}Stream")
        try:
            self._stream = make(
                samplerate=self.sample_rate,
                blocksize=round(BLOCK_SECONDS * self.sample_rate),
                device=self._device,
                channels=self._channels,
                dtype="float32",
                latency="low",
                callback=self._exchange,
            )
            self._stream.start()
        except self._portaudio.PortAudioError as error:
            self.close()
            raise DeviceLost(f"{self.name} cannot be opened: {_words(error)}") from None

    def close(self) -> None:
        """See `Port`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(ignore_errors=True)

    @abstractmethod
    def _exchange(self, block: NDArray[np.float32], count: int, time: Any, status: Any) -> None:
        """Copy between PortAudio's buffer and the ring buffer."""

    def _info(self) -> Any:
        try:
            return self._portaudio.query_devices(self._device, self._kind)
        except (self._portaudio.PortAudioError, ValueError) as error:
            raise DeviceLost(f"the {self._kind} device is not there: {_words(error)}") from None

    def _rate_works(self, rate: int) -> bool:
        check = getattr(self._portaudio, f"check_{self._kind}_settings")
        try:
            check(self._device, self._channels, "float32", samplerate=rate)
        except (self._portaudio.PortAudioError, ValueError):
            return False
        return True


class PortAudioSource(_PortAudioPort, Source):
    """A microphone, as a `Source`.

    Args:
        device, rate: see `_PortAudioPort`.
        channel: counted from 1; None: the one with sound.
    """

    _kind = "input"
    _max_channels = MAX_CHANNELS

    def __init__(self, device: int | None, rate: int, channel: int | None = None) -> None:
        super().__init__(device, rate)
        self.picker = ChannelPicker(self._channels, self.sample_rate, channel)

    def _exchange(self, block: NDArray[np.float32], count: int, time: Any, status: Any) -> None:  # noqa: ARG002
        mono = block[:, 0] if self._channels == 1 else self.picker(block)
        if self.buffer.write(mono) < count:
            self.xruns += 1


class PortAudioSink(_PortAudioPort, Sink):
    """A loudspeaker, or a cable to other programs; both channels get the same."""

    _kind = "output"
    _max_channels = 2

    def _exchange(self, block: NDArray[np.float32], count: int, time: Any, status: Any) -> None:  # noqa: ARG002
        got = self.buffer.read(block[:, 0])
        if got < count:
            block[got:, 0] = 0
            self.xruns += 1
        if self._channels > 1:
            block[:, 1] = block[:, 0]


def _words(error: Exception) -> str:
    return str(error.args[0] if error.args else error).rstrip(".")
