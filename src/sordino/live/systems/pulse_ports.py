"""Sources and sinks of PulseAudio and PipeWire."""

from sordino.live.ports import BLOCK_SECONDS, RING_SECONDS, DeviceLost
from sordino.live.ring import Ring
from sordino.live.systems.libpulse import PulseError, Samples, Stream
from sordino.live.systems.system import Device


class _PulsePort:
    clocked = True
    ended = False
    xruns = 0

    def __init__(self, device: Device, rate: int) -> None:
        self.name, self.sample_rate = device.label, rate
        self.ring = Ring(round(RING_SECONDS * rate))
        recording = device.kind == "input"
        self._stream = Stream(
            "record" if recording else "playback",
            device.name,
            rate,
            BLOCK_SECONDS,
            self._take if recording else self._give,
            title="microphone" if recording else "clean sound",
        )

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

    def _take(self, block: Samples) -> None:
        if self.ring.write(block) < len(block):
            self.xruns += 1

    def _give(self, block: Samples) -> None:
        count = self.ring.read(block)
        if count < len(block):
            block[count:] = 0
            self.xruns += 1


class PulseSource(_PulsePort):
    """A microphone or a monitor, as a `Source`; the server converts to `rate` and to mono.

    Args:
        device: an input of the server.
        rate: in Hz.
    """


class PulseSink(_PulsePort):
    """A loudspeaker or the feed of a virtual microphone, as a `Sink`; see `PulseSource`."""
