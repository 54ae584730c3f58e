"""Devices through PortAudio, for systems without a sound server of their own kind.

The callbacks run in PortAudio's thread.  They copy between its buffer and the ring and do nothing
else: no locks, no allocation, no logging.
"""

from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sordino.errors import SordinoError, install_command
from sordino.live.ports import BLOCK_SECONDS, RING_SECONDS, DeviceLost, Sink, Source
from sordino.live.ring import Ring


def portaudio() -> Any:
    """Return the module `sounddevice`.

    Raises:
        SordinoError: it or PortAudio is not installed.
    """
    try:
        import sounddevice  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise SordinoError(
            f"live use needs the package sounddevice: {install_command('live')}"
        ) from error
    except OSError as error:
        raise SordinoError(
            "PortAudio is not installed: apt install libportaudio2, or brew install portaudio"
        ) from error
    return cast(Any, sounddevice)


class _PortAudioPort(ABC):
    """What both directions share.

    Args:
        device: PortAudio's number of the device; None: the default one.
        rate: wished for, in Hz.  A device that cannot do it runs at its own.
    """

    _kind: str
    xruns = 0
    clocked = True
    ended = False

    def __init__(self, device: int | None, rate: int) -> None:
        self._portaudio = portaudio()
        self._device, self.sample_rate = device, rate
        self._stream: Any = None
        info = self._info()
        self.name = str(info["name"])
        # A device with a single channel is rare; of more, the first is taken, or all are fed.
        self._channels = min(2, int(info[f"max_{self._kind}_channels"]))
        if not self._rate_works(rate):
            self.sample_rate = round(float(info["default_samplerate"]))
        self.ring = Ring(round(RING_SECONDS * self.sample_rate))

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
        """Copy between PortAudio's buffer and the ring."""

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
    """A microphone; its first channel."""

    _kind = "input"

    def _exchange(self, block: NDArray[np.float32], count: int, time: Any, status: Any) -> None:  # noqa: ARG002
        if self.ring.write(block[:, 0]) < count:
            self.xruns += 1


class PortAudioSink(_PortAudioPort, Sink):
    """A loudspeaker, or a cable to other programs; every channel gets the same."""

    _kind = "output"

    def _exchange(self, block: NDArray[np.float32], count: int, time: Any, status: Any) -> None:  # noqa: ARG002
        got = self.ring.read(block[:, 0])
        if got < count:
            block[got:, 0] = 0
            self.xruns += 1
        if self._channels > 1:
            block[:, 1] = block[:, 0]


def _words(error: Exception) -> str:
    return str(error.args[0] if error.args else error).rstrip(".")
