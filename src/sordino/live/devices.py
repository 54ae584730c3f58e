"""The devices of a session: a source, a sink and the virtual device."""

import time
from contextlib import AbstractContextManager, suppress

from sordino.errors import SordinoError
from sordino.live.backends.base import Backend, Device, DeviceLost, Sink, Source
from sordino.live.config import Settings

STALL_SECONDS = 1.0  # without any sound, after which a device counts as lost
SLEEP_SECONDS = 0.5  # between two checks of the devices, which should come far more often
COMPARE_SECONDS = 2.0  # between two searches for better devices, without any news


class AudioIO:
    """Finds, opens and closes the devices that the settings want.

    The virtual device stays when another device goes, so that meeting programs keep it; it is
    made anew only where the server has forgotten it.

    Args:
        settings: which devices, in which direction.
        backend: where they are.
    """

    def __init__(self, settings: Settings, backend: Backend) -> None:
        self.input = settings.input
        """Name or label of the microphone; None: the default.  It may be changed at any time
        and takes effect at the next `connect`; `loss` says when that is due."""
        self.channel = settings.channel
        """Of the microphone, counted from 1; None: the one with sound.  See `input`."""
        self._settings, self._backend = settings, backend
        self._source: Source | None = None
        self._sink: Sink | None = None
        self._devices = ("", "")  # names of the devices in use
        self._compared = 0.0  # when these devices were last known to be the right ones
        self._checked = 0.0  # by the wall clock: the only one that no system stops in its sleep
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
            source = self._source = self._open_input(rate)
            sink = self._sink = self._backend.open_output(self._devices[1], rate)
        except BaseException:
            self.disconnect()
            raise
        self._compared, self._checked = time.perf_counter(), time.time()
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

        It must be called many times a second: a longer pause means that the machine or this
        program slept.  What servers and buffers held meanwhile is stale, and a stream that was
        not read may not recover (one of PipeWire's stays silent).  Streams that are opened anew
        have neither trouble.

        Args:
            changed: devices or defaults have come or gone.
        """
        now = time.perf_counter()
        source, sink = self._source, self._sink
        checked, self._checked = self._checked, time.time()
        if source and not source.alive and not source.ended:
            return f"{source.name} has gone"
        if sink and not sink.alive:
            return f"{sink.name} has gone"
        if source and source.clocked and self._checked - checked > SLEEP_SECONDS:
            return "waking up"
        if source and source.clocked and now - source.buffer.written_at > STALL_SECONDS:
            return f"no sound comes from {source.name}"
        if sink and sink.clocked and now - sink.buffer.taken_at > STALL_SECONDS:
            return f"{sink.name} takes no sound"
        if changed or now - self._compared > COMPARE_SECONDS:
            return self._mismatch(changed)
        return ""

    def _mismatch(self, changed: bool) -> str:
        """Say why other devices should be in use; "" if these are right.

        Events alone do not do: see `Backend.changes`.
        """
        try:
            if self._find() != self._devices:
                return "changing over to another device"
        except DeviceLost as error:
            if changed:
                return str(error)  # else sound flows, and only the question has failed
        # A busy server takes its time to answer: that was no sleep.
        self._compared, self._checked = time.perf_counter(), time.time()
        return ""

    def _open_input(self, rate: int) -> Source:
        channel = None if self._settings.speaker else self.channel
        return self._backend.open_input(self._devices[0], rate, channel)

    def _find(self) -> tuple[str, str]:
        """Return the names of the devices that are to be used now."""
        settings, backend = self._settings, self._backend
        output = backend.find_output(
            settings.output if settings.speaker else self._virtual_name or settings.output
        )
        if output.managed:
            raise SordinoError(
                f"{output.label!r} belongs to another `sordino`: choose another output, or end it"
            )
        if settings.speaker:
            _check_no_loop(self._virtual_name, output)
            return self._virtual_name, output.name
        input = backend.find_input(self.input)
        if input.virtual:
            raise SordinoError(
                f"{input.label!r} carries what Sordino has cleaned already: choose a real "
                "microphone, or --speaker to clean what others send"
            )
        _check_no_loop(input.name, output)
        return input.name, output.name

    def _make_virtual(self) -> None:
        settings, backend = self._settings, self._backend
        if not settings.virtual_label:
            return
        if self._virtual:
            find = backend.find_input if settings.speaker else backend.find_output
            with suppress(DeviceLost):
                find(self._virtual_name)
                return
            self._drop_virtual()
        make = backend.virtual_loudspeaker if settings.speaker else backend.virtual_microphone
        virtual = make()
        self._virtual_name = virtual.__enter__()
        self._virtual = virtual

    def _drop_virtual(self) -> None:
        virtual, self._virtual, self._virtual_name = self._virtual, None, ""
        if virtual:
            with suppress(DeviceLost):
                virtual.__exit__(None, None, None)


def _check_no_loop(input: str, output: Device) -> None:
    """Raise SordinoError if the input records what the output plays."""
    if input == f"{output.name}.monitor":
        raise SordinoError(
            f"the input records what {output.label!r} plays, which would go round and round: "
            "choose another input or output"
        )
