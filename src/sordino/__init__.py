"""Sordino takes the noise out of speech, live at 20 ms or on files.

>>> import numpy as np, sordino
>>> sordino.denoise(np.zeros(4800, np.float32), sample_rate=48000).shape
(4800,)
"""

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sordino import deprecated

if TYPE_CHECKING:
    from sordino.denoiser import Denoiser, denoise
    from sordino.errors import SordinoError
    from sordino.model import Model
    from sordino.voice import Voice

__version__ = version("sordino")
__all__ = ["Denoiser", "Model", "SordinoError", "Voice", "denoise"]

deprecated.install()

# ONNX Runtime 1.32 reports its use to Microsoft, unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "Denoiser": "sordino.denoiser",
    "denoise": "sordino.denoiser",
    "Model": "sordino.model",
    "SordinoError": "sordino.errors",
    "Voice": "sordino.voice",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import sordino` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sordino' has no attribute {name!r}")
