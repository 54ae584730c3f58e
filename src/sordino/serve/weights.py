"""`GET /v1/models/NAME/weights`: the network itself, for pages that run it themselves."""

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Response

from sordino.model import available_models
from sordino.serve.errors import Refusal

router = APIRouter(tags=["models"])


@router.get(
    "/v1/models/{name}/weights",
    summary="Get a model to run elsewhere",
    response_class=Response,
    responses={
        200: {
            "description": "An ONNX file; its description is in its metadata",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        404: {"description": "There is no such model, or it cannot run live"},
    },
)
def weights(
    name: Annotated[str, Path(description="A name from /v1/models with `live: true`")],
) -> Response:
    """Give the ONNX file of a packaged model that can run live."""
    entry = available_models().get(name)
    if entry is None or not entry.live:
        raise Refusal(404, "not_found", f"no model for live sound is called {name!r}")
    data = (files("sordino") / "weights" / entry.file).read_bytes()
    headers = {"ETag": f'"{entry.sha256}"', "Cache-Control": "no-cache"}
    return Response(data, media_type="application/octet-stream", headers=headers)
