"""Containers (mp3, m4a, mp4, mkv, webm ...), through PyAV: their packets, and one decoded track.

Packets of all tracks are on one clock that neither restarts nor leaps.  All positions are samples
on that clock, so that sound comes out where it was: the priming of encoders, edit lists, start
offsets and gaps are accounted for here and nowhere else.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from mutagen import MutagenError  # pyright: ignore[reportPrivateImportUsage]
from mutagen.mp3 import MP3, BitrateMode

from sordino.arrays import Interleaved
from sordino.errors import SordinoError
from sordino.io.formats import (
    LOSSLESS_CODECS,
    RawFormat,
    Readable,
    SoundInfo,
    one_second_blocks,
    truncation_notes,
)
from sordino.io.tags import readable_tags

MAX_GAP = 60  # s; a longer one between the packets of all tracks is an error of the clock

_RESTART = 1  # s; time stamps of one track that fall back further begin another recording
_NEAR = Fraction(1, 10)  # s
_WINDOW = 2  # s, in which bit rates are measured
_MEASURED_SECONDS, _MEASURED_BYTES = 10, 16_000_000
SYNC_TOLERANCE = 0.02  # s; timestamps that jump further are gaps or overlaps, less is rounding
LONGEST_FRAME = 4096  # samples; what an encoder may have padded the end of a track with

_SUBTYPES = {
    **{"u8": "PCM_U8", "s16": "PCM_16", "s32": "PCM_24", "s64": "PCM_32"},
    **{"flt": "FLOAT", "dbl": "DOUBLE"},
}
_DURATION_IS_GUESSED = {"aac", "ac3", "eac3", "dts", "dtshd", "mlp", "truehd", "loas", "amr"}
_NO_TIME_STAMPS = {*_DURATION_IS_GUESSED, "mp3", "flac"}
"""Streams without a container: FFmpeg counts the time from the first frame's duration."""
_REFERRING = {
    *("concat", "dash", "hds", "hls", "imf", "sdp", "smoothstreaming", "webm_dash_manifest"),
    *("alsa", "fbdev", "image2", "kmsgrab", "lavfi", "oss", "rtp", "rtsp", "sap"),
    "video4linux2,v4l2",
}
_SAFE = {
    # A recording must not make us open other files, addresses or devices, as playlists do.
    "protocol_whitelist": "file,pipe",
    "format_whitelist": ",".join(sorted(av.formats_available - _REFERRING)),
}


class PacketReader:
    """Reads all packets of an open container.

    Recordings that were joined end to end (chained Ogg, concatenated MPEG-TS) restart their
    time stamps; here the second one follows on the first.  A leap ahead of all tracks by more
    than `MAX_GAP` is closed, and a note says so.
    """

    def __init__(self, container: InputContainer) -> None:
        self._packets: Iterator[Any] = container.demux()
        self._ahead: list[Any] = []  # read to measure bit rates
        self._shift = Fraction(0)  # s, added to time stamps since the latest break
        self._shifts: dict[int, Fraction] = {}  # by track: each meets a break by itself
        self._begin: Fraction | None = None  # s; of the first packet
        self._reached: Fraction | None = None  # s; end of the latest packet
        self._first: dict[int, Fraction] = {}  # s, by track, since its latest break
        self._last: dict[int, Fraction] = {}
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Any]:
        """Yield the packets; the last one of each track is empty and flushes its decoder."""
        ahead, self._ahead = self._ahead, []
        for packet in ahead:
            self._place(packet)
            yield packet
        for packet in self._packets:
            self._place(packet)
            yield packet

    def bit_rate(self, index: int) -> int | None:
        """Measure the bits per second of a track whose header has none, from its beginning.

        Codecs vary their rate; the busiest two seconds of the first ten are taken, so that
        encoding at this rate loses nothing.
        """
        if not self._ahead:
            size = 0
            for packet in self._packets:
                self._ahead.append(packet)
                size += packet.size
                time = _time(packet)
                is_late = time is not None and time > _MEASURED_SECONDS
                if is_late or size > _MEASURED_BYTES:
                    break
        sizes: dict[int, int] = {}
        times = [time for each in self._ahead if (time := self._time_in(each, index)) is not None]
        if not times or times[-1] <= times[0]:
            return None
        for packet in self._ahead:
            time = self._time_in(packet, index)
            if time is not None:
                window = int((time - times[0]) // _WINDOW)
                sizes[window] = sizes.get(window, 0) + packet.size
        span = times[-1] - times[0]
        if span < 2 * _WINDOW:
            return round(8 * sum(sizes.values()) / span)
        del sizes[max(sizes)]  # not a whole one
        return round(8 * max(sizes.values()) / _WINDOW)

    def _time_in(self, packet: Any, index: int) -> Fraction | None:
        return _time(packet) if packet.stream.index == index and packet.size else None

    def _place(self, packet: Any) -> None:
        time = _time(packet)
        if time is None:
            return
        stream: Stream = packet.stream
        shift = self._shift
        if stream.type == "audio" or (stream.type == "video" and is_moving_picture(stream)):
            duration = (packet.duration or 0) * packet.time_base
            shift = self._follow(stream.index, time, duration)
        ticks = round(shift / packet.time_base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def _follow(self, index: int, stamp: Fraction, duration: Fraction) -> Fraction:
        """Return the shift, in seconds, of a packet of sound or pictures."""
        shift = self._shifts.get(index, self._shift)
        reached = stamp + shift if self._reached is None else self._reached
        is_leap = stamp + shift > reached + MAX_GAP
        if is_leap or self._restarts(index, stamp + shift):
            # Another track may have met the same break before this one.
            is_known = abs(stamp + self._shift - reached) < MAX_GAP and self._shift != shift
            if not is_known:
                if is_leap:
                    self._note_leap(stamp + shift - reached, reached)
                self._shift = reached - stamp
            shift = self._shift
            self._first.pop(index, None)
        time = stamp + shift
        self._shifts[index] = shift
        self._first.setdefault(index, time)
        self._last[index] = time
        self._begin = time if self._begin is None else self._begin
        self._reached = max(reached, time + duration)
        return shift

    def _restarts(self, index: int, time: Fraction) -> bool:
        last, first = self._last.get(index), self._first.get(index)
        if last is None or first is None:
            return False
        return time < last - _RESTART or time <= first + _NEAR < last

    def _note_leap(self, gap: Fraction, reached: Fraction) -> None:
        seconds, at = round(gap), float(reached - (self._begin or 0))
        length = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        self.notes.append(
            f"the time stamps leap ahead by {length} h after {at:.1f} s: this gap is left out"
        )


def is_moving_picture(stream: Stream) -> bool:
    """Tell a moving picture from a cover."""
    return not stream.disposition & Disposition.attached_pic


def _time(packet: Any) -> Fraction | None:
    stamp = packet.pts if packet.dts is None else packet.dts
    return None if stamp is None or packet.time_base is None else stamp * packet.time_base


def open_container(
    file: Path | Readable, raw: RawFormat | None = None, ignores_length: bool = False
) -> InputContainer:
    """Open any container for reading.

    Args:
        file: a path, or an open binary file, which need not be seekable.
        raw: how to read headerless samples; None reads the header.
        ignores_length: read a wav file to its end, whatever its header says.
    """
    name = f"file:{file}" if isinstance(file, Path) else file
    if raw is None:
        options = _SAFE | ({"ignore_length": "1"} if ignores_length else {})
        return av.open(name, "r", options=options, metadata_errors="surrogateescape")
    options = {"sample_rate": str(raw.sample_rate), "ch_layout": f"{raw.channels}c"}
    return av.open(name, "r", format=raw.encoding, options=options)


class TrackDecoder:
    """Decodes one audio track of an open container, sample by sample in its place.

    Gaps in the timestamps come out as silence and overlaps are cut, so that the position of
    every sample is `start` plus the number of samples before it.

    Args:
        stream: of a container that has just been opened.
        packets: of the same container.
        is_guessed: whether the container's duration is a guess from the bit rate.

    Raises:
        SordinoError: the codec is unknown, or the header is damaged.
    """

    def __init__(
        self, stream: AudioStream, packets: PacketReader, is_guessed: bool = False
    ) -> None:
        self.stream: Any = stream
        self._packets = packets
        self.start: int | None = None  # position of the first sample; None before it is known
        self._damaged = 0  # packets that could not be decoded
        context: Any = stream.codec_context
        if context is None or context.format is None or not stream.rate:
            raise SordinoError("its sound cannot be decoded: the codec is unknown or not there")
        if not context.layout.nb_channels:
            raise SordinoError("it has no channels: the header is damaged")
        sample_format = context.format.name.removesuffix("p")
        lossless = context.name.startswith(LOSSLESS_CODECS)
        subtype = _SUBTYPES.get(sample_format, "PCM_16") if lossless else context.name
        subtype = "PCM_32" if context.name.startswith("pcm_s32") else subtype
        self._layout = stream.layout.name  # "2 channels" where the file does not say which
        self.info = SoundInfo(
            sample_rate=stream.rate,
            channels=stream.layout.nb_channels,
            subtype=subtype.removesuffix("float"),
            layout="" if self._layout.endswith(" channels") else self._layout,
            bit_rate=None if lossless else _bit_rate(stream),
            seconds=_seconds(stream),
            tags=readable_tags(stream.container.metadata or stream.metadata),  # ogg: the track's
        )
        container = stream.container.format.name
        self._has_time_stamps = container not in _NO_TIME_STAMPS
        self._is_guessed = is_guessed or container in _DURATION_IS_GUESSED
        self._resampler: AudioResampler | None = None
        self._rates: dict[int, float] = {}  # Hz -> s, when it was first met
        self._shape: object = None
        self._next = 0
        self._end = _declared_end(stream)

    def decode(self, packet: "Packet[Any]") -> Iterator[Interleaved]:
        """Decode one packet; an empty one flushes the decoder."""
        try:
            frames: list[AudioFrame] = self.stream.decode(packet)
        except FFmpegError:
            self._damaged += 1
            return
        for frame in frames:
            position = self._next
            is_stamped = self._has_time_stamps or self.start is None
            if is_stamped and frame.pts is not None and frame.time_base is not None:
                position = round(frame.pts * frame.time_base * self.info.sample_rate)
            if self.start is None:
                self.start = self._next = position
            for samples in self._converted(frame):
                yield from self._placed(samples, position)
                position = self._next
        if not packet.size and self._resampler is not None:
            for samples in self._resampled(None):
                yield from self._placed(samples, self._next)

    def notes(self) -> list[str]:
        """Say at the end what was wrong with the track.

        Raises:
            SordinoError: nothing could be decoded.
        """
        context = self.stream.codec_context
        if self.start is None:
            codec = context.codec.canonical_name
            unknown = f", or its {codec} is of a kind that FFmpeg does not decode"
            raise SordinoError(
                "no sound in it can be decoded: it is damaged or cut short"
                + (unknown if self._damaged else "")
            )
        notes = [f"{self._damaged} damaged packet(s) could not be decoded"] if self._damaged else []
        if context.format.name.startswith("s64"):
            notes.append("its 64-bit samples are kept as 32-bit ones")
        for rate, seconds in list(self._rates.items())[1:]:
            notes.append(
                f"its sample rate changes to {rate} Hz after {seconds:.1f} s: that part was "
                f"resampled to {self.info.sample_rate} Hz"
            )
        is_exact = not self._is_guessed and len(self._rates) == 1
        if is_exact and not self._packets.notes:
            reached = (self._next - self.start) / self.info.sample_rate
            notes += truncation_notes(reached, self.info.seconds)
        return notes + self._packets.notes

    def _converted(self, frame: AudioFrame) -> Iterator[Interleaved]:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:  # some broadcasts change layout on the way
            self._shape = shape
            if self._resampler is not None:
                yield from self._resampled(None)
            # Interleaved: PyAV crashes on planes of 8 channels and more.
            self._resampler = AudioResampler("flt", self._layout, self.info.sample_rate)
            seconds = (self._next - (self.start or 0)) / self.info.sample_rate
            self._rates.setdefault(frame.sample_rate, seconds)
        yield from self._resampled(frame)

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Interleaved]:
        assert self._resampler is not None
        for converted in self._resampler.resample(frame):
            yield np.asarray(converted.to_ndarray(), np.float32).reshape(-1, self.info.channels)

    def _placed(self, samples: Interleaved, position: int) -> Iterator[Interleaved]:
        tolerance = SYNC_TOLERANCE * self.info.sample_rate
        gap = position - self._next
        if gap < -tolerance:
            samples = samples[-gap:]
        elif gap > tolerance:
            second = np.zeros((self.info.sample_rate, self.info.channels), np.float32)
            for begin in range(0, gap, len(second)):
                yield second[: gap - begin]
            self._next = position
        if self._end is not None and 0 < self._next + len(samples) - self._end < LONGEST_FRAME:
            samples = samples[: max(0, self._end - self._next)]
        self._next += len(samples)
        yield samples


def _bit_rate(stream: AudioStream) -> int | None:
    stated = stream.metadata.get("BPS", "")  # as mkvmerge writes it
    return stream.bit_rate or (int(stated) if stated.isdecimal() else None)


def _seconds(stream: AudioStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    container: Any = stream.container
    if not container.duration or any(is_moving_picture(each) for each in container.streams.video):
        return None  # the pictures may be longer than the sound
    return container.duration / av.time_base


def _declared_end(stream: AudioStream) -> int | None:
    """Where mp4 says that a track ends; the decoder knows only whole frames."""
    if "mp4" not in stream.container.format.name or not stream.duration or not stream.time_base:
        return None
    return round(((stream.start_time or 0) + stream.duration) * stream.time_base * stream.rate)


class ContainerSource:
    """One audio track of any container as blocks of samples; `remux` takes them all.

    Args:
        file: a path, or an open binary file, which need not be seekable.
        raw: see `open_container`.
        track: which audio track, from 1; None is the first one.
        ignores_length: see `open_container`.
        notes: what is known of the file; they tell of its length what its header does not.

    Raises:
        SordinoError: there is no track of sound in it, or fewer tracks than that.
    """

    def __init__(
        self,
        file: Path | Readable,
        raw: RawFormat | None = None,
        track: int | None = None,
        ignores_length: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self.container: Any = open_container(file, raw, ignores_length)
        self.notes = list(notes)
        self._ignores_length = ignores_length or bool(notes)
        try:
            self.packets = PacketReader(self.container)
            tracks = self.container.streams.audio
            if not tracks:
                raise SordinoError(
                    "there is no sound in it: give an audio file, or a video with sound"
                )
            if track is not None and not 1 <= track <= len(tracks):
                raise SordinoError(f"there is no audio track {track}: it has {len(tracks)}")
            self._is_guessed = self.container.format.name == "mp3" and not _has_frame_count(file)
            self._decoder = self.decoder(tracks[(track or 1) - 1], _is_seekable(file))
        except BaseException:
            self.close()
            raise
        self.info = self._decoder.info
        self.has_pictures = any(is_moving_picture(each) for each in self.container.streams.video)
        if len(tracks) > 1 and track is None:
            self.notes.append(
                f"of {len(tracks)} audio tracks only the first one was taken: --track chooses"
            )

    def decoder(self, stream: AudioStream, measures_bit_rate: bool = True) -> TrackDecoder:
        """Return a decoder for one of the audio tracks."""
        decoder = TrackDecoder(stream, self.packets, self._is_guessed)
        if self._ignores_length:
            decoder.info = replace(decoder.info, seconds=None)
        info = decoder.info
        is_lossy = not stream.codec_context.name.startswith(LOSSLESS_CODECS)
        if measures_bit_rate and is_lossy and not info.bit_rate:
            decoder.info = replace(info, bit_rate=self.packets.bit_rate(stream.index))
        return decoder

    def blocks(self) -> Iterator[Interleaved]:
        """Yield the samples in blocks of about a second."""
        index = self._decoder.stream.index
        packets = (packet for packet in self.packets if packet.stream.index == index)
        parts = (part for packet in packets for part in self._decoder.decode(packet))
        yield from one_second_blocks(parts, self.info.sample_rate)
        self.notes += self._decoder.notes()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_seekable(file: Path | Readable) -> bool:
    """Tell a file from a pipe, whose packets are not waited for."""
    seekable: Any = getattr(file, "seekable", None)
    return isinstance(file, Path) or (callable(seekable) and bool(seekable()))


def _has_frame_count(file: Path | Readable) -> bool:
    """Tell whether an mp3 file says in its first frame how long it is (Xing, VBRI)."""
    if not isinstance(file, Path):
        return False
    with suppress(MutagenError):
        info: Any = MP3(file).info
        return info.bitrate_mode != BitrateMode.UNKNOWN
    return False
