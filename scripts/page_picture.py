"""Take the picture of the server's page for the docs: a bundled recording, cleaned in the browser.

    python scripts/page_picture.py docs/images

writes page.webp.  It needs Chromium, and Sordino with its extra [serve] and the developers' tools.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.served import serving

SIZE = {"width": 1280, "height": 1130}
MARGIN = 18  # pixels
SECONDS = 3  # where the playhead stands
TIMEOUT_MS = 300_000


def main(folder: Path) -> None:
    """Write the picture into a folder."""
    options = ["--no-sandbox", "--use-fake-device-for-media-stream"]
    with serving() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{server.http}/")
        page.get_by_role("button", name="Try an example").click()
        page.wait_for_selector("body[data-phase=ready]")
        page.locator("#timeline").fill(str(SECONDS))
        page.wait_for_selector("body:not([data-drawing])")
        picture = Image.open(BytesIO(page.screenshot()))
        below = page.locator(".controls").bounding_box()
        browser.close()
    assert below is not None
    # Without the figures: how fast it was is this machine's affair.
    picture = picture.crop((0, 0, SIZE["width"], round(below["y"] + below["height"]) + MARGIN))
    picture.convert("RGB").save(folder / "page.webp", quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
