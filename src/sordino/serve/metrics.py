"""What Prometheus may know of the server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.05, 0.1, 0.5)
_UPLOAD_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_BATCHES = (1, 2, 4, 8, 12, 16)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.streams = Gauge("sordino_streams", "Live streams now.", registry=registry)
        self.load = Gauge(
            "sordino_load_ratio", "Share of the room for live streams that is taken.",
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
        self._sound = Counter(
            "sordino_live_sound_seconds", "Live sound that was denoised.", registry=registry
        )
        self._hops = Histogram(
            "sordino_block_seconds", "Time from a live block's arrival to its answer.",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._batches = Histogram(
            "sordino_batch_size", "Blocks that shared one run of the network.",
            buckets=_BATCHES, registry=registry,
        )  # fmt: skip

    def hop(self, elapsed: float, seconds: float) -> None:
        """Note a live block: how long it took, and how long it sounds."""
        self._hops.observe(elapsed)
        self._sound.inc(seconds)

    def batch(self, size: int) -> None:
        """Note how many blocks shared one run."""
        self._batches.observe(size)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
