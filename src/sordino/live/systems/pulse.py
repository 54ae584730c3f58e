"""PulseAudio and PipeWire, through the protocol that both speak."""

import threading
from contextlib import AbstractContextManager
from typing import Any

import pulsectl

from sordino.live.ports import DeviceLost, Sink, Source
from sordino.live.systems import pulse_virtual
from sordino.live.systems.pulse_control import Watch, connection
from sordino.live.systems.pulse_ports import PulseSink, PulseSource
from sordino.live.systems.pulse_virtual import PREFIX, Defaults
from sordino.live.systems.system import LOUDSPEAKER, MICROPHONE, Device, Kind, choose


class Pulse:
    """The sound server of a Linux desktop, as a `System`."""

    def __init__(self) -> None:
        self._before = Defaults()  # the last ones that were not Sordino's own
        self._watch: Watch | None = None
        self._lock = threading.Lock()  # guards the making of _watch

    @property
    def name(self) -> str:
        """See `System`."""
        try:
            with connection() as pulse:
                info: Any = pulse.server_info()
                return f"{info.server_name} {info.server_version}"
        except DeviceLost:
            return "no sound server"

    def devices(self) -> list[Device]:
        """See `System`."""
        with connection() as pulse:
            before = self._note_defaults(pulse)
            inputs = [_device(source, "input", before.source) for source in pulse.source_list()]
            outputs = [_device(sink, "output", before.sink) for sink in pulse.sink_list()]
        return inputs + outputs

    def find_input(self, name: str | None) -> Device:
        """See `System`."""
        return choose(self.devices(), "input", name)

    def find_output(self, name: str | None) -> Device:
        """See `System`."""
        return choose(self.devices(), "output", name)

    def open_input(self, name: str | None, rate: int) -> Source:
        """See `System`."""
        source = PulseSource(self.find_input(name), rate)
        source.open()
        return source

    def open_output(self, name: str | None, rate: int) -> Sink:
        """See `System`."""
        sink = PulseSink(self.find_output(name), rate)
        sink.open()
        return sink

    def virtual_microphone(self, label: str = MICROPHONE) -> AbstractContextManager[str]:
        """See `System`."""
        return pulse_virtual.microphone(label, self._defaults())

    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> AbstractContextManager[str]:
        """See `System`."""
        return pulse_virtual.loudspeaker(label, self._defaults())

    def clean_up(self) -> list[str]:
        """See `System`."""
        return pulse_virtual.clean_up()

    def changes(self) -> int:
        """See `System`."""
        with self._lock:
            if self._watch is None:
                self._watch = Watch()
            return self._watch.count

    def close(self) -> None:
        """See `System`."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def _defaults(self) -> Defaults:
        pulse_virtual.clean_up()  # so that the defaults from before a crash are those of now
        with connection() as pulse:
            return self._note_defaults(pulse)

    def _note_defaults(self, pulse: pulsectl.Pulse) -> Defaults:
        """Return the default devices; for one that is Sordino's own, the one before it."""
        now, before = pulse_virtual.defaults(pulse), self._before
        self._before = Defaults(
            before.source if now.source.startswith(PREFIX) else now.source,
            before.sink if now.sink.startswith(PREFIX) else now.sink,
        )
        return self._before


def _device(info: Any, kind: Kind, default: str) -> Device:
    return Device(
        name=info.name,
        label=info.description,
        kind=kind,
        rate=info.sample_spec.rate,
        channels=info.channel_count,
        default=info.name == default,
        monitor=kind == "input" and info.monitor_of_sink_name is not None,
        virtual=info.name.startswith(PREFIX),
    )
