"""The browser package in a real Chromium, against the engine in Python."""

import base64

import numpy as np
import pytest
from signals import agreement_db
from sites import clip

import sordino
from sordino import examples

LEAST_DB = 60
OPTIONS = "{ model: '/default.onnx', strength: STRENGTH }"

DENOISE = """
async ([path, rate, strength]) => {
  const { denoise } = await import("/sordino-web/index.js");
  const noisy = new Float32Array(await (await fetch(path)).arrayBuffer());
  const clean = await denoise(noisy, rate, { model: "/default.onnx", strength });
  const bytes = new Uint8Array(clean.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192)
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
"""


def floats(text: str) -> np.ndarray:
    """Return the samples that a page returned in base64."""
    return np.frombuffer(base64.b64decode(text), "<f4")


@pytest.fixture
def page(browser, site):
    """Open an empty page; it must end without a console error."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(site.url)
    yield page
    page.close()
    assert not errors


@pytest.mark.parametrize("name", examples.names())
def test_a_recording_is_denoised_as_in_python(page, site, name):
    noisy, rate = clip(name)
    site.put(f"/clips/{name}", noisy)
    clean = floats(page.evaluate(DENOISE, [f"/clips/{name}", rate, 0.9]))
    expected = sordino.denoise(noisy, rate, strength=0.9)
    assert len(clean) == len(noisy)
    print(name, rate, agreement_db(expected, clean))
    assert agreement_db(expected, clean) >= LEAST_DB
