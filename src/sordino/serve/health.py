"""`GET /healthz` and `GET /metrics`: for those who look after the server."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from sordino.serve.errors import Draining
from sordino.serve.state import state_of

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the server is."""

    status: str


@router.get("/healthz", summary="Tell whether the server takes work", responses={503: {}})
async def health(request: Request) -> Health:
    """Answer 200 while the server takes work, and 503 while it ends."""
    if state_of(request).engine.draining_until is not None:
        raise Draining
    return Health(status="ok")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
