"""A backend whose microphone and loudspeaker are files."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sordino.arrays import Mono
from sordino.io.atomic import atomic_write
from sordino.io.audiofile import open_sink, open_source
from sordino.io.formats import SoundInfo
from sordino.live.backends.base import (
    BLOCK_SECONDS,
    LOUDSPEAKER,
    MICROPHONE,
    RING_SECONDS,
    Device,
    DeviceLost,
    Sink,
    Source,
)
from support.thread_port import ThreadPort

POLL_SECONDS = 0.002  # while a file waits for buffer space, or for sound


class FileSource(ThreadPort, Source):
    """Plays a file as if it were a microphone; several channels are mixed to one.

    Args:
        path: of any sound file.
        speed: see `FileBackend`.
        loops: how often it is played; None: for ever.
    """

    def __init__(self, path: Path, speed: float | None = 1.0, loops: int | None = 1) -> None:
        with open_source(path) as file:
            super().__init__(path.name, file.info.sample_rate, speed)
        self._path, self._loops = path, loops

    def _run(self) -> None:
        played = 0
        for block in self._blocks():
            played += len(block)
            self._wait_until(played)
            left = block[self.buffer.write(block) :]
            if self.clocked:
                self.xruns += len(left) > 0
                continue
            while len(left) and not self._stopping.wait(POLL_SECONDS):
                left = left[self.buffer.write(left) :]
            if self._stopping.is_set():
                return
        self.ended = True

    def _blocks(self) -> Generator[Mono]:
        size = round((BLOCK_SECONDS if self.clocked else RING_SECONDS / 4) * self.sample_rate)
        loop = 0
        while loop != self._loops and not self._stopping.is_set():
            loop += 1
            with open_source(self._path) as file:
                for second in file.blocks():
                    mono = second.mean(axis=1, dtype=np.float32)
                    for start in range(0, len(mono), size):
                        yield mono[start : start + size]
                        if self._stopping.is_set():
                            return


class FileSink(ThreadPort, Sink):
    """Records into a wav file as if it were a loudspeaker.

    The file appears when the port is closed; what is still in the ring buffer is written, too.

    Args:
        path: of the file.
        sample_rate: in Hz.
        speed: see `FileBackend`.
    """

    def __init__(self, path: Path, sample_rate: int, speed: float | None = 1.0) -> None:
        super().__init__(path.name, sample_rate, speed)
        self._path = path

    def _run(self) -> None:
        info = SoundInfo(self.sample_rate, channels=1, subtype="FLOAT")
        with atomic_write(self._path) as temporary:
            file = open_sink(temporary, "wav", info)
            for block in self._blocks():
                file.write(block[:, None])
            file.close()

    def _blocks(self) -> Generator[Mono]:
        played = 0
        size = round(BLOCK_SECONDS * self.sample_rate) if self.clocked else self.buffer.capacity
        while not self._stopping.is_set():
            if self.clocked:
                played += size
                self._wait_until(played)
            elif not self.buffer.readable:
                self._stopping.wait(POLL_SECONDS)
                continue
            block = np.zeros(size, np.float32)
            count = self.buffer.read(block)
            self.xruns += self.clocked and count < size
            yield block if self.clocked else block[:count]
        rest = np.zeros(self.buffer.readable, np.float32)
        self.buffer.read(rest)
        yield rest


class FileBackend:
    """A backend with one microphone and one loudspeaker, which are files.

    Args:
        microphone: the file that is played.
        loudspeaker: the file that is written; it is the virtual microphone too.
        speed: 1.0 is real time, 1.0002 a clock that is 200 ppm fast; None: as fast as possible.
        loops: how often the microphone is played; None: for ever.
    """

    name = "files"
    notice = ""

    def __init__(
        self,
        microphone: Path,
        loudspeaker: Path,
        speed: float | None = 1.0,
        loops: int | None = 1,
    ) -> None:
        self._microphone, self._loudspeaker = microphone, loudspeaker
        self._speed, self._loops = speed, loops

    def devices(self) -> list[Device]:
        """See `Backend`."""
        return [self.find_input(None), self.find_output(None)]

    def find_input(self, name: str | None) -> Device:
        """See `Backend`."""
        if not self._microphone.is_file():
            raise DeviceLost(f"there is no file {self._microphone}")
        with open_source(self._microphone) as file:
            info = file.info
        path = self._microphone
        return Device(str(path), path.name, "input", info.sample_rate, info.channels, default=True)

    def find_output(self, name: str | None) -> Device:
        """See `Backend`."""
        path = self._loudspeaker
        return Device(str(path), path.name, "output", 48000, 1, default=True)

    def open_input(self, name: str | None, rate: int, channel: int | None = None) -> FileSource:
        """See `Backend`."""
        source = FileSource(self._microphone, self._speed, self._loops)
        source.open()
        return source

    def open_output(self, name: str | None, rate: int) -> FileSink:
        """See `Backend`."""
        sink = FileSink(self._loudspeaker, rate, self._speed)
        sink.open()
        return sink

    @contextmanager
    def virtual_microphone(self, label: str = MICROPHONE) -> Generator[str]:
        """See `Backend`."""
        yield str(self._loudspeaker)

    @contextmanager
    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> Generator[str]:
        """See `Backend`."""
        yield str(self._microphone)

    def clean_up(self) -> list[str]:
        """See `Backend`."""
        return []

    def changes(self) -> int:
        """See `Backend`."""
        return 0

    def close(self) -> None:
        """See `Backend`."""
