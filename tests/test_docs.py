"""The documentation: it builds without a warning, needs nothing from elsewhere, opens as files."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from sordino import examples

ROOT = Path(__file__).parents[1]
EXTERNAL = re.compile(r"<(?:script|link|img|iframe|audio)[^>]*(?:src|href)=\"?(https?://[^\" >]+)")
pytestmark = pytest.mark.tools


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert not {
        (page.name, address)
        for page in pages
        for address in EXTERNAL.findall(page.read_text(encoding="utf-8"))
    }


def test_the_home_page_shows_the_code_of_the_readme(site: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"\[start:use\] -->\n(.*?)<!-- --8<-- \[end:use\]", readme, re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "index.html").read_text("utf-8")))
    for line in filter(None, map(str.strip, re.sub(r"```\w*", "", shown).splitlines())):
        assert line in text


def test_every_bundled_recording_can_be_heard_before_and_after(site: Path) -> None:
    page = (site / "listen.html").read_text(encoding="utf-8")
    for name in examples.names():
        before, rate = sf.read(site / "sounds" / f"{name}-before.flac", always_2d=True)
        after, rate_after = sf.read(site / "sounds" / f"{name}-after.flac", always_2d=True)
        clean, _ = sf.read(examples.path(name, "clean"), always_2d=True)
        assert (rate, before.shape) == (rate_after, after.shape)
        error = [float(np.mean(np.square(x - clean))) for x in (before, after)]
        assert 10 * np.log10(error[0] / error[1]) > 2
        assert all(f'src="sounds/{name}-{kind}.flac"' in page for kind in ("before", "after"))


@pytest.mark.browser
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_and_buttons_stand_out_from_the_page(site: Path, colours: str) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "no chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=colours)
        page.goto((site / "index.html").as_uri())
        found = Axe().run(page, options={"runOnly": ["color-contrast"]})
        browser.close()
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.browser
def test_pages_work_when_they_are_opened_as_files(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "no chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto((site / "index.html").as_uri())
        page.get_by_role("link", name="Listen", exact=True).first.click()
        before, after = page.locator("audio").nth(0), page.locator("audio").nth(1)
        heard = "audio => audio.play().then(() => audio.duration)"
        assert before.evaluate(heard) == pytest.approx(7, abs=0.1)
        page.wait_for_function("() => document.querySelector('audio').currentTime > 0.3")
        assert after.evaluate(heard) == pytest.approx(7, abs=0.1)
        assert before.evaluate("audio => audio.paused")
        assert after.evaluate("audio => audio.currentTime") >= 0.3
        page.get_by_placeholder("Search").fill("PipeWire")
        page.locator(".md-search-result__link").first.wait_for()
        browser.close()
