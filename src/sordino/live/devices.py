"""The devices of a session: a source, a sink and the virtual device."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from sordino.live.backends.base import (
    MICROPHONE,
    Backend,
    Device,
    DeviceLost,
    RefusedDeviceError,
    Sink,
    Source,
    UnheardError,
)
from sordino.live.config import LiveSettings
from sordino.live.ring_buffer import RingBuffer

STALL_SECONDS = 1.0  # without sound, after which a device counts as lost
SLEEP_SECONDS = 0.5  # a longer gap between two checks means that machine or program slept
COMPARE_SECONDS = 2.0  # between two searches for better devices where no change was reported
LINGER_SECONDS = 2.0  # without a listener, after which the microphone is closed
LONG_STEP_SECONDS = 0.020  # longer steps are caused by a quantum that a program forced
STEP_WINDOW_SECONDS = 0.5  # over which steps are averaged


class StepMeter:
    """Notices when a device that took long steps takes short ones again.

    Another program may force a large quantum on PipeWire.  The buffers of all streams grow with it
    and keep their size afterwards; only a stream that is reopened is as quick as before.

    Args:
        buffer: that the device reads from.
        sample_rate: in Hz.
        clock: returns the time in seconds.
    """

    def __init__(
        self, buffer: RingBuffer, sample_rate: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._buffer, self._rate, self._clock = buffer, sample_rate, clock
        self._since = (clock(), buffer.reads, buffer.wanted)
        self._longest = 0.0  # seconds
        self._short_windows = 0

    def has_shrunk(self) -> bool:
        """Return whether steps are shorter by half than they once were; call it many times."""
        now, reads, wanted = self._clock(), self._buffer.reads, self._buffer.wanted
        if now - self._since[0] < STEP_WINDOW_SECONDS or reads == self._since[1]:
            return False
        step = (wanted - self._since[2]) / (reads - self._since[1]) / self._rate
        self._since = now, reads, wanted
        self._longest = max(self._longest, step)
        short = self._longest > LONG_STEP_SECONDS and step < self._longest / 2
        self._short_windows = self._short_windows + 1 if short else 0
        return self._short_windows >= 2  # the first window may include the change


class AudioIO:
    """Finds, opens and closes the devices that the settings want.

    The virtual device stays when another device goes, so that meeting programs keep it; it is
    created again only if the server has lost it.

    Args:
        settings: which devices, in which direction.
        backend: where they are.
    """

    def __init__(self, settings: LiveSettings, backend: Backend) -> None:
        self.input = settings.input
        """Name or label of the microphone; None: the default.  It may be changed at any time
        and takes effect at the next `connect`; `loss` says when that is due."""
        self.channel = settings.channel
        """Of the microphone, counted from 1; None: the one with sound.  See `input`."""
        self.on_demand = settings.on_demand
        """Open the microphone only while a program records the virtual one.  See `input`."""
        self._heard = 0.0  # time at which a listener was last seen
        self._settings, self._backend = settings, backend
        self._source: Source | None = None
        self._sink: Sink | None = None
        self._steps: StepMeter | None = None  # of the sink
        self.devices: tuple[Device, Device] | None = None
        """Input and output that are in use, as they were when last looked at."""
        self._compared = 0.0  # time at which these devices were last found to be the right ones
        self._checked = 0.0  # wall-clock time: the only clock that runs on during sleep everywhere
        self._virtual: AbstractContextManager[str] | None = None
        self._virtual_name = ""
        self._canceller: AbstractContextManager[str] | None = None
        self._loudspeaker = ""  # that the canceller plays to

    def connect(self) -> tuple[Source, Sink]:
        """Open both devices.

        Raises:
            DeviceLost: something is not there yet; then nothing is open but the virtual device.
            UnheardError: the same, because no program records the virtual microphone.
            RefusedDeviceError: a device is not fit for it, until the user chooses another one.
            SordinoError: something will not come by itself.
        """
        rate = self._settings.sample_rate
        try:
            self._make_virtual()
            self._check_heard(timeout=0.0)
            input, output = self.devices = self._find()
            source = self._source = self._open_input(input.name, rate)
            sink = self._sink = self._backend.open_output(output.name, rate)
            self._steps = StepMeter(sink.buffer, sink.sample_rate) if sink.clocked else None
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
        canceller, self._canceller = self._canceller, None
        if canceller:
            with suppress(DeviceLost):
                canceller.__exit__(None, None, None)

    def close(self) -> None:
        """Close all and remove the virtual device."""
        self.disconnect()
        self._drop_virtual()

    def loss(self, changed: bool) -> str:
        """Say in words why the devices have to be reopened; "" if all is well.

        It must be called many times a second: a longer pause means that the machine or this
        program slept.  What servers and buffers held meanwhile is stale, and a stream that was
        not read may not recover (one of PipeWire's stays silent).  Streams that are reopened
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
        if sink and self._steps and self._steps.has_shrunk():
            return "the sound server is quick again"
        if changed or now - self._compared > COMPARE_SECONDS:
            return self._mismatch(changed)
        return ""

    def _mismatch(self, changed: bool) -> str:
        """Say why other devices should be in use; "" if these are right.

        Events alone do not do: see `Backend.changes`.
        """
        try:
            self._check_heard(LINGER_SECONDS)
            before, self.devices = self.devices, self._find()
            if before and _names(before) != _names(self.devices):
                return "changing over to another device"
            if self._canceller and self._backend.find_output(None).name != self._loudspeaker:
                return "changing over to another loudspeaker"
        except (RefusedDeviceError, UnheardError) as error:
            return str(error)
        except DeviceLost as error:
            if changed:
                return str(error)  # else sound still flows, and only the query has failed
        # The time that a busy server took to answer must not count as sleep.
        self._compared, self._checked = time.perf_counter(), time.time()
        return ""

    def _check_heard(self, timeout: float) -> None:
        """Raise UnheardError if no program has recorded the virtual microphone for `timeout` s."""
        now = time.perf_counter()
        if not self.on_demand or self._backend.is_heard():
            self._heard = now
        elif now - self._heard >= timeout:
            raise UnheardError(f"no program records {MICROPHONE!r}, so the microphone is off")

    def check_input(self, name: str | None) -> None:
        """Raise RefusedDeviceError if a microphone of this name is there but must not be used."""
        with suppress(DeviceLost):
            self._find_input(name, self._find_output())

    def _open_input(self, name: str, rate: int) -> Source:
        channel = None if self._settings.speaker else self.channel
        if self._settings.echo_cancel:
            self._loudspeaker = self._backend.find_output(None).name
            if name == f"{self._loudspeaker}.monitor":
                raise RefusedDeviceError(
                    "the input records the loudspeaker itself, of which all would be cancelled: "
                    "choose a microphone, or leave out --echo-cancel"
                )
            canceller = self._backend.echo_canceller(name, self._loudspeaker)
            name, self._canceller = canceller.__enter__(), canceller
        return self._backend.open_input(name, rate, channel)

    def _find(self) -> tuple[Device, Device]:
        """Return the devices that are to be used now, input and output."""
        output = self._find_output()
        if self._settings.speaker:
            input = self._backend.find_input(self._virtual_name)
            _check_no_loop(input, output)
            return input, output
        return self._find_input(self.input, output), output

    def _find_input(self, name: str | None, output: Device) -> Device:
        input = self._backend.find_input(name)
        if input.virtual:
            raise RefusedDeviceError(
                f"{input.label!r} carries what Sordino has cleaned already: choose a real "
                "microphone, or --speaker to clean what others send"
            )
        _check_no_loop(input, output)
        return input

    def _find_output(self) -> Device:
        settings = self._settings
        chosen = settings.output if settings.speaker else self._virtual_name or settings.output
        output = self._backend.find_output(chosen)
        if output.managed:
            raise RefusedDeviceError(
                f"{output.label!r} belongs to another `sordino`: choose another output, or end it"
            )
        return output

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


def _names(devices: tuple[Device, Device]) -> tuple[str, str]:
    return devices[0].name, devices[1].name


def _check_no_loop(input: Device, output: Device) -> None:
    """Raise RefusedDeviceError if the input records what the output plays."""
    if input.name == f"{output.name}.monitor":
        raise RefusedDeviceError(
            f"the input records what {output.label!r} plays, which is a feedback loop: "
            "choose another input or output"
        )
