"""A web server for downloads: range requests, and the faults that real ones have."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

from support.sites import Site


class DownloadSite(Site):
    """Serves a folder on the loopback address, with ETags and ranges, while it is entered.

    Args:
        folder: whose files are served.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str]] = []
        """(path, Range header) of every GET, in order."""
        self.drop_after: list[int] = []
        """Bytes after which each of the next answers is cut off."""
        self.statuses: list[int] = []
        """Statuses of the next answers, in place of the file."""
        self.claimed: dict[str, int] = {}
        """Sizes that HEAD states, in place of the true ones."""
        super().__init__(type("Handler", (_Handler,), {"site": self}))


class _Handler(BaseHTTPRequestHandler):
    site: DownloadSite
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self.site.requests.append((self.path, self.headers.get("Range", "")))
        if self.site.statuses:
            self.send_error(self.site.statuses.pop(0))
            return
        self._answer(True)

    def _answer(self, with_body: bool) -> None:
        file = self.site.folder / unquote(self.path).lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        tag = f'"{file.stat().st_mtime_ns}-{len(data)}"'
        first = 0
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range", tag) == tag:
            first = int(asked.removeprefix("bytes=").partition("-")[0])
        if first >= len(data) > 0:
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        size = len(data) - first
        self.send_header("Content-Length", str(self.site.claimed.get(self.path, size)))
        self.send_header("ETag", tag)
        self.end_headers()
        if not with_body:
            return
        body = data[first:]
        if self.site.drop_after:
            body = body[: self.site.drop_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
