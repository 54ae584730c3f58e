"""A small web server for the built `sordino-web`, the weights and the bundled recordings."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from urllib.parse import unquote

import numpy as np

import sordino
from sordino import examples

PACKAGE = Path(sordino.__file__).parent
EXAMPLE = Path(__file__).parents[2] / "web" / "sordino-web" / "example"
PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>sordino-web</title>"
    "<link rel=icon href=data:,>"
)


class _Handler(SimpleHTTPRequestHandler):
    """Serves `sordino-web`, its example, the weights and what a test has made."""

    def __init__(self, *args, site: "StaticSite", **options) -> None:
        self._site = site
        super().__init__(*args, directory=str(PACKAGE / "serve" / "page"), **options)

    def translate_path(self, path: str) -> str:
        name = path.rsplit("/", 1)[-1]
        if name == "default.onnx":
            return str(PACKAGE / "weights" / name)
        if path.startswith("/dist/"):  # where the example looks for what was built
            return str(PACKAGE / "serve" / "page" / "sordino-web" / name)
        if path.startswith("/example/"):
            return str(EXAMPLE / (name or "index.html"))
        return super().translate_path(path)

    def do_GET(self) -> None:
        made = self._site.made.get(unquote(self.path))
        if made is None:
            super().do_GET()
            return
        kind, data = made
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        if self._site.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args) -> None:
        """Say nothing."""


class StaticSite:
    """Runs on a free port of the loopback address while it is entered."""

    def __init__(self, isolated: bool) -> None:
        self.isolated = isolated
        self.made: dict[str, tuple[str, bytes]] = {"/": ("text/html", PAGE.encode())}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, site=self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def put(self, path: str, samples: np.ndarray) -> None:
        """Serve samples as raw float32."""
        data = np.ascontiguousarray(samples, "<f4").tobytes()
        self.made[path] = ("application/octet-stream", data)

    def __enter__(self) -> "StaticSite":
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def clip(name: str) -> tuple[np.ndarray, int]:
    """Return a bundled noisy recording, first channel, and its rate in Hz."""
    import soundfile

    samples, rate = soundfile.read(examples.path(name), dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples[:, 0]), rate
