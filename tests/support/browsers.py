"""A person at a page in a real browser."""

import os
from typing import Self

import numpy as np
import pytest

TIMEOUT_MS = 300_000  # the machine may be busy


def missing(reason: str) -> None:
    """Skip; in CI, where everything is to be installed, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Visitor:
    """Opens a page; once left, nothing may have been logged and no error thrown.

    Args:
        browser: Playwright's.
        url: of the page.
        context: options of Playwright's browser context.
    """

    def __init__(self, browser, url: str, **context) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.context.close()
        if error is None:
            assert not self.errors, self.errors


def without_gaps(noisy: np.ndarray, clean: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Leave out where live sound passed unchanged because the machine was busy for a moment.

    The engine goes on after such a gap as if the sound before and after it were joined.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], noisy == clean, [False]]).astype(int)))
    kept = np.ones(len(noisy), bool)
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= 0.2 * rate:
            kept[start:stop] = False
    return noisy[kept], clean[kept]
