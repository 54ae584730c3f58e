"""One track of sound in a container by itself, in or out, through PyAV."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

from av.error import FFmpegError

from sordino.errors import SordinoError
from sordino.io.sound import RawFormat, Readable, Samples, SoundInfo, in_seconds
from sordino.io.tracks import (
    TrackDecoder,
    TrackEncoder,
    kept_tags,
    moves,
    open_container,
    open_output,
)


class ContainerSource:
    """One audio track of any container as blocks of samples.

    Args:
        file: a path, or an open binary file, which need not be seekable.
        raw: see `open_container`.

    Raises:
        SordinoError: there is no track of sound in it.
    """

    def __init__(self, file: Path | Readable, raw: RawFormat | None = None) -> None:
        self._container: Any = open_container(file, raw)
        self.notes: list[str] = []
        try:
            if not self._container.streams.audio:
                raise SordinoError(
                    "there is no sound in it: give an audio file, or a video with sound"
                )
            self._decoder = TrackDecoder(self._container.streams.audio[0])
        except BaseException:
            self.close()
            raise
        self.info = self._decoder.info
        self.has_pictures = any(moves(each) for each in self._container.streams.video)
        if len(self._container.streams.audio) > 1:
            self.notes.append("of several audio tracks only the first one was taken")

    def blocks(self) -> Iterator[Samples]:
        """Yield the samples in blocks of about a second."""
        packets = self._container.demux(self._decoder.stream)
        parts = (part for packet in packets for part in self._decoder.decode(packet))
        yield from in_seconds(parts, self.info.sample_rate)
        self.notes += self._decoder.notes()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ContainerSink:
    """Writes one track of sound into a new container.

    Args:
        file: a path, or an open binary file, which need not be seekable.
        container: FFmpeg's name of the format ("mp3", "ipod", "wav").
        codec: FFmpeg's name of the encoder.
        info: of the sound that will come.

    Raises:
        SordinoError: there is no such encoder, or it cannot hold this sound.
    """

    def __init__(self, file: Path | BinaryIO, container: str, codec: str, info: SoundInfo) -> None:
        self._output: Any = open_output(file, container, info.sample_rate)
        self._output.metadata.update(kept_tags(info.tags))
        try:
            self._track = TrackEncoder(self._output, [codec], info)
            self._output.start_encoding()
        except (ValueError, FFmpegError) as error:
            if isinstance(error, OSError):  # the disk's fault, not the sound's
                raise
            raise SordinoError(
                f"{container} ({codec}) cannot hold {info.channels} channel(s) at "
                f"{info.sample_rate} Hz: choose another format, for instance --format wav"
            ) from error
        self.notes: list[str] = []
        if self._track.rate != info.sample_rate:
            self.notes.append(
                f"{codec} has no {info.sample_rate} Hz: written at {self._track.rate} Hz"
            )

    def write(self, samples: Samples) -> None:
        """Append samples, shape = (samples, channels)."""
        self._track.encode(samples)

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self._track.flush()
        finally:
            self._output.close()
