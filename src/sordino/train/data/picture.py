"""A picture of a batch, to look at what the network is taught."""

# No types: matplotlib.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from pathlib import Path

import numpy as np

from sordino.train.data.mixing import Batch
from sordino.train.data.signal import FloatArray


def draw_batch(batch: Batch, path: str | Path, count: int = 6) -> None:
    """Draw noisy and clean spectrograms of the first `count` examples into an image file.

    Each row is an example: left the mixture, right its target.  The white line is the speech
    activity, the dashed one the bandwidth above which the target is unknown.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    count = min(count, len(batch.noisy))
    figure, axes = plt.subplots(count, 2, figsize=(14, 2.2 * count), squeeze=False)
    seconds = batch.noisy.shape[1] / batch.sample_rate
    top = batch.sample_rate / 2000
    for i in range(count):
        pair = (("noisy", batch.noisy[i]), ("clean", batch.clean[i]))
        loudest = _decibels(batch.noisy[i], batch.sample_rate).max()
        for axis, (name, x) in zip(axes[i], pair, strict=True):
            axis.imshow(
                _decibels(x, batch.sample_rate),
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, top),
                vmin=loudest - 90,
                vmax=loudest,
                cmap="magma",
            )
            time = (np.arange(batch.speech.shape[1]) + 0.5) / 100
            axis.plot(time, top * (0.02 + 0.06 * batch.speech[i]), color="white", linewidth=0.8)
            axis.axhline(batch.bandwidth[i] / 1000, color="cyan", linestyle="--", linewidth=0.8)
            rms = 10 * np.log10(np.mean(x**2) + 1e-20)
            axis.set_title(f"{i} {name}, {rms:.0f} dBFS, peak {np.abs(x).max():.2f}", fontsize=8)
            axis.set_ylabel("kHz", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _decibels(x: FloatArray, sample_rate: int) -> FloatArray:
    """Spectrogram of 32 ms windows every 10 ms in dB, shape `(bins, frames)`."""
    size, hop = round(0.032 * sample_rate), sample_rate // 100
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[::hop]
    spectrum = np.fft.rfft(frames * np.hanning(size), axis=1)
    return (20 * np.log10(np.abs(spectrum) / size + 1e-10)).T.astype(np.float32)
