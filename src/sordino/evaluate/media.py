"""Sound and pictures inside a page: data URIs, bounded in size."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf

from sordino.evaluate.metrics import Signal
from sordino.evaluate.resampling import resample
from sordino.spectrogram import Spectrogram, draw

LONGEST_SECONDS = 20  # of a player; a page is no archive
FLAC_SECONDS = 8  # longer sounds are Opus: about a tenth of the size, and a little changed
OPUS_RATE = 48000  # Hz
PICTURE_WIDTH = 1000  # pixels


def player(x: Signal, rate: int) -> str:
    """Return an HTML audio element that carries a mono sound, its first 20 s.

    FLAC keeps every sample; sounds above 8 s are Ogg Opus.
    """
    cut = np.clip(x[: LONGEST_SECONDS * rate], -1, 1).astype(np.float32)
    data = io.BytesIO()
    if len(cut) <= FLAC_SECONDS * rate:
        sf.write(data, cut, rate, format="FLAC", subtype="PCM_16")
        kind = "audio/flac"
    else:
        sf.write(data, resample(cut, rate, OPUS_RATE), OPUS_RATE, format="OGG", subtype="OPUS")
        kind = "audio/ogg"
    return f'<audio controls preload="none" src="{_uri(kind, data.getvalue())}"></audio>'


def spectrograms(sounds: Mapping[str, Signal], rate: int, title: str, about: str) -> str:
    """Return an HTML image of spectrograms one above the other."""
    from PIL import Image

    panels: dict[str, Spectrogram] = {}
    for name, x in sounds.items():
        panels[name] = Spectrogram(rate)
        panels[name].feed(x[: LONGEST_SECONDS * rate, None].astype(np.float32))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path, panels, title, about)
        with Image.open(path) as whole:
            height = round(whole.height * PICTURE_WIDTH / whole.width)
            small = whole.convert("RGB").resize((PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "WEBP", quality=80)
    return f'<img loading="lazy" alt="" src="{_uri("image/webp", data.getvalue())}">'


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
