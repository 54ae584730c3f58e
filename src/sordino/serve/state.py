"""What the routes of one server share."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from sordino.serve.engine import Engine
from sordino.serve.guard import Guard
from sordino.serve.metrics import Metrics
from sordino.serve.settings import Settings


@dataclass(frozen=True)
class State:
    """What the routes of one server share; `state_of` finds it.

    Args:
        settings: as given.
        metrics: where everybody counts.
        engine: for live streams of any kind.
        guard: the door.
        uploads: that are being denoised.
    """

    settings: Settings
    metrics: Metrics
    engine: Engine
    guard: Guard
    uploads: set[object] = field(default_factory=set[object])


def state_of(connection: HTTPConnection) -> State:
    """Return what the server of this request or WebSocket shares."""
    return connection.app.state.sordino
