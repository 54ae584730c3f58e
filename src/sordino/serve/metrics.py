"""Measurements: Prometheus metrics of the server, levels and times of one live stream."""

from math import log10

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SILENCE_DBFS = -100.0

_BLOCK_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.05, 0.1, 0.5)
_UPLOAD_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_BATCHES = (1, 2, 4, 8, 12, 16)


class Metrics:
    """Prometheus metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.streams = Gauge("sordino_streams", "Live streams now.", registry=registry)
        self.load = Gauge(
            "sordino_load_ratio", "Share of the capacity for live streams in use.",
            registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "sordino_refused", "Requests and streams that were refused.", ["code"],
            registry=registry,
        )  # fmt: skip
        self.closed = Counter(
            "sordino_streams_closed", "Live streams that ended.", ["code"], registry=registry
        )
        self.uploads = Counter(
            "sordino_uploads", "Recordings that were denoised.", ["outcome"], registry=registry
        )
        self.upload_seconds = Histogram(
            "sordino_upload_seconds", "Time that a recording took.",
            buckets=_UPLOAD_SECONDS, registry=registry,
        )  # fmt: skip
        self._audio = Counter(
            "sordino_live_sound_seconds", "Live audio that was denoised.", registry=registry
        )
        self._blocks = Histogram(
            "sordino_block_seconds", "Time from a live block's arrival to its answer.",
            buckets=_BLOCK_SECONDS, registry=registry,
        )  # fmt: skip
        self._batches = Histogram(
            "sordino_batch_size", "Blocks that shared one run of the network.",
            buckets=_BATCHES, registry=registry,
        )  # fmt: skip

    def block(self, elapsed: float, seconds: float) -> None:
        """Note a live block: how long it took, and how long it lasts."""
        self._blocks.observe(elapsed)
        self._audio.inc(seconds)

    def batch(self, size: int) -> None:
        """Note how many blocks shared one run."""
        self._batches.observe(size)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class LevelMeter:
    """Level of the audio since the last reading."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._count = 0

    def add(self, sound: NDArray[np.float32]) -> None:
        """Add audio of any shape, full scale +-1."""
        flat = sound.reshape(-1)
        self._energy += float(np.dot(flat, flat))
        self._count += flat.size

    def read(self) -> float | None:
        """Return the level in dBFS and start again; None if there was no audio."""
        energy, count = self._energy, self._count
        self._energy, self._count = 0.0, 0
        if not count:
            return None
        power = max(energy / count, 10 ** (SILENCE_DBFS / 10))
        return round(10 * log10(power), 1)


class BlockTimes:
    """Processing times of blocks since the last reading."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        """Add the time of one block."""
        self._seconds.append(seconds)

    def read(self) -> tuple[float | None, float | None]:
        """Return median and 99th percentile in ms and start again; None if there was no block."""
        times, self._seconds = sorted(self._seconds), []
        if not times:
            return None, None
        p50, p99 = times[len(times) // 2], times[min(len(times) - 1, int(0.99 * len(times)))]
        return round(1000 * p50, 2), round(1000 * p99, 2)
