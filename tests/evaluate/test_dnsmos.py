from importlib.resources import files

import numpy as np
import pytest
from speechmos import dnsmos

from sordino.errors import SordinoError
from sordino.evaluate.dataset import read_mono
from sordino.evaluate.dnsmos import dnsmos_p808, dnsmos_p835
from sordino.evaluate.metrics import resample
from support.signals import noise

RATE = 16000


def example(name):
    x, rate = read_mono(files("sordino") / "examples" / "noisy" / name)
    return resample(x, rate, RATE)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, 11])
def test_equals_speechmos(seconds):
    x = np.resize(example("cafe_16k.flac"), seconds * RATE)
    expected = dnsmos.run(x, RATE)
    ours = dnsmos_p835(x)
    assert ours["sig"] == pytest.approx(expected["sig_mos"], abs=5e-4)
    assert ours["bak"] == pytest.approx(expected["bak_mos"], abs=5e-4)
    assert ours["ovrl"] == pytest.approx(expected["ovrl_mos"], abs=5e-4)
    assert dnsmos_p808(x) == pytest.approx(expected["p808_mos"], abs=5e-4)


@pytest.mark.slow
def test_samples_beyond_full_scale_are_scaled_back():
    x = noise(RATE)
    loudest = x / np.max(np.abs(x))
    assert dnsmos_p835(3 * loudest) == pytest.approx(dnsmos_p835(loudest), abs=1e-4)


def test_a_clip_without_samples_is_refused():
    with pytest.raises(SordinoError, match="without samples"):
        dnsmos_p835(np.zeros(0, np.float32))
