"""`POST /v1/denoise`: a recording in, the clean one out, both as streams."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from sordino.denoiser import HIGHEST_RATE, LOWEST_RATE, MAX_WARM_UP
from sordino.io.formats import EXTENSIONS, RAW_ENCODINGS
from sordino.model import available_models
from sordino.serve.errors import Refusal
from sordino.serve.state import state_of
from sordino.serve.upload import Upload
from sordino.serve.worker import MOST_CHANNELS, Task

_ERRORS: dict[int | str, dict[str, object]] = {
    400: {"description": "A parameter is wrong"},
    404: {"description": "There is no such model"},
    408: {"description": "The upload stalled"},
    413: {"description": "The body, or the sound in it, is larger than allowed"},
    415: {"description": "A form instead of the file itself"},
    422: {"description": "This is not sound, or it is damaged"},
    503: {"description": "No room now; see Retry-After"},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}

router = APIRouter(tags=["recordings"])


@router.post(
    "/v1/denoise",
    summary="Take the noise out of a recording",
    response_class=Response,
    responses={
        200: {"description": "The clean recording", "content": {"*/*": _BINARY}},
        **_ERRORS,
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}
    },
)
async def denoise(
    request: Request,
    extension: Annotated[
        str,
        Query(
            alias="format",
            description="Format to write, as the command line's --format",
            json_schema_extra={"enum": sorted(EXTENSIONS)},
        ),
    ] = "wav",
    model: Annotated[str, Query(description="A name from /v1/models")] = "default",
    strength: Annotated[float, Query(ge=0, le=1, description="Share of the noise to take")] = 1.0,
    attenuation_limit: Annotated[
        float | None, Query(ge=0, le=200, description="Attenuate nothing by more, in dB")
    ] = None,
    listen: Annotated[
        float,
        Query(
            ge=0,
            le=MAX_WARM_UP,
            description="Hear so many seconds of it first; the answer begins after them",
        ),
    ] = 0.0,
    raw_rate: Annotated[
        int | None,
        Query(
            ge=LOWEST_RATE,
            le=HIGHEST_RATE,
            description="The body has no header, but samples at this rate in Hz",
        ),
    ] = None,
    raw_format: Annotated[
        str, Query(description="Of those samples", json_schema_extra={"enum": list(RAW_ENCODINGS)})
    ] = "s16le",
    raw_channels: Annotated[
        int, Query(ge=1, le=MOST_CHANNELS, description="Of those samples, interleaved")
    ] = 1,
) -> Response:
    """Take the noise out of a recording.

    The body is the file itself, in any format that the command line reads.  The answer begins
    while the body is still coming, for formats that can be streamed.
    """
    state = state_of(request)
    settings = state.settings
    upload = Upload(request, state, extension)
    try:
        if extension not in EXTENSIONS:
            raise Refusal(400, "bad_request", f"there is no format {extension!r}: see /docs")
        if raw_format not in RAW_ENCODINGS:
            raise Refusal(400, "bad_request", f"there are no samples {raw_format!r}: see /docs")
        if model not in available_models():
            choice = ", ".join(available_models())
            raise Refusal(404, "not_found", f"no model is called {model!r}: choose one of {choice}")
        upload.check()
        task = Task(
            extension=extension,
            model=model,
            strength=strength,
            attenuation_limit_db=attenuation_limit,
            listen=listen,
            raw=None if raw_rate is None else (raw_format, raw_rate, raw_channels),
            max_sound_seconds=settings.max_sound_seconds,
            max_output_bytes=settings.max_output_bytes,
            memory_bytes=settings.decoder_memory_bytes,
            cpu_seconds=settings.decoder_cpu_seconds,
        )
        await upload.begin(task)
    except Refusal as refusal:
        await upload.end(refusal.code)
        state.metrics.refused.labels(refusal.code).inc()
        raise
    except BaseException:
        await upload.end("aborted")
        raise
    return upload
