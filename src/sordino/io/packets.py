"""Packets of a container, all tracks on one clock that neither restarts nor leaps."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.stream import Disposition, Stream

MAX_GAP = 60  # s; a longer one between the packets of all tracks is an error of the clock

_RESTART = 1  # s; time stamps of one track that fall back further begin another recording
_NEAR = Fraction(1, 10)  # s
_WINDOW = 2  # s, in which bit rates are measured
_MEASURED_SECONDS, _MEASURED_BYTES = 10, 16_000_000


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
