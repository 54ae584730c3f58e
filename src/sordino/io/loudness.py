"""Loudness and true peak of a sound, measured by FFmpeg.

Source: EBU R 128 (2023), "Loudness normalisation and permitted maximum level of audio signals",
and ITU-R BS.1770-5, whose gated measure FFmpeg's filter `ebur128` takes.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.error import BlockingIOError as NothingYetError
from av.error import EOFError as EndError
from av.filter import Graph

from sordino.arrays import Interleaved
from sordino.errors import SordinoError
from sordino.io.formats import SoundInfo

MAX_TRUE_PEAK = -1.0  # dBTP, as EBU R 128 permits
QUIETEST, LOUDEST = -70.0, -5.0  # LUFS; below the first nothing is measured
_FRAMES_PER_SECOND = 10  # of the filter's figures


class LoudnessMeter:
    """Measures the integrated loudness of a sound in constant memory.

    Args:
        info: of the sound; the layout says which channels are surround and count more.
    """

    def __init__(self, info: SoundInfo) -> None:
        self._rate, self._channels = info.sample_rate, info.channels
        self._layout = info.layout or f"{info.channels}c"
        graph = Graph()
        source = graph.add(
            "abuffer",
            sample_rate=str(self._rate),
            sample_fmt="flt",
            channel_layout=self._layout,
            time_base=f"1/{self._rate}",
        )
        measure = graph.add("ebur128", "peak=true:metadata=1:framelog=quiet")
        sink = graph.add("abuffersink")
        source.link_to(measure)
        measure.link_to(sink)
        graph.configure()
        self._graph, self._source, self._sink = graph, source, sink
        self._samples = 0
        self._figures: dict[str, str] = {}

    def feed(self, block: Interleaved) -> None:
        """Take a block, shape = (samples, channels)."""
        if not len(block):
            return
        packed = np.ascontiguousarray(block).reshape(1, -1)
        frame: Any = AudioFrame.from_ndarray(packed, "flt", self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = self._samples
        self._samples += len(block)
        self._source.push(frame)
        while True:
            try:
                pulled: Any = self._sink.pull()
            except (NothingYetError, EndError):
                return
            self._figures = pulled.metadata or self._figures

    def gain_to(self, loudness: float) -> tuple[float, list[str]]:
        """Return the gain that brings the sound to a loudness, and notes for the user.

        The true peak is held: no gain lifts it above `MAX_TRUE_PEAK`.

        Args:
            loudness: in LUFS.
        """
        # The filter gives figures for whole tenths of a second only.
        missing = -self._samples % round(self._rate / _FRAMES_PER_SECOND)
        self.feed(np.zeros((missing, self._channels), np.float32))
        measured = float(self._figures.get("lavfi.r128.I", "-inf"))
        if not measured > QUIETEST:
            return 1.0, ["it is too quiet or too short for a measure of loudness: left as it is"]
        gain_db = loudness - measured
        peak = float(self._figures["lavfi.r128.true_peak"])
        room = MAX_TRUE_PEAK - 20 * math.log10(max(peak, 1e-6))
        notes: list[str] = []
        if gain_db > room:
            gain_db = room
            notes.append(
                f"its loudness is {measured + gain_db:.1f} LUFS: more would lift its peaks above "
                f"{MAX_TRUE_PEAK:g} dBTP"
            )
        return 10 ** (gain_db / 20), notes


def check_loudness(loudness: float) -> None:
    """Refuse a loudness that no recording should have.

    Raises:
        SordinoError: it is out of range.
    """
    if not QUIETEST < loudness <= LOUDEST:
        raise SordinoError(
            f"a loudness of {loudness:g} LUFS is out of range: expected above {QUIETEST:g} to "
            f"{LOUDEST:g}, for instance -16 for speech or -23 for broadcasts"
        )
