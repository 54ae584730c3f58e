import numpy as np
import pytest

from sordino.evaluate.dataset import Clip
from sordino.evaluate.scores import score
from sordino.evaluate.systems import BASELINES
from support.evaluation import example
from support.signals import level_db, noise

CLIP = Clip("a", None, None)
REQUIRED = "RNNoise"  # in the development environment; others take part if they are installed


@pytest.fixture(params=BASELINES, ids=lambda baseline: baseline.name)
def baseline(request):
    if not request.param.installed and request.param.name != REQUIRED:
        pytest.skip(f"pip install {request.param.package}")
    assert request.param.installed
    return request.param


@pytest.mark.slow
def test_a_baseline_removes_noise_and_keeps_speech(baseline):
    clean, _, rate = example("cafe_16k.flac")
    hiss = noise(len(clean), level=0.01)
    estimate = baseline.opened(CLIP, rate)(clean + hiss)
    assert len(clean) - 400 <= len(estimate) <= len(clean) + 0.1 * rate
    row = score(clean, clean + hiss, estimate, rate, ["nr_db", "att_db", "lag", "sisdr"])
    assert row["nr_db"] > 2
    assert row["att_db"] < 12  # noisereduce takes this much of clean speech
    assert 0 <= row["lag"] <= 0.045 * rate


def test_a_baseline_keeps_no_state_and_no_numpy_settings(baseline):
    before = np.geterr()
    x = noise(8000, level=0.05)
    first = baseline.opened(CLIP, 8000)(x)
    np.testing.assert_array_equal(baseline.opened(CLIP, 8000)(x), first)
    assert np.geterr() == before


def test_silence_stays_silence(baseline):
    assert level_db(baseline.opened(CLIP, 16000)(np.zeros(16000, np.float32))) < -90


def test_baselines_that_stream_say_so(baseline):
    process = baseline.opened_live(CLIP, 16000)
    assert (process is None) == (baseline.name in ("noisereduce", "logMMSE"))
