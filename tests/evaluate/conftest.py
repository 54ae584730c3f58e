"""A small set on disk, and a model whose effect is known."""

import numpy as np
import pytest
import soundfile as sf

from support import models
from support.signals import noise


@pytest.fixture
def dataset(tmp_path):
    """Three pairs of a second, of pauses and bursts, at three rates."""
    for index, rate in enumerate((8000, 16000, 44100)):
        bursts = np.arange(rate) % (rate // 2) < rate // 4
        clean = noise(rate, seed=index) * bursts
        noisy = clean + noise(rate, seed=10 + index, level=0.02)
        for kind, x in (("clean", clean), ("noisy", noisy)):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            sf.write(tmp_path / "set" / kind / f"clip{index}.wav", x, rate, subtype="FLOAT")
    return tmp_path / "set"


@pytest.fixture
def half(tmp_path):
    """A model whose mask is 0.5 everywhere."""
    path = tmp_path / "half.onnx"
    path.write_bytes(models.constant_mask_bytes(0.5))
    return str(path)
