"""Backgrounds: every kind of noise, by its share, at its level, and never the speaker in front."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from sordino.train.data.corpus import Corpus
from sordino.train.data.mixing import MixConfig
from sordino.train.data.noise import Background
from sordino.train.data.signal import active_level
from support.mixtures import PLAIN, batch

KINDS = (
    "babble",
    "coloured",
    "fan",
    "hum",
    "clicks",
    "tones",
    "wind",
    "handling",
    "keyboard",
    "engine",
    "bursts",
    "impacts",
    "animals",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_noise_can_be_drawn(corpus, kind):
    drawn = batch(corpus, noise_only=1.0, **{kind: 1.0})
    assert (np.abs(drawn.noisy).max(axis=1) > 1e-4).all()


def test_default_shares_leave_most_noise_to_recordings():
    background = Background(MixConfig(), Corpus())
    assert tuple(background.shares) == (*KINDS, "echo")
    assert 0.4 < 1 - sum(background.shares.values()) < 0.7
    assert all(0.02 <= share <= 0.10 for share in background.shares.values())


def test_kinds_are_drawn_by_share_and_no_echo_where_nobody_speaks():
    background = Background(replace(PLAIN, wind=0.2, echo=0.3), Corpus())
    rng = np.random.default_rng(0)
    kinds = [background.kind(rng, "somebody") for _ in range(2000)]
    assert kinds.count("wind") / 2000 == pytest.approx(0.2, abs=0.03)
    assert kinds.count("echo") / 2000 == pytest.approx(0.3, abs=0.03)
    assert kinds.count("recorded") / 2000 == pytest.approx(0.5, abs=0.04)
    alone = [background.kind(rng, "") for _ in range(2000)]
    assert alone.count("echo") == 0
    assert alone.count("recorded") / 2000 == pytest.approx(0.8, abs=0.03)


def snr_db(drawn):
    """Of active levels, per example."""
    pairs = zip(drawn.noisy, drawn.clean, strict=True)
    return [
        active_level(clean, 16000) - active_level(noisy - clean, 16000) for noisy, clean in pairs
    ]


def test_close_noise_is_louder_and_echo_is_quieter(corpus):
    same = {"snr_mean_db": 5.0, "snr_spread_db": 0.0, "expand_db": 0.0, "target_expand_db": 0.0}
    close = batch(corpus, wind=1.0, close_db=(8.0, 8.0), **same)
    np.testing.assert_allclose(snr_db(close), -3, atol=0.5)
    far = batch(corpus, size=8, echo=1.0, echo_db=(15.0, 15.0), **same)
    # Nothing is heard where all draws gave the speaker in front, or the other one paused.
    heard = [ratio for ratio in snr_db(far) if ratio < 30]
    assert len(heard) >= 5
    np.testing.assert_allclose(heard, 20, atol=2)


def test_echo_is_never_of_the_speaker_in_front(corpus):
    labels = {clip.label for clip in corpus.speech.clips}
    assert len(labels) > 1
    for label in labels:
        only = replace(corpus, speech=only_speaker(corpus.speech, label))
        x, _ = Background(replace(PLAIN, echo=1.0), only).draw(
            np.random.default_rng(0), 32000, 16000, label
        )
        assert not x.any()


def only_speaker(pool, label):
    numbers = [i for i, clip in enumerate(pool.clips) if clip.label == label]
    one = copy(pool)
    one.draw = lambda rng, wide=False: int(rng.choice(numbers))
    return one
