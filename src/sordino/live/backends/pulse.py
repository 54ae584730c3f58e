"""PulseAudio and PipeWire, through the protocol that both speak."""

# No types: pulsectl.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import threading
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pulsectl

from sordino.arrays import Mono
from sordino.live.backends import pulse_server
from sordino.live.backends.base import (
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
from sordino.live.backends.libpulse import PulseError, PulseStream
from sordino.live.backends.pulse_server import (
    OWNER_PROPERTY,
    PREFIX,
    Defaults,
    FeedGuard,
    Watch,
    connection,
    owner_token,
)
from sordino.live.channels import ChannelPicker
from sordino.live.ring_buffer import RingBuffer

STEP_SECONDS = 0.005
"""Of sound that is moved at once.  PipeWire lets the whole graph run at this pace."""

RECORD_SECONDS = 0.010
"""The same for recording on PulseAudio, a frame of the network.  PipeWire keeps one step back, so
that longer ones cost time there."""


class PulseBackend:
    """The sound server of a Linux desktop, as a `Backend`."""

    def __init__(self) -> None:
        self._before = Defaults()  # the last ones that were not Sordino's own
        self._guards: list[FeedGuard] = []
        self._watch: Watch | None = None
        self._lock = threading.Lock()  # guards the making of _watch

    @property
    def name(self) -> str:
        """See `Backend`."""
        try:
            with connection() as pulse:
                info: Any = pulse.server_info()
                return f"{info.server_name} {info.server_version}"
        except DeviceLost:
            return "no sound server"

    @property
    def notice(self) -> str:
        """See `Backend`."""
        return next(filter(None, [guard.notice for guard in self._guards]), "")

    def devices(self) -> list[Device]:
        """See `Backend`."""
        with connection() as pulse:
            before = self._note_defaults(pulse)
            inputs = [_device(source, "input", before.source) for source in pulse.source_list()]
            outputs = [_device(sink, "output", before.sink) for sink in pulse.sink_list()]
        return inputs + outputs

    def find_input(self, name: str | None) -> Device:
        """See `Backend`."""
        return choose_device(self.devices(), "input", name)

    def find_output(self, name: str | None) -> Device:
        """See `Backend`."""
        return choose_device(self.devices(), "output", name)

    def open_input(self, name: str | None, rate: int, channel: int | None = None) -> Source:
        """See `Backend`."""
        device = self.find_input(name)
        check_channel(device, channel)
        with connection() as pulse:
            try:
                info: Any = pulse.get_source_by_name(device.name)
            except pulsectl.PulseIndexError:
                raise DeviceLost(f"{device.label} has gone") from None
            step = _record_seconds(pulse)
        source = PulseSource(device, rate, step, info.channel_list_raw, channel)
        source.open()
        return source

    def open_output(self, name: str | None, rate: int) -> Sink:
        """See `Backend`."""
        sink = PulseSink(self.find_output(name), rate)
        sink.open()
        return sink

    @contextmanager
    def virtual_microphone(self, label: str = MICROPHONE) -> Generator[str]:
        """See `Backend`; no other program can play into it."""
        with ExitStack() as after, pulse_server.microphone(label, self._defaults()) as feed:
            guard = FeedGuard(feed)
            after.callback(guard.close)  # once the feed has gone, see there
            self._guards.append(guard)
            try:
                yield feed
            finally:
                self._guards.remove(guard)

    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> AbstractContextManager[str]:
        """See `Backend`."""
        return pulse_server.loudspeaker(label, self._defaults())

    def echo_canceller(self, microphone: str, loudspeaker: str) -> AbstractContextManager[str]:
        """See `Backend`."""
        return pulse_server.echo_canceller(microphone, loudspeaker, self._defaults())

    def is_heard(self) -> bool:
        """See `Backend`; the level meters of mixers do not count."""
        with connection() as pulse:
            return pulse_server.is_heard(pulse, MICROPHONE)

    def clean_up(self) -> list[str]:
        """See `Backend`."""
        return pulse_server.clean_up()

    def changes(self) -> int:
        """See `Backend`."""
        with self._lock:
            if self._watch is None:
                self._watch = Watch()
            return self._watch.count

    def close(self) -> None:
        """See `Backend`."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def _defaults(self) -> Defaults:
        pulse_server.clean_up()  # so that the defaults from before a crash are those of now
        with connection() as pulse:
            return self._note_defaults(pulse)

    def _note_defaults(self, pulse: pulsectl.Pulse) -> Defaults:
        """Return the default devices; for one that is Sordino's own, the one before it."""
        now, before = pulse_server.defaults(pulse), self._before
        self._before = Defaults(
            before.source if now.source.startswith(PREFIX) else now.source,
            before.sink if now.sink.startswith(PREFIX) else now.sink,
        )
        return self._before


def _record_seconds(pulse: pulsectl.Pulse) -> float:
    """Return how much sound is recorded at once, in seconds."""
    info: Any = pulse.server_info()
    return STEP_SECONDS if "PipeWire" in info.server_name else RECORD_SECONDS


def _device(info: Any, kind: Kind, default: str) -> Device:
    return Device(
        name=info.name,
        label=info.description,
        kind=kind,
        # PipeWire's sample specification of a virtual device is a guess; its property is not.
        rate=int(info.proplist.get("audio.rate", info.sample_spec.rate)),
        channels=info.channel_count,
        default=info.name == default,
        monitor=kind == "input" and info.monitor_of_sink_name is not None,
        virtual=info.name.startswith(PREFIX),
        managed=info.proplist.get(OWNER_PROPERTY, owner_token()) != owner_token(),
        muted=bool(info.mute) or not info.volume.value_flat,
    )


class _PulsePort:
    clocked = True
    ended = False
    xruns = 0
    _stream: PulseStream

    def __init__(self, device: Device, rate: int) -> None:
        self.name, self.sample_rate = device.label, rate
        self.buffer = RingBuffer(round(RING_SECONDS * rate))

    @property
    def alive(self) -> bool:
        """See `Port`."""
        return self._stream.alive

    @property
    def latency(self) -> float:
        """See `Port`."""
        return self._stream.latency

    def open(self) -> None:
        """See `Port`."""
        if self.alive:
            return
        try:
            self._stream.open()
        except PulseError as error:
            raise DeviceLost(f"{self.name}: {error}") from None

    def close(self) -> None:
        """See `Port`."""
        self._stream.close()


class PulseSource(_PulsePort):
    """A microphone or a monitor, as a `Source`; the server converts to `rate`.

    Args:
        device: an input of the server.
        rate: in Hz.
        step_seconds: see `PulseStream`.
        channel_map: the device's own; see `PulseStream`.
        channel: counted from 1; None: the one with sound.
    """

    def __init__(
        self,
        device: Device,
        rate: int,
        step_seconds: float,
        channel_map: Sequence[int],
        channel: int | None = None,
    ) -> None:
        super().__init__(device, rate)
        self.picker = ChannelPicker(len(channel_map), rate, channel)
        self._stream = PulseStream(
            *("record", device.name, rate, step_seconds, self._take, "microphone"),
            properties={OWNER_PROPERTY: owner_token()},
            channel_map=channel_map,
        )

    def _take(self, block: Mono) -> None:
        if self._stream.channels > 1:
            block = self.picker(block.reshape(-1, self._stream.channels))
        if self.buffer.write(block) < len(block):
            self.xruns += 1


class PulseSink(_PulsePort):
    """A loudspeaker or the feed of a virtual microphone, as a `Sink`; see `PulseSource`."""

    def __init__(self, device: Device, rate: int) -> None:
        super().__init__(device, rate)
        self._stream = PulseStream(
            *("playback", device.name, rate, STEP_SECONDS, self._give, "clean sound"),
            properties={OWNER_PROPERTY: owner_token()},
        )

    def _give(self, block: Mono) -> None:
        count = self.buffer.read(block)
        if count < len(block):
            block[count:] = 0
            self.xruns += 1
