"""What a session is connected to: a source, a sink and the virtual device."""

import time
from contextlib import AbstractContextManager, suppress

from sordino.live.ports import DeviceLost, Sink, Source
from sordino.live.settings import Settings
from sordino.live.systems.system import System

STALL_SECONDS = 1.0  # without any sound, after which a device counts as lost
SLEEP_SECONDS = 0.5  # between two looks at the devices, which should come far more often
COMPARE_SECONDS = 2.0  # from one search for better devices to the next, without any news


class Wiring:
    """Finds, opens and closes the devices that the settings want.

    The virtual device stays when another device goes, so that meeting programs keep it; it is
    made anew only where the server has forgotten it.

    Args:
        settings: which devices, in which direction.
        system: where they are.
    """

    def __init__(self, settings: Settings, system: System) -> None:
        self._settings, self._system = settings, system
        self._source: Source | None = None
        self._sink: Sink | None = None
        self._devices = ("", "")  # names of the devices in use
        self._compared = 0.0  # when these devices were last known to be the right ones
        self._looked = 0.0  # by the wall clock: the only one that no system stops in its sleep
        self._virtual: AbstractContextManager[str] | None = None
        self._virtual_name = ""

    def connect(self) -> tuple[Source, Sink]:
        """Open both devices.

        Raises:
            DeviceLost: something is not there yet; then nothing is open but the virtual device.
            SordinoError: something will not come by itself.
        """
        rate = self._settings.sample_rate
        try:
            self._make_virtual()
            self._devices = self._find()
            source = self._source = self._system.open_input(self._devices[0], rate)
            sink = self._sink = self._system.open_output(self._devices[1], rate)
        except BaseException:
            self.disconnect()
            raise
        self._compared, self._looked = time.perf_counter(), time.time()
        return source, sink

    def disconnect(self) -> None:
        """Close both devices; the virtual one stays."""
        source, self._source = self._source, None
        sink, self._sink = self._sink, None
        for port in (source, sink):
            if port:
                port.close()

    def close(self) -> None:
        """Close all and remove the virtual device."""
        self.disconnect()
        self._drop_virtual()

    def loss(self, changed: bool) -> str:
        """Say in words why the devices have to be opened anew; "" if all is well.

        Ask many times a second: if nobody did, the machine or this program slept.  What servers
        and rings held for it is stale, and a stream that was not read may not recover (one of
        PipeWire's stays silent).  Streams that are opened anew have neither trouble.

        Args:
            changed: devices or defaults have come or gone.
        """
        now = time.perf_counter()
        source, sink = self._source, self._sink
        looked, self._looked = self._looked, time.time()
        if source and not source.alive and not source.ended:
            return f"{source.name} has gone"
        if sink and not sink.alive:
            return f"{sink.name} has gone"
        if source and source.clocked and self._looked - looked > SLEEP_SECONDS:
            return "waking up"
        if source and source.clocked and now - source.ring.written_at > STALL_SECONDS:
            return f"no sound comes from {source.name}"
        if sink and sink.clocked and now - sink.ring.taken_at > STALL_SECONDS:
            return f"{sink.name} takes no sound"
        if changed or now - self._compared > COMPARE_SECONDS:
            return self._mismatch(changed)
        return ""

    def _mismatch(self, changed: bool) -> str:
        """Say why other devices should be in use; "" if these are right.

        News alone does not do: see `System.changes`.
        """
        try:
            if self._find() != self._devices:
                return "changing over to another device"
        except DeviceLost as error:
            if changed:
                return str(error)  # else sound flows, and only the question has failed
        # A busy server takes its time to answer: that was no sleep.
        self._compared, self._looked = time.perf_counter(), time.time()
        return ""

    def _find(self) -> tuple[str, str]:
        """Return the names of the devices that are to be used now."""
        settings, system = self._settings, self._system
        if settings.speaker:
            return self._virtual_name, system.find_output(settings.output).name
        output = self._virtual_name or settings.output
        return system.find_input(settings.input).name, system.find_output(output).name

    def _make_virtual(self) -> None:
        settings, system = self._settings, self._system
        if not settings.speaker and (settings.output is not None or not settings.virtual_mic):
            return
        if self._virtual:
            find = system.find_input if settings.speaker else system.find_output
            with suppress(DeviceLost):
                find(self._virtual_name)
                return
            self._drop_virtual()
        virtual = system.virtual_loudspeaker() if settings.speaker else system.virtual_microphone()
        self._virtual_name = virtual.__enter__()
        self._virtual = virtual

    def _drop_virtual(self) -> None:
        virtual, self._virtual, self._virtual_name = self._virtual, None, ""
        if virtual:
            with suppress(DeviceLost):
                virtual.__exit__(None, None, None)
