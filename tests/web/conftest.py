"""A real Chromium, and a server for the built files of `sordino-web`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browsers import missing
from support.sites import StaticSite

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # It reaches out for nothing on its own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--metrics-recording-only",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
]


@pytest.fixture(scope="session")
def chromium():
    """Give a function that starts a Chromium whose microphone plays a WAV file."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        missing("no chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = []

        def start(microphone: Path | None = None):
            arguments = list(ARGUMENTS)
            if microphone is not None:
                arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
            browser = playwright.chromium.launch(executable_path=program, args=arguments)
            started.append(browser)
            return browser

        yield start
        for browser in started:
            browser.close()


@pytest.fixture(scope="session")
def browser(chromium):
    """Give a Chromium without a recording for a microphone."""
    return chromium()


@pytest.fixture(scope="session")
def site() -> Iterator[StaticSite]:
    """Serve the built `sordino-web`, cross-origin isolated."""
    with StaticSite(isolated=True) as running:
        yield running


@pytest.fixture(scope="session")
def plain_site() -> Iterator[StaticSite]:
    """Serve the same without the headers that allow shared memory."""
    with StaticSite(isolated=False) as running:
        yield running
