"""What routes depend on: the shared state of their server, and the voices that a request names.

A voice profile is biometric data, so it travels in a header: URLs end up in the logs of servers
and proxies.  It is kept as long as the request or session lasts.
"""

from typing import Annotated

from fastapi import Depends, Header, Query, Request
from starlette.requests import HTTPConnection

from sordino.errors import SordinoError
from sordino.serve.admission import UploadAdmission
from sordino.serve.errors import Refusal
from sordino.serve.metrics import Metrics
from sordino.serve.scheduler import Scheduler
from sordino.serve.security import AccessRules
from sordino.serve.settings import ServerSettings
from sordino.voice import VoiceChoice, check_voice_options, read_fallback, voices_from_texts
from sordino.voice.stream import FALLBACK_SECONDS

EVERYBODY = "none"
"""Value of the header that keeps everybody."""


class State:
    """What the routes of one server share; `state_of` finds it.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.scheduler = Scheduler(settings, self.metrics)
        self.rules = AccessRules(settings, self.metrics)
        self.uploads = UploadAdmission(settings)


def state_of(connection: HTTPConnection) -> State:
    """Return the shared state of the server of a request or WebSocket."""
    return connection.app.state.sordino


def requested_voices(
    request: Request,
    sordino_voice: Annotated[
        str | None,
        Header(
            description="Profile of the voice to keep, from `POST /v1/voices`; several with "
            "commas between. `none` keeps everybody. If left out, what the server is set to keep"
        ),
    ] = None,
    others: Annotated[
        float | None, Query(ge=0, le=200, description="Attenuate other voices by no more, in dB")
    ] = None,
    voice_fallback: Annotated[
        str,
        Query(
            description="Keep everybody after this many seconds of speech without the voice, until "
            "it is heard again; or `never`"
        ),
    ] = str(FALLBACK_SECONDS),
) -> VoiceChoice:
    """Return which voices a request is to keep."""
    if sordino_voice is None:
        return state_of(request).settings.voices
    texts = [each.strip() for each in sordino_voice.split(",")]
    try:
        fallback = read_fallback(voice_fallback)
        check_voice_options(others, fallback)
        voices = () if texts == [EVERYBODY] else voices_from_texts(texts)
    except SordinoError as error:
        raise Refusal(400, "bad_request", str(error)) from error
    return VoiceChoice(voices, others, fallback)


Voices = Annotated[VoiceChoice, Depends(requested_voices)]
