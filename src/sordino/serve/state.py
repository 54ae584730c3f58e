"""What the routes of one server share."""

from starlette.requests import HTTPConnection

from sordino.serve.admission import UploadAdmission
from sordino.serve.metrics import Metrics
from sordino.serve.scheduler import Scheduler
from sordino.serve.security import AccessRules
from sordino.serve.settings import Settings


class State:
    """What the routes of one server share; `state_of` finds it.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.scheduler = Scheduler(settings, self.metrics)
        self.rules = AccessRules(settings, self.metrics)
        self.uploads = UploadAdmission(settings)


def state_of(connection: HTTPConnection) -> State:
    """Return the shared state of the server of a request or WebSocket."""
    return connection.app.state.sordino
