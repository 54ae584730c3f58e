"""Videos, and any other container, with their sound changed and all else copied."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError

from sordino.errors import SordinoError
from sordino.io.ffmpeg import (
    TrackDecoder,
    TrackEncoder,
    is_moving_picture,
    kept_tags,
    open_container,
    open_output,
)
from sordino.io.formats import Interleaved, SoundInfo, truncation_notes

_UNPRIMED = {"adts", "ac3", "mp2", "avi", "flv", "mpegts", "asf"}
"""Containers that cannot say how many of the first samples are the encoder's own."""


class Filter(Protocol):
    """Changes sound block by block; gives as many samples as it takes, some of them later."""

    def feed(self, block: Interleaved) -> Interleaved: ...  # noqa: D102
    def flush(self) -> Interleaved: ...  # noqa: D102


def remux(
    source: Path,
    target: Path,
    container: str,
    encoder: str,
    make_filter: Callable[[SoundInfo], Filter],
) -> list[str]:
    """Write a container anew with all its audio tracks filtered.

    Packets of video, subtitles, covers and attachments are copied untouched, with their
    timestamps; so are tags, chapters, languages and dispositions.  Sound is encoded with the
    codec it had, at no lower bit rate.

    Args:
        source: file to read.
        target: file to write.
        container: FFmpeg's name of the format to write ("mp4", "matroska").
        encoder: FFmpeg's name of the encoder for codecs that cannot be written.
        make_filter: called once for each audio track.

    Returns:
        Notes for the user: what could not be kept.

    Raises:
        SordinoError: there is no sound in it, or the container cannot hold the video.
        OSError, av.error.FFmpegError: a file cannot be read or written.
    """
    with open_container(source) as given:
        if not given.streams.audio:
            raise SordinoError("there is no sound in it: give an audio file, or a video with sound")
        with open_output(target, container, given.streams.audio[0].rate) as output:
            return _Remux(source, given, output, encoder, make_filter).run()


class _Remux:
    def __init__(
        self,
        source: Path,
        given: InputContainer,
        output: OutputContainer,
        default: str,
        make_filter: Callable[[SoundInfo], Filter],
    ) -> None:
        self._source = source
        self._given: Any = given
        self._output: Any = output
        self._default = default
        self._make_filter = make_filter
        self._notes: list[str] = []
        self._same_family = output.format.name in given.format.name.split(",")
        output.metadata.update(kept_tags(given.metadata))
        if any(key.startswith("com.apple.") for key in given.metadata):
            output.container_options["movflags"] = "use_metadata_tags"
        output.set_chapters(given.chapters())

    def run(self) -> list[str]:
        tracks: dict[int, _Track] = {}
        copies: dict[int, Any] = {}
        for stream in self._given.streams:
            if stream.type == "audio":
                tracks[stream.index] = self._track(stream)
            elif copy := self._copy(stream):
                copies[stream.index] = copy
        taken = [each for each in self._given.streams if each.index in (tracks | copies)]
        reached = 0.0  # s
        for packet in self._given.demux(taken):
            index = packet.stream.index
            if packet.pts is not None:
                reached = max(reached, float(packet.pts * packet.time_base))
            if index in tracks:
                tracks[index].take(packet)
            elif packet.size and not _is_pause(packet):
                packet.stream = copies[index]
                self._output.mux(packet)
        for track in tracks.values():
            track.flush()
        notes = {note: None for track in tracks.values() for note in track.decoder.notes()}
        promised = self._given.duration
        self._notes += notes or truncation_notes(
            reached, promised / av.time_base if promised else None
        )
        return self._notes

    def _track(self, stream: Any) -> "_Track":
        decoder = TrackDecoder(stream)
        codec: str = stream.codec_context.codec.canonical_name
        given = decoder.info
        unprimed = self._output.format.name in _UNPRIMED
        track = TrackEncoder(self._output, [codec, self._default], given, unprimed)
        if track.codec != codec:
            self._notes.append(f"{codec} cannot be written here: the sound is now {track.codec}")
        track.stream.metadata.update(kept_tags(stream.metadata))
        track.stream.disposition = stream.disposition
        return _Track(decoder, track, self._make_filter(decoder.info))

    def _copy(self, stream: Any) -> Any:
        """Add a stream that takes the packets of another one as they are."""
        if stream.type == "data":
            if not self._given.chapters() and "timecode" not in stream.metadata:
                self._notes.append(f"the data track {stream.index} is left out")
            return None  # chapters and time codes are written anew by the container
        if (
            stream.type == "video"
            and not is_moving_picture(stream)
            and not stream.codec_context.width
        ):
            self._notes.append("its cover cannot be read and is left out")
            return None
        if self._output.format.name == "matroska" and not is_moving_picture(stream):
            name, kind = (stream.metadata.get(key, "") for key in ("filename", "mimetype"))
            self._output.add_attachment(name or "cover", kind or "image/jpeg", self._cover(stream))
            return None
        try:
            copy = self._output.add_stream_from_template(stream, opaque=True)
        except (ValueError, FFmpegError) as error:
            what = f"{stream.type} ({stream.name or 'unknown'})"
            container = self._output.format.name
            if stream.type == "video" and is_moving_picture(stream):
                raise SordinoError(
                    f"{container} cannot hold its {what}: choose another format, for instance mkv"
                ) from error
            self._notes.append(f"{container} cannot hold its {what}, which is left out")
            return None
        copy.metadata.update(kept_tags(stream.metadata))
        copy.disposition = stream.disposition
        if self._same_family and stream.codec_context is not None:
            copy.codec_context.codec_tag = stream.codec_context.codec_tag
        return copy

    def _cover(self, stream: Any) -> bytes:
        again: Any = open_container(self._source)
        with again:
            return bytes(next(again.demux(again.streams[stream.index])))


class _Track:
    """One audio track on its way through decoder, filter and encoder."""

    def __init__(self, decoder: TrackDecoder, encoder: TrackEncoder, change: Filter) -> None:
        self.decoder = decoder
        self._encoder = encoder
        self._filter = change
        self._waiting: list[Interleaved] = []
        self._count = 0

    def take(self, packet: Any) -> None:
        """Take a packet of the input."""
        for samples in self.decoder.decode(packet):
            self._waiting.append(samples)
            self._count += len(samples)
            if self._count >= self.decoder.info.sample_rate:
                self._advance()

    def flush(self) -> None:
        """Write what is still inside."""
        self._advance()
        self._encoder.encode(self._filter.flush())
        self._encoder.flush()

    def _advance(self) -> None:
        # Blocks of about a second: the network takes them faster than single packets.
        if self._count and self.decoder.start is not None:
            self._encoder.start(self.decoder.start)
            self._encoder.encode(self._filter.feed(np.concatenate(self._waiting)))
        self._waiting, self._count = [], 0


def _is_pause(packet: Any) -> bool:
    """Tell mp4's empty subtitles, which its writer puts between the others by itself."""
    return packet.size == 2 and packet.stream.name == "mov_text" and bytes(packet) == b"\0\0"
