"""Spectrograms: power over time and frequency, on the mel scale, as colours, as pictures.

    Spectrogram  blocks of sound -> power, shape = (bins, columns), in constant memory
    mel_levels   power -> dB on rows of equal steps of the mel scale
    image        dB -> colours
    draw         several spectrograms -> a PNG file with axes, by Matplotlib

Only `draw` needs Matplotlib.
"""

import gc
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sordino.arrays import Interleaved
from sordino.errors import SordinoError, install_command

WINDOW_SECONDS = 0.032
HOP_SECONDS = 0.008
COLUMNS = 1200  # a sound longer than these takes up to twice as many, each the mean of several
ROWS = 480  # of a panel
RANGE_DB = 75  # from the brightest colour to the darkest
TICKS_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000)

_INK, _FAINT = "#211f2b", "#77737f"
# The dark colours of the live page (web/page/src/colours.ts): a test compares them.
_STOPS = ("#0d0e18", "#1d1842", "#4f1f6f", "#8e2c76", "#ce4660", "#f67e48", "#fdc470", "#fff6d6")
_LABEL: dict[str, Any] = {"color": _FAINT, "size": 9}
_TICK: dict[str, Any] = {"colors": _FAINT, "labelsize": 9, "length": 3}

Power = NDArray[np.float32]
"""Shape = (bins, columns); a sine at full scale has 1."""

Levels = NDArray[np.float32]
"""dB re full scale, shape = (rows, columns), the lowest frequency first."""

Colours = NDArray[np.uint8]
"""Red, green and blue, shape = (..., 3)."""


def check_plotting() -> None:
    """Raise SordinoError if there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise SordinoError(f"pictures need matplotlib: {install_command('plot')}")


class Spectrogram:
    """Power over time and frequency of a sound of any length, in constant memory.

    Args:
        sample_rate: in Hz.

    >>> spectrogram = Spectrogram(8000)
    >>> spectrogram.feed(np.zeros((8000, 2), np.float32))
    >>> spectrogram.seconds, spectrogram.power().shape
    (1.0, (129, 122))
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._hop = round(HOP_SECONDS * sample_rate)
        window = np.hanning(round(WINDOW_SECONDS * sample_rate) + 1)[:-1]
        self._window = (window * 2 / window.sum()).astype(np.float32)
        bins = len(window) // 2 + 1
        self._rest: NDArray[np.float32] | None = None  # samples of the next frame
        self._frames = np.zeros((0, bins), np.float32)  # of the next column
        self._columns = np.zeros((0, bins), np.float32)
        self._merged = 1  # frames in each column
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Length of the sound so far."""
        return self._samples / self.sample_rate

    def feed(self, samples: Interleaved) -> None:
        """Add samples, shape = (samples, channels); channels are averaged in power."""
        self._samples += len(samples)
        if self._rest is not None:
            samples = np.concatenate([self._rest, samples])
        count = max(0, 1 + (len(samples) - len(self._window)) // self._hop)
        self._rest = samples[count * self._hop :].copy()
        if not count:
            return
        frames = np.concatenate([self._frames, self._transform(samples)])
        full = len(frames) - len(frames) % self._merged
        self._frames = frames[full:]
        self._append(_means(frames[:full], self._merged))

    def power(self) -> Power:
        """Return the picture so far."""
        frames = self._frames
        if not len(frames) and not len(self._columns):  # shorter than a window
            rest = np.zeros((0, 1), np.float32) if self._rest is None else self._rest
            missing = len(self._window) - len(rest)
            frames = self._transform(np.pad(rest, ((0, missing), (0, 0))))
        last = frames.mean(axis=0, keepdims=True) if len(frames) else frames
        return np.concatenate([self._columns, last]).T

    def _transform(self, samples: Interleaved) -> Power:
        windows = np.lib.stride_tricks.sliding_window_view(samples, len(self._window), axis=0)
        spectra = np.fft.rfft(windows[:: self._hop] * self._window)
        return (spectra.real**2 + spectra.imag**2).mean(axis=1).astype(np.float32)

    def _append(self, columns: Power) -> None:
        self._columns = np.concatenate([self._columns, columns])
        if len(self._columns) >= 2 * COLUMNS:
            even = len(self._columns) - len(self._columns) % 2
            odd = np.repeat(self._columns[even:], self._merged, axis=0)
            self._frames = np.concatenate([odd, self._frames])
            self._columns = _means(self._columns[:even], 2)
            self._merged *= 2


def mel(hertz: ArrayLike) -> NDArray[np.float64]:
    """Return frequencies in Hz on the mel scale.

    Source: O'Shaughnessy, Speech Communication: Human and Machine, 1987.

    >>> round(float(mel(1000)))
    1000

    Shape: any; the same comes out.
    """
    return 2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700)


def hertz(mels: ArrayLike) -> NDArray[np.float64]:
    """Return the frequencies in Hz of points on the mel scale; the inverse of `mel`.

    Shape: any; the same comes out.
    """
    return 700 * (10 ** (np.asarray(mels, np.float64) / 2595) - 1)


def mel_levels(power: Power, sample_rate: float, rows: int = ROWS) -> Levels:
    """Return the mean power between equal steps of the mel scale, in dB.

    Args:
        power: shape = (bins, columns), from 0 Hz to half of the sample rate.
        sample_rate: in Hz.
        rows: of the result.

    Returns:
        Shape = (rows, columns), the lowest frequency first; at least -140 dB.
    """
    nyquist = sample_rate / 2
    # In bins: the one at 0 Hz reaches from 0 to 1, so its frequency lies at 0.5.
    edges = hertz(np.linspace(0, mel(nyquist), rows + 1)) / nyquist * (len(power) - 1) + 0.5
    summed = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, 0, np.float64)])
    below = np.minimum(edges.astype(int), len(power) - 1)
    share = (edges - below)[:, None]
    upto = summed[below] * (1 - share) + summed[below + 1] * share
    density = np.diff(upto, axis=0) / np.diff(edges)[:, None]
    return (10 * np.log10(np.maximum(density, 1e-14))).astype(np.float32)


def _palette() -> Colours:
    places = np.linspace(0, len(_STOPS) - 1, 256)
    channels = [
        np.interp(places, np.arange(len(_STOPS)), [int(stop[i : i + 2], 16) for stop in _STOPS])
        for i in (1, 3, 5)
    ]
    return np.stack(channels, axis=1).round().astype(np.uint8)


PALETTE = _palette()
"""256 colours from quiet to loud, shape = (256, 3)."""


def image(levels: Levels, darkest_db: float, brightest_db: float) -> Colours:
    """Return levels as colours, shape = (rows, columns, 3).

    Args:
        levels: in dB, of any shape.
        darkest_db, brightest_db: levels of the first and the last colour; what lies beyond is
            clipped.

    >>> image(np.array([[-200.0, 0.0]], np.float32), -80, -20).tolist()
    [[[13, 14, 24], [255, 246, 214]]]
    """
    share = (levels - darkest_db) / (brightest_db - darkest_db)
    return PALETTE[(np.clip(share, 0, 1) * (len(PALETTE) - 1)).astype(np.uint8)]


def draw(path: Path, panels: Mapping[str, Spectrogram], title: str, about: str = "") -> None:
    """Draw spectrograms one above the other, all in one scale of colours, into a PNG file.

    Args:
        path: file to write.
        panels: name -> spectrogram; the first one sets the scale.
        title: of the picture, such as the name of the file.
        about: what else to say, small.

    Raises:
        SordinoError: matplotlib is missing.
        OSError: the file cannot be written.
    """
    check_plotting()
    _figure(panels, title, about).savefig(path, format="png")
    gc.collect()  # figures refer to themselves: a batch would hold the pixels of many


def _figure(panels: Mapping[str, Spectrogram], title: str, about: str) -> Any:
    figures: Any = import_module("matplotlib.figure")  # no pyplot: no windows, no global state
    colors: Any = import_module("matplotlib.colors")
    colours = colors.ListedColormap(PALETTE / 255)
    images = [mel_levels(each.power(), each.sample_rate) for each in panels.values()]
    loudest = max(-60.0, float(np.percentile(images[0], 99.9)))
    top = 5 * float(np.ceil(loudest / 5))
    height = 0.9 + 2.55 * len(panels)  # inches
    low, high = 0.55 / height, 1 - 0.85 / height
    figure: Any = figures.Figure(figsize=(12, height), dpi=150, facecolor="white")
    figure.subplots_adjust(left=0.065, right=0.905, top=high, bottom=low, hspace=0.16)
    head = 1 - 0.34 / height
    figure.text(0.065, head, title, color=_INK, size=15, weight="bold", va="center")
    figure.text(0.905, head, about, color=_FAINT, size=10, ha="right", va="center")
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    shown: Any = None
    for axes, (name, panel), levels in zip(all_axes, panels.items(), images, strict=True):
        axes.set_title(name, loc="left", color=_INK, size=11, pad=5)
        shown = _show(axes, levels, panel, top, colours)
    seconds = next(iter(panels.values())).seconds
    all_axes[-1].set_xlabel("time, s" if seconds < 120 else "time, min:s", **_LABEL)
    if seconds >= 120:
        all_axes[-1].xaxis.set_major_formatter(_clock)
    place = figure.add_axes((0.925, low, 0.012, high - low))
    bar = figure.colorbar(shown, cax=place, ticks=np.arange(top - RANGE_DB, top + 1, 15))
    bar.outline.set_visible(False)
    bar.ax.tick_params(**_TICK)
    bar.set_label("level, dB re full scale", **_LABEL)
    return figure


def _show(axes: Any, levels: Levels, panel: Spectrogram, top: float, colours: Any) -> Any:
    nyquist = panel.sample_rate / 2
    ticks = [*(tick for tick in TICKS_HZ if tick < 0.8 * nyquist), nyquist]
    axes.set_yticks(mel(ticks), [f"{tick / 1000:g}" for tick in ticks])
    axes.set_ylabel("frequency, kHz", **_LABEL)
    axes.tick_params(**_TICK)
    axes.spines[:].set_visible(False)
    return axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, max(panel.seconds, 1e-3), 0, float(mel(nyquist))),
        cmap=colours,
        vmin=top - RANGE_DB,
        vmax=top,
    )


def _clock(seconds: float, _: object = None) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _means(rows: Power, size: int) -> Power:
    return rows.reshape(-1, size, rows.shape[1]).mean(axis=1)
