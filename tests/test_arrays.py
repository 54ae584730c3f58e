"""Conversion between float samples and 16-bit PCM."""

import numpy as np

from sordino.arrays import from_int16, to_int16
from support.signals import noise

EVERY_LEVEL = np.arange(-32768, 32768, dtype=np.int16)


def test_every_16_bit_level_survives_the_round_trip():
    np.testing.assert_array_equal(to_int16(from_int16(EVERY_LEVEL)), EVERY_LEVEL)


def test_full_scale_is_one():
    samples = from_int16(EVERY_LEVEL)
    assert samples.dtype == np.float32
    assert samples.min() == -1
    assert samples.max() == np.float32(32767 / 32768)


def test_float_samples_are_rounded_and_clipped_not_wrapped():
    sound = noise((1000, 2), level=1.0)
    difference = to_int16(sound) / 32768 - np.clip(sound, -1, 32767 / 32768)
    assert np.abs(difference).max() <= 0.5 / 32768 + 1e-7
    assert to_int16(np.array([7.0, -7.0], np.float32)).tolist() == [32767, -32768]
