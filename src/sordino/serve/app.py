"""The ASGI application: all routes behind one door."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from sordino.serve import health, models, streaming, uploads, weights
from sordino.serve.door import Door
from sordino.serve.engine import Engine
from sordino.serve.errors import answer_http
from sordino.serve.guard import Guard
from sordino.serve.metrics import Metrics
from sordino.serve.page import mount_page
from sordino.serve.settings import Settings
from sordino.serve.state import State


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the server as an ASGI application.

    Args:
        settings: see `Settings`.
    """
    settings = settings or Settings()
    metrics = Metrics()
    engine = Engine(settings, metrics)
    guard = Guard(settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        engine.start()
        yield
        engine.close()

    app = FastAPI(
        title="Sordino",
        version=version("sordino"),
        summary="Takes the noise out of speech.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.sordino = State(settings, metrics, engine, guard)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_http)
    app.add_exception_handler(Exception, answer_http)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Location", "Retry-After", "Content-Disposition"],
        )
    app.add_middleware(Door, guard=guard)  # the last one added is the first one asked
    for room in (uploads, streaming, models, weights, health):
        app.include_router(room.router)
    if find_spec("aiortc") is not None and find_spec("sordino.serve.webrtc") is not None:
        from sordino.serve.webrtc import router

        app.include_router(router)
    mount_page(app)
    return app
