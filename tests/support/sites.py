"""Small web servers: for a folder, and for the built `sordino-web` with what tests need."""

from collections.abc import Callable, Mapping
from functools import partial
from http.server import (
    BaseHTTPRequestHandler,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import unquote

import numpy as np

import sordino
from sordino import examples

PACKAGE = Path(sordino.__file__).parent
EXAMPLE = Path(__file__).parents[2] / "web" / "sordino-web" / "example"
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>sordino-web</title>"
    "<link rel=icon href=data:,>"
)


class Site:
    """A server on a free port of the loopback address, which serves while it is entered.

    Args:
        handler: makes what answers a request.
    """

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class FolderSite(Site):
    """Serves a folder on a free port of the loopback address while it is entered.

    Args:
        folder: with an index.html.
        headers: sent with every answer.
    """

    def __init__(self, folder: Path, headers: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.headers = dict(headers or {})
        self.requested: list[str] = []
        """Paths that were asked for, in order."""
        self.refused: set[str] = set()
        """Paths that are answered with status 503, as by a busy server."""
        super().__init__(partial(_Handler, site=self))

    def locate(self, path: str) -> Path | tuple[str, bytes] | None:
        """Return another file for a path, or its type and content; None for the folder's own."""
        return None


class StaticSite(FolderSite):
    """Serves the built `sordino-web`, its example, the weights and what a test has put there."""

    def __init__(self, isolated: bool) -> None:
        super().__init__(PACKAGE / "serve" / "page", ISOLATION if isolated else None)
        self.made: dict[str, tuple[str, bytes]] = {"/": ("text/html", PAGE.encode())}

    def put(self, path: str, samples: np.ndarray) -> None:
        """Serve samples as raw float32."""
        data = np.ascontiguousarray(samples, "<f4").tobytes()
        self.made[path] = ("application/octet-stream", data)

    def locate(self, path: str) -> Path | tuple[str, bytes] | None:
        name = path.rsplit("/", 1)[-1]
        if path in self.made:
            return self.made[path]
        if name == "default.onnx":
            return PACKAGE / "weights" / name
        if path.startswith("/dist/"):  # where the example looks for what was built
            return self.folder / "sordino-web" / name
        if path.startswith("/example/"):
            return EXAMPLE / (name or "index.html")
        return None


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args, site: FolderSite, **options) -> None:
        self._site = site
        super().__init__(*args, directory=str(site.folder), **options)

    def translate_path(self, path: str) -> str:
        found = self._site.locate(unquote(path.partition("?")[0]))
        return str(found) if isinstance(found, Path) else super().translate_path(path)

    def do_GET(self) -> None:
        self._site.requested.append(self.path)
        if unquote(self.path.partition("?")[0]) in self._site.refused:
            self.send_error(503)
            return
        found = self._site.locate(unquote(self.path.partition("?")[0]))
        if not isinstance(found, tuple):
            super().do_GET()
            return
        kind, data = found
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        for name, value in self._site.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args) -> None:
        """Say nothing."""


def clip(name: str) -> tuple[np.ndarray, int]:
    """Return a bundled noisy recording, first channel, and its rate in Hz."""
    import soundfile

    samples, rate = soundfile.read(examples.path(name), dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples[:, 0]), rate
