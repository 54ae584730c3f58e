"""A clip before, after and as it should be: sounds that belong side by side, and their picture."""

from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sordino.evaluate.charts import FAINT, INK, figure
from sordino.evaluate.clips import Clip
from sordino.evaluate.conditions import Condition
from sordino.evaluate.metrics import Signal, align
from sordino.evaluate.systems import System
from sordino.spectrogram import RANGE_DB, Spectrogram

LONGEST_SECONDS = 10  # of a picture
SIZE = (9.6, 2.1)  # inches
PIXELS = (1200, 262)
ROWS = 200  # of a panel
QUALITY = 56  # of WebP: about 30 kB a picture
TICKS_HZ = (500, 1000, 2000, 4000, 8000, 16000)


def triple(system: System, clip: Clip, condition: Condition) -> tuple[dict[str, Signal], int]:
    """Run a system on a clip.

    Returns:
        The noisy sound, the output in line with it, and the clean sound, or what was taken
        where there is no reference; by title, mono, as they are without the condition's gain.
        And their rate in Hz.

    Raises:
        SordinoError: The clip cannot be read, or the system has no output for it.
    """
    reference, recording, rate = clip.read()
    heard = condition.hear(reference, recording, rate)
    clean, noisy = heard.clean, heard.noisy
    estimate = heard.brought_back(system.opened(clip, rate)(heard.given))
    estimate, _ = align(noisy if clean is None else clean, estimate, rate)
    sounds = {"noisy": noisy, system.name: estimate}
    sounds["noise taken" if clean is None else "clean"] = (
        noisy - estimate if clean is None else clean
    )
    return sounds, rate


def strip(sounds: Mapping[str, Signal], rate: int) -> bytes:
    """Draw spectrograms side by side, in one scale of colours, as a small WebP file.

    Args:
        sounds: By title, mono; the first one sets the scale.
        rate: Of all, Hz.

    Raises:
        SordinoError: Matplotlib is missing.
    """
    image: Any = import_module("PIL.Image")
    chart = figure(*SIZE)
    images = {name: _decibels(x[: LONGEST_SECONDS * rate], rate) for name, x in sounds.items()}
    seconds = min(len(next(iter(sounds.values()))) / rate, LONGEST_SECONDS)
    top = max(-60.0, float(np.percentile(next(iter(images.values())), 99.9)))
    grid = chart.subplots(1, len(images), sharey=True)
    chart.subplots_adjust(left=0.05, right=0.992, top=0.87, bottom=0.21, wspace=0.05)
    for axes, (name, pixels) in zip(np.atleast_1d(grid), images.items(), strict=True):
        axes.imshow(
            pixels,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, _mel(rate / 2)),
            cmap="magma",
            vmin=top - RANGE_DB,
            vmax=top,
        )
        axes.set_title(name, loc="left", color=INK, size=11, pad=4)
        axes.set_xlabel("time, s", color=FAINT, size=9, labelpad=1)
        axes.tick_params(colors=FAINT, labelsize=9, length=2)
        axes.spines[:].set_visible(False)
    shown = [tick for tick in TICKS_HZ if tick <= rate / 2]
    first = np.atleast_1d(grid)[0]
    first.set_yticks([_mel(tick) for tick in shown], [f"{tick / 1000:g}" for tick in shown])
    first.set_ylabel("kHz", color=FAINT, size=9, labelpad=2)
    drawn, packed = BytesIO(), BytesIO()
    chart.savefig(drawn, format="png")
    with image.open(drawn) as whole:
        small = whole.convert("RGB").resize(PIXELS, image.Resampling.LANCZOS)
    small.save(packed, "WEBP", quality=QUALITY, method=6)
    return packed.getvalue()


def _decibels(x: Signal, rate: int) -> NDArray[np.float64]:
    """Return the spectrogram on rows of equal steps of the mel scale, shape = (ROWS, frames)."""
    spectrogram = Spectrogram(rate)
    spectrogram.feed(x[:, None].astype(np.float32))
    power = spectrogram.power()
    bins = np.linspace(0, rate / 2, len(power))  # Hz
    mels = np.linspace(0, _mel(rate / 2), ROWS)
    rows = 700 * (10 ** (mels / 2595) - 1)  # Hz
    level = 10 * np.log10(np.maximum(power, 1e-14))
    return np.stack([np.interp(rows, bins, column) for column in level.T], axis=1)


def _mel(hertz: float) -> float:
    return 2595 * float(np.log10(1 + hertz / 700))
