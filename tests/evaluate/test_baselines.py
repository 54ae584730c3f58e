import os

import numpy as np
import pytest

from sordino.evaluate.clips import Clip
from sordino.evaluate.measures import score
from sordino.evaluate.peers import PEERS
from support.evaluation import example
from support.signals import level_db, noise

CLIP = Clip("a", None, None)


@pytest.fixture(params=PEERS, ids=lambda peer: peer.name)
def peer(request):
    if not request.param.installed and not os.environ.get("CI"):
        pytest.skip(f"pip install {request.param.package}")
    assert request.param.installed
    return request.param


def test_a_peer_takes_noise_and_leaves_speech(peer):
    clean, _, rate = example("cafe_16k.flac")
    hiss = noise(len(clean), level=0.01)
    estimate = peer.opened(CLIP, rate)(clean + hiss)
    assert len(clean) - 400 <= len(estimate) <= len(clean) + 0.1 * rate
    row = score(clean, clean + hiss, estimate, rate, ["nr_db", "att_db", "lag", "sisdr"])
    assert row["nr_db"] > 2
    assert row["att_db"] < 12  # noisereduce takes this much of clean speech
    assert 0 <= row["lag"] <= 0.045 * rate


def test_a_peer_starts_every_clip_anew_and_changes_nothing_here(peer):
    before = np.geterr()
    x = noise(8000, level=0.05)
    first = peer.opened(CLIP, 8000)(x)
    np.testing.assert_array_equal(peer.opened(CLIP, 8000)(x), first)
    assert np.geterr() == before


def test_silence_stays_silence(peer):
    assert level_db(peer.opened(CLIP, 16000)(np.zeros(16000, np.float32))) < -90


def test_peers_that_work_in_steps_say_so(peer):
    process = peer.opened_live(CLIP, 16000)
    assert (process is None) == (peer.name in ("noisereduce", "logMMSE"))
