"""Limits on how often a client may come: token buckets, one for each address."""

from collections import OrderedDict
from time import monotonic

MOST_CLIENTS = 10_000  # remembered; the longest unseen is forgotten first


class RateLimit:
    """A bucket for each client that fills steadily and is emptied by its requests.

    Args:
        per_second: how fast a bucket fills.
        burst: what it holds.

    >>> limit = RateLimit(per_second=1, burst=2)
    >>> [limit.wait("somebody", now=0.0) for _ in range(3)]
    [0.0, 0.0, 1.0]
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # level, time

    def wait(self, client: str, now: float | None = None, cost: float = 1.0) -> float:
        """Take from a client's bucket; return 0, or the seconds until there is enough in it."""
        now = monotonic() if now is None else now
        level, since = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        enough = level >= max(cost, 1.0)
        self._buckets[client] = (level - cost if enough else level, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if enough else (max(cost, 1.0) - level) / self._per_second
