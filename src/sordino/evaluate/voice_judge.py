"""A speaker encoder that no model here has learnt from: whom does an output sound like?

It is GE2E as Resemblyzer's wheel carries it (Apache-2.0, 17 MB).  The wheel is read, not installed:
it would bring librosa and a voice activity detector, which 4 s of overlap do not need.

Source: Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018; the
features are those of librosa with the Slaney mel scale.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import io
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.evaluate.metrics import RATE

WEIGHTS = "resemblyzer/pretrained.pt"  # in the wheel
WINDOW, HOP, MELS = 400, 160, 40  # samples, samples, bands
PART, STEP = 160, 77  # frames of what is embedded at once, and from one part to the next
LEVEL_DBFS = -30.0  # RMS level that quiet sounds are raised to
SIZE = 256  # units of each layer, and numbers of an embedding


class Judge:
    """Embeds sounds of any speaker.

    Args:
        wheel: of Resemblyzer (`pip download --no-deps resemblyzer`).

    Raises:
        SordinoError: it is no such wheel.
    """

    def __init__(self, wheel: Path) -> None:
        try:
            with zipfile.ZipFile(wheel) as archive:
                data = io.BytesIO(archive.read(WEIGHTS))
            saved = torch.load(data, map_location="cpu", weights_only=True)["model_state"]
            self._time = nn.LSTM(MELS, SIZE, 3, batch_first=True)
            self._out = nn.Linear(SIZE, SIZE)
            layers = {"lstm": self._time, "linear": self._out}
            for name, layer in layers.items():
                own = {k.partition(".")[2]: v for k, v in saved.items() if k.startswith(name)}
                layer.load_state_dict(own)
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            raise SordinoError(
                f"{wheel} is not Resemblyzer's wheel ({error}): get it by "
                "`pip download --no-deps resemblyzer`"
            ) from error

    @torch.inference_mode()
    def embed(self, x: Mono) -> NDArray[np.float32]:
        """Return the embedding of a sound at 16 kHz, shape = (256,), of unit norm.

        Args:
            x: at least 1.6 s, shape = (samples,).
        """
        rms = max(float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))), 1e-9)
        bands = _mel_power(x * np.float32(max(10 ** (LEVEL_DBFS / 20) / rms, 1.0)))
        starts = range(0, len(bands) - PART + 1, STEP)
        parts = np.stack([bands[start : start + PART] for start in starts])
        _, (hidden, _) = self._time(torch.from_numpy(parts))
        points = nn.functional.normalize(torch.relu(self._out(hidden[-1])), dim=1)
        return nn.functional.normalize(points.mean(0), dim=0).numpy()

    def nearer(self, x: Mono, one: Mono, other: Mono) -> bool:
        """Whether a sound is more like a speaker than like another one.

        Args:
            x: at 16 kHz, as are the others; any lengths from 1.6 s.
            one: sound of the one speaker.
            other: sound of the other.

        Shape: (samples,) each.
        """
        point = self.embed(x)
        return bool(point @ self.embed(one) > point @ self.embed(other))


def _mel_power(x: Mono) -> NDArray[np.float32]:
    """Power in mel bands, shape = (frames, 40); frames are centred, with silence around."""
    frames = sliding_window_view(np.pad(x, WINDOW // 2), WINDOW)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.square(np.abs(np.fft.rfft(frames * window)))
    return (power @ _mel_bands()).astype(np.float32)


@lru_cache(maxsize=1)
def _mel_bands() -> NDArray[np.float64]:
    """Triangles of equal area on Slaney's mel scale, shape = (bins, bands)."""
    # Linear up to 1 kHz (15 mel), and 27 mel an octave of 6.4 above.
    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    at = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (at - left) / (centre - left), (right - at) / (right - centre)
    return np.maximum(np.minimum(rise, fall), 0) * 2 / (right - left)
