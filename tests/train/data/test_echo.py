"""The residue of echo: in a loudspeaker's band, in bursts, more reverberation than direct sound."""

import numpy as np
import pytest
import soundfile as sf

from sordino.examples import FOLDER
from sordino.train.data.decode import resample
from sordino.train.data.noise import echo
from sordino.train.data.rooms import split_room
from sordino.train.data.signal import frame_power
from support.signals import agreement_db, level_db, noise, tone

RATES = (8000, 16000, 24000, 48000)
SPEECH = sorted((FOLDER / "train" / "speech").iterdir())[0]


def voice(rate, seconds=3.0):
    speech, recorded = sf.read(SPEECH, dtype="float32")
    speech = np.tile(speech, 1 + int(seconds * recorded / len(speech)))
    return resample(speech[: round(seconds * recorded)], recorded, rate)


def room(rate, size, reverberation=0.3):
    """A direct path, and an exponential tail from 30 ms on."""
    h = np.zeros(rate // 2, np.float32)
    start = 30 * rate // 1000
    time = np.arange(len(h) - start) / rate
    h[start:] = noise(len(time), 1, 0.05) * np.exp(-6.9 * time / reverberation)
    h[0] = 1
    return split_room(h, rate, size)


@pytest.mark.parametrize("rate", RATES)
def test_echo_is_repeatable_and_as_long_as_the_voice(rate):
    far = voice(rate)
    for acoustics in (None, room(rate, len(far))):
        x = echo(np.random.default_rng(1), far, acoustics, rate)
        assert x.shape == far.shape
        assert x.dtype == np.float32
        assert level_db(x) > -60
        np.testing.assert_array_equal(x, echo(np.random.default_rng(1), far, acoustics, rate))


def test_echo_stays_in_the_band_of_a_loudspeaker():
    white = noise(5 * 48000, level=0.1)
    power = np.mean(
        [
            np.abs(np.fft.rfft(echo(np.random.default_rng(i), white, None, 48000))) ** 2
            for i in range(5)
        ],
        axis=0,
    )
    frequency = np.fft.rfftfreq(5 * 48000, 1 / 48000)
    middle = power[(frequency > 500) & (frequency < 3000)].mean()
    assert 10 * np.log10(power[frequency < 100].mean() / middle) < -20
    assert 10 * np.log10(power[frequency > 14000].mean() / middle) < -20


def test_the_loudspeaker_distorts_mildly():
    size = 3 * 16000
    x = echo(np.random.default_rng(2), tone(1000, 16000, 3.0), None, 16000)
    power = np.abs(np.fft.rfft(x * np.hanning(size))) ** 2

    def around(hz):
        return power[int(3 * (hz - 120)) : int(3 * (hz + 120))].sum()

    harmonics = 10 * np.log10((around(2000) + around(3000)) / around(1000))
    assert -60 < harmonics < -10


def test_the_suppressor_lets_through_bursts():
    steady = noise(10 * 16000, level=0.1)
    shares = []
    for i in range(10):
        power = frame_power(echo(np.random.default_rng(i), steady, None, 16000), 16000)
        shares.append((power > 0.1 * np.percentile(power, 95)).mean())
    assert min(shares) < 0.6
    assert max(shares) > 0.8


def test_reverberation_is_left_and_the_direct_sound_is_not():
    far = voice(16000)
    acoustics = room(16000, len(far))
    x = echo(np.random.default_rng(3), far, acoustics, 16000)
    dry = echo(np.random.default_rng(3), far, None, 16000)
    scale = np.dot(dry, x) / np.dot(dry, dry)  # the share of the direct sound
    assert abs(scale) < 0.6
    assert agreement_db(dry, x) < 10


def test_a_silent_far_end_has_no_echo():
    assert not echo(np.random.default_rng(0), np.zeros(16000, np.float32), None, 16000).any()
