"""The ASGI application: middlewares, the page and the small routes, and the routers of the rest."""

import re
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Annotated

import fastapi_offline
from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import Scope

from sordino import examples
from sordino.model import available_models, load_model, read_model
from sordino.serve import uploads, websocket
from sordino.serve.dependencies import State, state_of
from sordino.serve.errors import Draining, Refusal, handle_error
from sordino.serve.security import (
    AccessMiddleware,
    ForwardedMiddleware,
    SecurityMiddleware,
    route_path,
)
from sordino.serve.settings import ServerSettings

PAGE_FOLDER = FilePath(__file__).parent / "page"
"""The built page, which web/ makes."""

_SWAGGER = FilePath(fastapi_offline.__file__).parent / "static"  # our pages load nothing from CDNs
_SWAGGER_PATH = "/docs/assets"

router = APIRouter()


def create_app(settings: ServerSettings | None = None) -> FastAPI:
    """Return the server as an ASGI application.

    Args:
        settings: see `ServerSettings`.
    """
    settings = settings or ServerSettings()
    state = State(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        state.scheduler.start()
        yield
        state.scheduler.close()

    app = FastAPI(
        title="Sordino",
        version=version("sordino"),
        summary="Takes the noise out of speech.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.sordino = state
    for error in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, handle_error)
    # The middleware that is added last comes first.
    app.add_middleware(AccessMiddleware, rules=state.rules)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[each.lower() for each in settings.origins],
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["*"],  # no cookies are used, so that no header is dangerous
            expose_headers=[
                "Accept-Patch", "Accept-Post", "Allow", "Content-Disposition", "ETag", "Location",
                "Retry-After",
            ],
        )  # fmt: skip
    app.add_middleware(SecurityMiddleware, rules=state.rules)
    app.add_middleware(
        ForwardedMiddleware,
        trusted_hosts=settings.trusted_proxies,
        root_path=settings.root_path,
    )
    for each in (uploads.router, websocket.router, router):
        app.include_router(each)
    if find_spec("aiortc") is not None:
        from sordino.serve import webrtc

        app.include_router(webrtc.router)
    app.mount(_SWAGGER_PATH, StaticFiles(directory=_SWAGGER))
    app.mount("/examples", StaticFiles(directory=examples.FOLDER / "noisy"))
    if (PAGE_FOLDER / "index.html").is_file():
        app.router.routes.append(_Page("/", StaticFiles(directory=PAGE_FOLDER, html=True)))
    else:
        app.add_api_route("/", _page_missing, include_in_schema=False)
    return app


class _Page(Mount):
    """All paths but those of the API, whose errors are not the page's to answer."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if route_path(scope).startswith("/v1/"):
            return Match.NONE, {}
        return super().matches(scope)


def _page_missing() -> PlainTextResponse:
    return PlainTextResponse(
        "This is a Sordino server without its page: build it with `npm ci && npm run build` "
        "in web/, or install a wheel, which has it. The HTTP routes are at /docs.\n"
    )


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Show the HTTP routes, to try them."""
    prefix = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{prefix}/openapi.json",
        title="Sordino: HTTP routes",
        swagger_js_url=f"{prefix}{_SWAGGER_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{prefix}{_SWAGGER_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{prefix}{_SWAGGER_PATH}/favicon.png",
    )
    scripts = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    hashes = " ".join(f"'sha256-{b64encode(sha256(each).digest()).decode()}'" for each in scripts)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return page


class Health(BaseModel):
    """State of the server."""

    status: str


@router.get(
    "/healthz", tags=["health"], summary="Tell whether the server takes work", responses={503: {}}
)
async def health(request: Request) -> Health:
    """Answer 200 while the server takes work, and 503 while it ends."""
    if state_of(request).scheduler.draining_until is not None:
        raise Draining
    return Health(status="ok")


@router.get("/metrics", tags=["health"], summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


class ModelDescription(BaseModel):
    """One model."""

    name: str = Field(description="What requests call it")
    summary: str
    live: bool = Field(description="Whether live streams may use it")
    rates: list[int] = Field(description="Native sample rates in Hz")
    parameters: int
    macs_per_second: int = Field(description="Multiply-accumulates for one second of audio")
    licence: str
    sha256: str


class ModelList(BaseModel):
    """All models, the default one first."""

    models: list[ModelDescription]


@router.get("/v1/models", tags=["models"], summary="List the models")
def models() -> ModelList:
    """List the models that the server has, the default one first."""
    described: list[ModelDescription] = []
    for entry in available_models().values():
        info = load_model(entry.name).info
        described.append(
            ModelDescription(
                name=entry.name,
                summary=entry.summary,
                live=entry.live,
                rates=list(info.native_rates),
                parameters=info.parameters,
                macs_per_second=info.macs_per_second,
                licence=info.licence,
                sha256=entry.sha256,
            )
        )
    return ModelList(models=described)


@router.get(
    "/v1/models/{name}/weights",
    tags=["models"],
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
    """Return the ONNX file of a packaged model that can run live."""
    entry = available_models().get(name)
    if entry is None or not entry.live:
        raise Refusal(404, "not_found", f"no live model is called {name!r}")
    data, _ = read_model(name)
    headers = {"ETag": f'"{entry.sha256}"', "Cache-Control": "no-cache"}
    return Response(data, media_type="application/octet-stream", headers=headers)
