"""Long recordings in sections: cut with overlap, denoised side by side, joined as PCM.

A recording is decoded once and cut into w64 files of float32 samples.  Each section begins
`OVERLAP` seconds early, so that the network has heard what it would remember there in one pass,
and ends `CHECKED` seconds late, where the next section is compared with it.  Joining runs the
recording through the file pipeline once more with the clean samples in the place of a denoiser:
container, tags and loudness come out as in one pass.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from math import ceil, inf, log10
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sordino.arrays import Interleaved
from sordino.batch.track import DenoiseSettings, StreamDenoiser, TrackDenoiser
from sordino.cluster import storage
from sordino.errors import SordinoError
from sordino.io.audiofile import AudioSink, open_sink, open_source
from sordino.io.decoder import ContainerSource
from sordino.io.formats import SoundInfo
from sordino.model import Model

OVERLAP = 120
"""Seconds.  To 60 dB below the speech, `default` has forgotten what was before within 12 s and
`small` within a minute, measured by scripts/network_memory.py; see docs/how-to/cluster.md."""

GRID = 10
"""Seconds that sections, and what they overlap by, are whole multiples of: so the blocks of a
network that looks ahead lie where they lie in one pass."""

CHECKED = 12
"""Seconds in which neighbouring sections are compared, all but the last of them: one such block,
and its future."""

MIN_BYTES_PER_SECOND = 500  # a lower bit rate means that the duration cannot be right

_EDGE = CHECKED - GRID  # seconds at the end of a section, which lack the sound that follows


@dataclass(frozen=True)
class Section:
    """Where a section lies in a recording, in seconds from its beginning.

    Args:
        number: from 0.
        begin, end: of what is joined.
        is_last: it ends with the recording.
    """

    number: int
    begin: int
    end: int
    is_last: bool

    @property
    def heard_from(self) -> int:
        """Where its denoiser begins."""
        return max(0, self.begin - OVERLAP)

    @property
    def heard_to(self) -> float:
        """Where its denoiser ends."""
        return inf if self.is_last else self.end + CHECKED


def sections_of(seconds: float, length: int) -> list[Section]:
    """Cut a recording into sections of a length in seconds; the last one may be longer.

    >>> [(each.begin, each.end) for each in sections_of(100.5, 40)]
    [(0, 40), (40, 101)]
    """
    count = max(1, int(seconds // length))
    ends = [length * (i + 1) for i in range(count - 1)] + [ceil(seconds)]
    begins = [0, *ends[:-1]]
    return [
        Section(i, begin, end, i == count - 1)
        for i, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]


def is_long(path: Path, settings: DenoiseSettings, length: int) -> bool:
    """Whether a recording is at least two sections long, and fit to be cut.

    It is not if it has a second audio track, or if a voice is kept in it: whether that voice is
    there is decided by far more than `OVERLAP` seconds of what was before.
    """
    if settings.voice or path.stat().st_size < 2 * length * MIN_BYTES_PER_SECOND:
        return False
    with open_source(path, track=settings.track) as source:
        seconds = settings.part_of(source.info).seconds
        is_single = not (
            isinstance(source, ContainerSource) and len(source.container.streams.audio) > 1
        )
    return seconds is not None and seconds >= 2 * length and is_single


def cut(path: Path, settings: DenoiseSettings, length: int, folder: str) -> tuple[int, float]:
    """Decode a recording and write each section, with the overlap that its denoiser needs.

    Args:
        path: of the recording.
        settings: of the run.
        length: of a section in seconds, more than overlaps.
        folder: address of the sections.

    Returns:
        How many sections there are, and how many seconds.
    """
    with open_source(path, track=settings.track) as source, ExitStack() as stack:
        info = replace(settings.part_of(source.info), layout="", tags={})
        waiting = sections_of(info.seconds or 0.0, length)
        count, samples = len(waiting), 0
        opened: list[tuple[Section, AudioSink, ExitStack]] = []
        blocks = settings.parts(source.blocks(), info.sample_rate)
        for second, block in enumerate(_whole_seconds(blocks, info.sample_rate)):
            samples += len(block)
            while waiting and waiting[0].heard_from <= second:
                files = stack.enter_context(ExitStack())
                address = _noisy(folder, waiting[0].number)
                opened.append((waiting.pop(0), _sink(address, info, files), files))
            for section, sink, files in opened:
                if second < section.heard_to:
                    sink.write(block)
                else:
                    files.close()
            opened = [each for each in opened if second < each[0].heard_to]
    seconds = samples / info.sample_rate
    # A recording that is cut short has fewer sections than its header promises.
    return min(count, max(1, ceil(seconds / length))), seconds


def denoise_section(number: int, length: int, settings: DenoiseSettings, folder: str) -> None:
    """Denoise a section that was cut, and write what is joined of it."""
    # Section, channel and loudness are matters of the whole recording.
    settings = replace(settings, loudness=None, begin=0.0, end=None, channel=None, track=None)
    section = Section(number, number * length, (number + 1) * length, False)
    with (
        storage.fetched(_noisy(folder, number)) as noisy,
        open_source(noisy) as source,
        ExitStack() as files,
    ):
        sink = _sink(_clean(folder, number), source.info, files)
        track = TrackDenoiser(source.info, settings)
        skipped = (section.begin - section.heard_from) * source.info.sample_rate
        for block in source.blocks():
            clean = track.feed(block)
            sink.write(clean[skipped:])
            skipped = max(0, skipped - len(clean))
        sink.write(track.flush()[skipped:])


@dataclass
class Seams:
    """How well sections agree where they meet."""

    difference: float = 0.0
    """The largest mean power of the difference at a seam."""
    energy: float = 0.0
    samples: int = 0

    def note(self, sections: int) -> str:
        """Say it in one line; the level of all the sound is no more than that of the speech."""
        how = "do not differ"
        if self.difference:
            level = self.energy / max(1, self.samples)
            how = f"differ by {10 * log10(self.difference / max(level, 1e-20)):.0f} dB of the sound"
        return f"cut into {sections} sections, which {how} where they meet"


@dataclass(frozen=True)
class JoinedSettings(DenoiseSettings):
    """DenoiseSettings of a recording whose clean sections are there.

    Args:
        folder: address of the sections.
        sections: how many there are.
        length: of a section in seconds.
        seams: is filled while they are joined.
    """

    folder: str = ""
    sections: int = 1
    length: int = 0
    seams: Seams = field(default_factory=Seams)

    def denoiser(self, sample_rate: int, channels: int) -> StreamDenoiser:
        """Return what gives out the clean sections."""
        assert isinstance(self.model, Model)
        return _JoinedDenoiser(self, self.model, sample_rate, channels)


class _JoinedDenoiser:
    """Gives out the clean sound of sections for the noisy sound that it is fed."""

    def __init__(
        self, settings: JoinedSettings, model: Model, sample_rate: int, channels: int
    ) -> None:
        self.channels = channels
        self.model = model
        self.voice_missing_seconds = 0.0  # what keeps a voice is not cut
        self._blocks = _joined(settings, sample_rate)
        self._ready = np.zeros((0, channels), np.float32)

    def warm_up(self, sound: ArrayLike) -> None:
        """Do nothing: the sections were warmed up when they were denoised."""

    def feed(self, block: ArrayLike) -> NDArray[np.float32]:
        """Return the clean sound of a block, shape = (samples, channels) as of the block."""
        count = len(np.asarray(block))
        while len(self._ready) < count:
            clean = next(self._blocks, None)
            if clean is None:
                raise SordinoError("its sections are shorter than the recording: was it changed?")
            self._ready = np.concatenate([self._ready, clean])
        clean, self._ready = self._ready[:count], self._ready[count:]
        return clean

    def flush(self) -> NDArray[np.float32]:
        """Check that all sections are used; return no samples, shape = (0, channels)."""
        if len(self._ready) or next(self._blocks, None) is not None:
            raise SordinoError("its sections are longer than the recording: was it changed?")
        return self._ready


def _joined(settings: JoinedSettings, rate: int) -> Iterator[Interleaved]:
    seams = settings.seams
    seams.difference = seams.energy = 0.0
    seams.samples = 0
    expected = np.zeros((0, 1), np.float32)  # by the section before
    for number in range(settings.sections):
        with (
            storage.fetched(_clean(settings.folder, number)) as path,
            closing(open_source(path)) as source,
        ):
            left = settings.length * rate
            begin: list[Interleaved] = [np.zeros((0, source.info.channels), np.float32)]
            after = begin[:]
            for block in source.blocks():
                if sum(map(len, begin)) < len(expected):
                    begin.append(block)
                is_last = number == settings.sections - 1
                joined, late = (block, block[:0]) if is_last else (block[:left], block[left:])
                left -= len(joined)
                after.append(late)
                seams.energy += float(np.mean(np.square(joined), axis=1).sum())
                seams.samples += len(joined)
                if len(joined):
                    yield joined
        found = np.concatenate(begin)[: len(expected)]
        if len(found):
            power = float(np.mean(np.square(found - expected[: len(found)])))
            seams.difference = max(seams.difference, power)
        late = np.concatenate(after)
        expected = late[: max(0, len(late) - round(_EDGE * rate))]


def _whole_seconds(blocks: Iterator[Interleaved], rate: int) -> Iterator[Interleaved]:
    """Yield blocks of a second exactly; the last one may be shorter."""
    held: list[Interleaved] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= rate:
            sound = np.concatenate(held)
            whole = len(sound) // rate * rate
            yield from (sound[i : i + rate] for i in range(0, whole, rate))
            held = [sound[whole:]]
    rest = np.concatenate(held) if held else np.zeros((0, 1), np.float32)
    if len(rest):
        yield rest


def _sink(address: str, info: SoundInfo, files: ExitStack) -> AudioSink:
    """Open a section for writing; it appears when `files` is closed."""
    part = files.enter_context(storage.stored(address))
    sink = open_sink(part, "w64", replace(info, subtype="FLOAT", seconds=None, tags={}, layout=""))
    return files.enter_context(closing(sink))


def _noisy(folder: str, number: int) -> str:
    return storage.joined(folder, f"{number:05}.noisy.w64")


def _clean(folder: str, number: int) -> str:
    return storage.joined(folder, f"{number:05}.clean.w64")
