"""Batches mixed from the bundled clips, with everything off that a test does not look at."""

from dataclasses import replace

import numpy as np
import soundfile as sf

from sordino.examples import FOLDER
from sordino.train.data.mixing import MixConfig, Mixer

# Nothing but speech and one recorded noise; each test switches on what it looks at.
PLAIN = MixConfig(
    seconds=2.0,
    rates={16000: 1.0},
    speech_only=0,
    noise_only=0,
    silence=0,
    noises=(1.0,),
    babble=0,
    coloured=0,
    fan=0,
    hum=0,
    clicks=0,
    tones=0,
    wind=0,
    handling=0,
    keyboard=0,
    engine=0,
    bursts=0,
    impacts=0,
    animals=0,
    echo=0,
    imprint=0,
    thump=0,
    speech_speed=(1.0, 1.0),
    formants=0,
    raised=0,
    room=0,
    eq=0,
    band_limit=0,
    clipping=0,
    codec=0,
    agc=0,
    packet_loss=0,
    offset=0,
    mute=0,
)


def batch(corpus, size=6, seed=0, index=0, **changes):
    return Mixer(replace(PLAIN, **changes), corpus).batch(seed, index, size)


def centroids(x):
    """Mean frequency of each row, weighted by its power, in bins."""
    power = np.abs(np.fft.rfft(x)) ** 2
    return power @ np.arange(power.shape[1]) / power.sum(1)


def noisy_and_clean():
    """Return a bundled recording at 16 kHz and its reference."""
    return [
        sf.read(FOLDER / kind / "cafe_16k.flac", dtype="float32")[0] for kind in ("noisy", "clean")
    ]
