"""`GET /`: the page, and the description of the HTTP routes."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Match, Mount
from starlette.types import Scope

from sordino import examples

FOLDER = Path(__file__).parent / "page"
"""The built page, which web/ makes."""

_SWAGGER = Path(fastapi_offline.__file__).parent / "static"  # no page of ours loads from elsewhere
_SWAGGER_PATH = "/docs/assets"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs() -> HTMLResponse:
    """Show the HTTP routes, to try them."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Sordino: HTTP routes",
        swagger_js_url=f"{_SWAGGER_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{_SWAGGER_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{_SWAGGER_PATH}/favicon.png",
    )
    scripts = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    hashes = " ".join(f"'sha256-{b64encode(sha256(each).digest()).decode()}'" for each in scripts)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return page


def mount_page(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve the page at `/`, or say how to get it if it was not built."""
    app.include_router(router)
    app.mount(_SWAGGER_PATH, StaticFiles(directory=_SWAGGER))
    app.mount("/examples", StaticFiles(directory=examples.FOLDER / "noisy"))
    if (folder / "index.html").is_file():
        app.router.routes.append(_Page("/", StaticFiles(directory=folder, html=True)))
        return

    @app.get("/", include_in_schema=False)
    def page() -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        return PlainTextResponse(
            "This is a Sordino server without its page: build it with `npm ci && npm run build` "
            "in web/, or install a wheel, which has it. The HTTP routes are at /docs.\n"
        )


class _Page(Mount):
    """Everything but the routes of the API, whose wrong uses it must not answer."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["path"].startswith("/v1/"):
            return Match.NONE, {}
        return super().matches(scope)
