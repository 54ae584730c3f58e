"""Videos, and any other container, with their sound changed and all else copied."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet

from sordino.arrays import Interleaved
from sordino.errors import SordinoError
from sordino.io.decoder import ContainerSource, TrackDecoder, is_moving_picture
from sordino.io.encoder import TrackEncoder, open_output
from sordino.io.formats import SoundInfo, truncation_notes
from sordino.io.tags import kept_tags, readable_tags

_UNPRIMED = {"adts", "f4v", "ac3", "mp2", "avi", "flv", "mpegts", "asf"}
"""Containers that cannot say how many of the first samples are the encoder's own."""

COVER_LOST = "its cover is left out"
COVER_UNREADABLE = "its cover cannot be read and is left out"
COVER_NOTES = (COVER_LOST, COVER_UNREADABLE)

_OF_ONE_CODEC = {"opus", "mp3", "adts", "ac3", "eac3", "mp2", "wv", "tta"}
_WITH_COVERS = {"mp3", "ipod", "mp4", "mov"}
_FALLBACKS = ("aac", "ac3", "libmp3lame", "alac", "flac")
_ANNEX_B = {"avi", "mpeg", "vob"}
_TO_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""Filters for containers that hold H.264 and H.265 as broadcasts do, with start codes."""


class Filter(Protocol):
    """Changes sound block by block; gives as many samples as it takes, some of them later."""

    def feed(self, block: Interleaved) -> Interleaved: ...  # noqa: D102
    def flush(self) -> Interleaved: ...  # noqa: D102


def remux(
    source: ContainerSource,
    target: Path,
    container: str,
    encoder: str,
    make_filter: Callable[[SoundInfo], Filter],
    only: int | None = None,
) -> list[str]:
    """Rewrite a container with its audio tracks filtered.

    Packets of video, subtitles, covers and attachments are copied untouched, with their
    timestamps; so are tags, chapters, languages and dispositions.  Sound is encoded with the
    codec it had, at no lower bit rate.

    Args:
        source: a file that has just been opened.
        target: file to write.
        container: FFmpeg's name of the format to write ("mp4", "matroska").
        encoder: FFmpeg's name of the encoder for codecs that cannot be written.
        make_filter: called once for each audio track.
        only: the audio track that is filtered, from 1; others are copied.  None: all.

    Returns:
        Notes for the user: what could not be kept.

    Raises:
        SordinoError: the container cannot hold the video.
        OSError, av.error.FFmpegError: a file cannot be read or written.
    """
    rate = source.container.streams.audio[0].rate
    with open_output(target, container, rate) as output:
        return _Remux(source, output, encoder, make_filter, only).run()


class _Remux:
    def __init__(
        self,
        source: ContainerSource,
        output: OutputContainer,
        default: str,
        make_filter: Callable[[SoundInfo], Filter],
        only: int | None,
    ) -> None:
        self._source = source
        self._given = given = source.container
        self._output: Any = output
        self._default = default
        self._make_filter = make_filter
        self._only = None if only is None else given.streams.audio[only - 1].index
        self._notes: list[str] = []
        self._read: list[Packet[Any]] = []  # on the way to the covers
        self._packets = iter(source.packets)
        self._bit_filters: dict[int, Any] = {}
        self._copied: set[int] = set()  # tracks of which the first packet was taken
        self._same_family = output.format.name in given.format.name.split(",")
        output.metadata.update(kept_tags(given.metadata))
        if any(key.startswith("com.apple.") for key in given.metadata):
            output.container_options["movflags"] = "use_metadata_tags"
        output.set_chapters(_readable_chapters(given.chapters()))

    def run(self) -> list[str]:
        tracks: dict[int, _Track] = {}
        copies: dict[int, Any] = {}
        for stream in self._given.streams:
            if stream.type == "audio" and self._only in (None, stream.index):
                tracks[stream.index] = self._track(stream)
            elif copy := self._copy(stream):
                copies[stream.index] = copy
        reached = 0.0  # s
        for packet in chain(self._read, self._packets):
            index = packet.stream.index
            if packet.pts is not None and index in (tracks | copies):
                reached = max(reached, float(packet.pts * packet.time_base))
            if index in tracks:
                tracks[index].take(packet)
            elif index in copies and packet.size and not _is_pause(packet):
                self._mux_copy(packet, copies[index])
        for track in tracks.values():
            track.flush()
        notes = {note: None for track in tracks.values() for note in track.decoder.notes()}
        promised = self._given.duration
        if not notes and any(is_moving_picture(each) for each in self._given.streams.video):
            notes = dict.fromkeys(
                truncation_notes(reached, promised / av.time_base if promised else None)
            )
        return [*self._notes, *notes]

    def _track(self, stream: Any) -> "_Track":
        decoder = self._source.decoder(stream)
        codec: str = stream.codec_context.codec.canonical_name
        given = decoder.info
        name = self._output.format.name
        codecs = [codec, self._default, *_FALLBACKS]
        if name in _OF_ONE_CODEC:
            codecs = [self._default]
        track = TrackEncoder(self._output, codecs, given, name in _UNPRIMED)
        if track.codec != codec and name not in _OF_ONE_CODEC:
            self._notes.append(f"{codec} cannot be written here: the sound is now {track.codec}")
        track.stream.metadata.update(kept_tags(stream.metadata))
        track.stream.disposition = stream.disposition
        return _Track(decoder, track, self._make_filter(decoder.info))

    def _copy(self, stream: Any) -> Any:
        """Add a stream that takes the packets of another one as they are."""
        if stream.type == "data":
            if not self._given.chapters() and "timecode" not in stream.metadata:
                self._notes.append(f"the data track {stream.index} is left out")
            return None  # chapters and time codes are rewritten by the container
        if (
            stream.type == "video"
            and not is_moving_picture(stream)
            and not stream.codec_context.width
        ):
            self._notes.append(COVER_UNREADABLE)
            return None
        if self._output.format.name == "matroska" and not is_moving_picture(stream):
            name, kind = (stream.metadata.get(key, "") for key in ("filename", "mimetype"))
            self._output.add_attachment(name or "cover", kind or "image/jpeg", self._cover(stream))
            return None
        is_cover = stream.type == "video" and not is_moving_picture(stream)
        if is_cover and self._output.format.name not in _WITH_COVERS:
            self._notes.append(COVER_LOST)
            return None
        try:
            copy = self._output.add_stream_from_template(stream, opaque=True)
        except (ValueError, FFmpegError) as error:
            what = f"{stream.type} ({stream.name or 'unknown'})"
            container = self._output.format.name
            if stream.type == "video" and is_moving_picture(stream):
                raise self._cannot_hold(stream) from error
            lost = (
                COVER_LOST if is_cover else f"{container} cannot hold its {what}, which is left out"
            )
            self._notes.append(lost)
            return None
        extradata = getattr(stream.codec_context, "extradata", None) or b""
        name = _TO_ANNEX_B.get(stream.name, "") if self._output.format.name in _ANNEX_B else ""
        if name and extradata[:1] == b"\1":  # lengths before the units, as in mp4
            self._bit_filters[stream.index] = BitStreamFilterContext(name, stream, copy)
        copy.metadata.update(kept_tags(stream.metadata))
        copy.disposition = stream.disposition
        if self._same_family and stream.codec_context is not None:
            copy.codec_context.codec_tag = stream.codec_context.codec_tag
        return copy

    def _mux_copy(self, packet: Any, copy: Any) -> None:
        given = packet.stream
        packets = [packet]
        if bit_filter := self._bit_filters.get(given.index):
            packets = bit_filter.filter(packet)
        try:
            for each in packets:
                each.stream = copy
                self._output.mux(each)
        except FFmpegError as error:
            if given.index in self._copied or isinstance(error, OSError):
                raise
            raise self._cannot_hold(given) from error
        self._copied.add(given.index)

    def _cannot_hold(self, stream: Any) -> SordinoError:
        return SordinoError(
            f"{self._output.format.name} cannot hold its {stream.type} "
            f"({stream.name or 'unknown'}): choose another format, for instance mkv"
        )

    def _cover(self, stream: Any) -> bytes:
        """Return a cover; covers come before all other packets."""
        for packet in self._packets:
            self._read.append(packet)
            if packet.stream.index == stream.index:
                break
        return next((bytes(each) for each in self._read if each.stream.index == stream.index), b"")


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


def _readable_chapters(chapters: list[Any]) -> list[Any]:
    return [each | {"metadata": readable_tags(each["metadata"])} for each in chapters]


def _is_pause(packet: Any) -> bool:
    """Tell mp4's empty subtitles, which its writer puts between the others by itself."""
    return packet.size == 2 and packet.stream.name == "mov_text" and bytes(packet) == b"\0\0"
