import base64
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from sordino.evaluate.html import player
from support.evaluation import EXAMPLES, command, example

pytestmark = pytest.mark.slow

META = "clip,snr_db,noise\ncafe_16k,6,babble\nphone_8k,5,printer\nmusic_44k,5,printer\n"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of three bundled recordings."""
    folder = tmp_path_factory.mktemp("set")
    for kind in ("noisy", "clean"):
        (folder / kind).mkdir()
        for name in ("cafe_16k", "phone_8k", "music_44k"):
            shutil.copy(EXAMPLES / kind / f"{name}.flac", folder / kind)
    (folder / "META.csv").write_text(META)
    out = folder / "page.html"
    result = command(folder, "--metrics", "pesq,sisdr,att_db", "--report", out)
    assert result.exit_code == 0, result.exception
    return out.read_text()


def uris(page, kind):
    found = re.findall(rf'src="data:{kind};base64,([^"]*)"', page)
    return [base64.b64decode(each) for each in found]


class Tags(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page):
        super().__init__()
        self.attributes, self.tags, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_needs_nothing_from_elsewhere(page):
    seen = Tags(page)
    links = [value for name, value in seen.attributes if name in ("src", "href", "srcset")]
    assert links
    assert not [each for each in links if each and "://" in each]
    assert "script" not in seen.tags
    assert "url(" not in re.sub(r"url\(#", "", page)


def test_the_page_holds_tables_charts_and_every_clip(page):
    seen = Tags(page)
    text = " ".join(seen.text)
    for wanted in ("Summary", "PESQ", "cafe_16k", "phone_8k", "music_44k", "by snr_db", "default"):
        assert wanted in text
    assert seen.tags.count("svg") == 3  # means, clips, groups
    assert seen.tags.count("table") >= 4
    assert 0.1e6 < len(page) < 6e6


def test_sounds_can_be_heard(page):
    sounds = uris(page, "audio/flac")
    assert len(sounds) == 9
    decoded = [sf.read(io.BytesIO(each)) for each in sounds]
    clean, noisy, rate = example("cafe_16k.flac")
    mine = [x for x, found in decoded if found == rate]
    assert len(mine) == 3
    np.testing.assert_allclose(mine[0], noisy, atol=1e-4)
    np.testing.assert_allclose(mine[2], clean, atol=1e-4)


def test_pictures_can_be_seen(page):
    pictures = uris(page, "image/webp")
    assert len(pictures) == 3
    for each in pictures:
        with Image.open(io.BytesIO(each)) as picture:
            pixels = np.asarray(picture.convert("L"), float)
        assert pixels.shape[1] == 1000
        assert pixels.std() > 20


def test_long_sounds_are_cut_and_packed():
    x = 0.1 * np.sin(2 * np.pi * 440 * np.arange(60 * 48000) / 48000)
    (data,) = uris(player(x, 48000), "audio/ogg")
    decoded, rate = sf.read(io.BytesIO(data))
    assert rate == 48000
    assert len(decoded) == pytest.approx(20 * rate, abs=rate)
    assert len(data) < 0.6e6


def test_a_page_that_cannot_be_written_is_one_clear_line(dataset, half):
    call = (dataset, "--model", half, "--metrics", "sisdr", "--report", "no/where.html")
    assert "cannot be written" in str(command(*call).exception)
