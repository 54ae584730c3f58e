"""Frames of 16-bit sound: exact in size, late by a constant, clean as the engine makes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sordino
from sordino.errors import SordinoError
from sordino.model import load_model
from sordino.plugins.pcm import PcmStream, StreamControls
from support.signals import ALL_RATES, block_sizes, cut, noise

MODEL = load_model()


def pcm(samples, seed=0):
    return (noise(samples, seed) * 32768).clip(-32768, 32767).astype("<i2")


def run(stream, samples, sizes, controls):
    frames = [(len(each), stream.process(each.tobytes(), controls)) for each in cut(samples, sizes)]
    for size, frame in frames:
        assert len(frame) == size * 2 * stream.channels
    joined = np.frombuffer(b"".join(frame for _, frame in frames), "<i2")
    return joined.reshape(samples.shape)


@pytest.mark.slow
@given(rate=st.sampled_from(ALL_RATES), sizes=block_sizes(3000), channels=st.integers(1, 2))
def test_frames_of_any_size_come_back_exact_and_late_by_a_constant(rate, sizes, channels):
    sound = pcm((rate // 4, channels))
    stream = PcmStream(MODEL, rate, channels)
    out = run(stream, sound, sizes, StreamControls())
    delay = stream.delay_samples
    expected = np.rint(sordino.denoise(sound, rate, "default") * 32768).clip(-32768, 32767)
    assert not out[:delay].any()
    # At other than native rates, blocks and the whole array differ by the resampler's rounding.
    assert np.abs(out[delay:] - expected[: len(out) - delay]).max(initial=0) <= 2


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_the_delay_is_20_ms_at_native_rates(rate):
    assert PcmStream(MODEL, rate).delay_samples == rate // 50


@pytest.mark.parametrize("controls", [StreamControls(enabled=False), StreamControls(strength=0.0)])
def test_what_is_switched_off_passes_bit_by_bit_but_as_late(controls):
    sound = pcm((16000, 1))
    sound[:2, 0] = -32768, 32767
    stream = PcmStream(MODEL, 16000)
    out = run(stream, sound, [160], controls)
    np.testing.assert_array_equal(out[320:], sound[:-320])


def test_switching_leaves_no_gap():
    sound = pcm((16000, 1))
    stream = PcmStream(MODEL, 16000)
    parts = [
        run(stream, sound[:8000], [160], StreamControls()),
        run(stream, sound[8000:], [160], StreamControls(enabled=False)),
    ]
    # Two hops after the switch, every sample is the old one, in its place.
    np.testing.assert_array_equal(parts[1][640:, 0], sound[8320:-320, 0])


def test_sound_louder_than_16_bits_is_clipped_not_wrapped():
    square = np.where(np.arange(8000) % 80 < 40, 32767, -32768).astype("<i2")[:, None]
    out = run(PcmStream(MODEL, 16000), square, [160], StreamControls(strength=0.0))
    np.testing.assert_array_equal(out[320:], square[:-320])


def test_an_attenuation_limit_keeps_noise_at_that_level():
    sound = pcm((16000, 1))
    free, limited = (
        run(PcmStream(MODEL, 16000), sound, [160], controls)[8000:].astype(float).std()
        for controls in (StreamControls(), StreamControls(attenuation_limit_db=6))
    )
    before = sound[8000:].astype(float).std()
    assert 20 * np.log10(before / free) > 12
    assert 20 * np.log10(before / limited) < 6.1


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(0, 801), min_size=1, max_size=20).filter(any),
    channels=st.integers(1, 2),
)
def test_frames_may_end_inside_a_sample(sizes, channels):
    """Network transports cut a byte stream anywhere: what is left over belongs to the next."""
    data = pcm((4000, channels)).tobytes()
    cut_anywhere, whole = (PcmStream(MODEL, 16000, channels) for _ in range(2))
    out, start, turn = b"", 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        out += cut_anywhere.process(data[start : start + size], StreamControls())
        start, turn = start + size, turn + 1
        sample = 2 * channels
        assert len(out) == min(start, len(data)) // sample * sample
    expected = np.frombuffer(whole.process(data, StreamControls()), "<i2").astype(int)
    assert np.abs(np.frombuffer(out, "<i2") - expected).max() <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"strength": 1.5},
        {"strength": "all"},
        {"strength": True},
        {"strength": float("nan")},
        {"attenuation_limit_db": -1},
        {"attenuation_limit_db": "x"},
        {"enabled": "no"},
        {"enabled": 0},
        {"enabled": None},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SordinoError, match="expected"):
        StreamControls(**settings)
