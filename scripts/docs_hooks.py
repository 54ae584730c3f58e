"""Hooks of MkDocs: the logo, and recordings before and after, made while the pages are built."""

import io
from pathlib import Path

import mkdocs.utils
import soundfile as sf
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import sordino
from sordino import examples

ROOT = Path(__file__).parents[1]
LOGO = ROOT / "src" / "sordino" / "serve" / "page" / "mark.svg"  # the same as of the live page
WARM_UP_SECONDS = 5.0  # as `sordino denoise` does
HEARD = {
    "office_48k": "Somebody types while she speaks (48 kHz)",
    "cafe_16k": "Six others talk in a café (16 kHz)",
    "phone_8k": "A 3D printer beside a telephone (8 kHz)",
    "music_44k": "Music and rain, in stereo (44.1 kHz)",
}
SHIM = "https://unpkg.com/iframe-worker/shim"
PLAYERS = "<!-- players -->"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the logo and, of each bundled recording, the noisy and the denoised sound."""
    files.append(File.generated(config, "images/logo.svg", content=LOGO.read_bytes()))
    for name in HEARD:
        noisy, rate = sf.read(examples.path(name), dtype="float32")
        clean = sordino.denoise(noisy, rate, warm_up=WARM_UP_SECONDS)
        for kind, sound in (("before", noisy), ("after", clean)):
            flac = io.BytesIO()
            sf.write(flac, sound, rate, format="FLAC", subtype="PCM_16")
            path = f"sounds/{name}-{kind}.flac"
            files.append(File.generated(config, path, content=flac.getvalue()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the players where a page asks for them."""
    del page, config, files
    return markdown.replace(PLAYERS, "\n".join(_players(name) for name in HEARD))


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Take the one script that the theme would fetch from elsewhere from here."""
    del config
    return output.replace(SHIM, mkdocs.utils.get_relative_url("iframe-worker.js", page.url))


def on_post_template(output_content: str, *, template_name: str, config: MkDocsConfig) -> str:
    """Do the same on the page that a server shows for addresses that are not there."""
    del template_name, config
    return output_content.replace(SHIM, "/iframe-worker.js")


def _players(name: str) -> str:
    return f"""\
<figure class="before-after"><figcaption>{HEARD[name]}</figcaption>
<label>Before<audio controls preload="metadata" src="sounds/{name}-before.flac"></audio></label>
<label>After<audio controls preload="metadata" src="sounds/{name}-after.flac"></audio></label>
</figure>
"""
