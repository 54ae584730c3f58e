import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sordino.denoiser import Denoiser, denoise
from sordino.errors import SordinoError
from sordino.stft import NATIVE_RATES
from support import models
from support.signals import ALL_RATES, agreement_db, block_sizes, level_db, noise, run, tone

ZERO = models.constant_mask(0)
ONE = models.constant_mask(1)
MOST = models.constant_mask(0.8)
RECURRENT = models.recurrent()

native_rates = st.sampled_from(NATIVE_RATES)
all_rates = st.sampled_from(ALL_RATES)


# Blocks and time


@given(rate=native_rates, sizes=block_sizes(5000))
def test_streaming_equals_offline(rate, sizes):
    x = noise(rate // 2)
    assert agreement_db(denoise(x, rate, RECURRENT), run(Denoiser(RECURRENT, rate), x, sizes)) > 100


@given(rate=all_rates, sizes=block_sizes(20000))
def test_streaming_equals_offline_at_every_rate(rate, sizes):
    x = noise(rate // 4)
    assert agreement_db(denoise(x, rate, RECURRENT), run(Denoiser(RECURRENT, rate), x, sizes)) > 100


def test_blocks_longer_than_the_engine_s_own():
    x = noise(5 * 16000 + 123)
    whole = denoise(x, 16000, RECURRENT)
    assert agreement_db(whole, run(Denoiser(RECURRENT, 16000), x, [160])) > 100


@given(rate=all_rates, samples=st.integers(0, 3000), channels=st.integers(1, 3))
@settings(max_examples=60)
def test_length_is_exact(rate, samples, channels):
    x = noise((samples, channels))
    assert denoise(x, rate, RECURRENT).shape == (samples, channels)


@pytest.mark.parametrize("rate", ALL_RATES)
@pytest.mark.parametrize("samples", [0, 1])
def test_hardly_anything(rate, samples):
    x = noise(samples)
    y = denoise(x, rate, ZERO)
    assert y.shape == (samples,)
    assert y.dtype == np.float32


@given(rate=all_rates, step=st.integers(1, 4000))
def test_nothing_waits_longer_than_the_latency(rate, step):
    denoiser = Denoiser(ZERO, rate)
    returned = 0
    for taken in range(step, rate // 2, step):
        returned += len(denoiser.feed(noise(step)))
        assert taken - denoiser.latency_samples <= returned <= taken


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_latency_is_20_ms_at_native_rates(rate):
    denoiser = Denoiser(ZERO, rate)
    assert denoiser.latency == 0.02
    assert denoiser.latency_samples == rate // 50


@given(rate=all_rates, share=st.floats(0, 1))
def test_causality(rate, share):
    x = noise(rate // 2)
    changed = int(share * len(x))
    other = x.copy()
    other[changed:] = 0.5
    denoiser = Denoiser(RECURRENT, rate)
    same = max(0, changed - denoiser.latency_samples)
    before, after = run(denoiser, x, [rate // 100]), run(denoiser, other, [rate // 100])
    np.testing.assert_array_equal(before[:same], after[:same])


# Identity


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_zero_mask_is_identity(rate):
    x = noise(rate)
    assert agreement_db(x, denoise(x, rate, ZERO)) > 120


@pytest.mark.parametrize("rate", [rate for rate in ALL_RATES if rate not in NATIVE_RATES])
def test_zero_mask_loses_only_what_the_resampler_loses(rate):
    x = tone(1000, rate) + tone(0.4 * min(rate, 48000), rate)
    middle = slice(rate // 4, 3 * rate // 4)
    assert agreement_db(x[middle], denoise(x, rate, ZERO)[middle]) > 70
    low = tone(1000, rate)
    assert agreement_db(low[middle], denoise(low, rate, ZERO)[middle]) > 110


@pytest.mark.parametrize("rate", [16000, 44100])
def test_full_scale_is_not_clipped(rate):
    x = 1.5 * np.sign(tone(100, rate))
    y = denoise(x, rate, ZERO)
    assert np.abs(y).max() > 1.49
    assert agreement_db(x, y) > (90 if rate == 16000 else 20)


# Strength


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_strength_0_is_the_input_and_1_the_full_effect(rate):
    x = noise(rate // 2)
    assert agreement_db(x, denoise(x, rate, RECURRENT, strength=0)) > 120
    full = denoise(x, rate, RECURRENT, strength=1)
    half = denoise(x, rate, RECURRENT, strength=0.5)
    assert agreement_db((x + full) / 2, half) > 100
    assert level_db(denoise(x, rate, ONE)) < -100


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_more_strength_takes_more(strengths):
    x = noise(4000)
    levels = [level_db(denoise(x, 8000, MOST, strength)) for strength in sorted(strengths)]
    assert all(a >= b - 1e-4 for a, b in pairwise(levels))


@given(limit=st.floats(0, 60), rate=native_rates)
def test_attenuation_limit(limit, rate):
    x = noise(rate // 4)
    taken = level_db(x) - level_db(denoise(x, rate, ONE, attenuation_limit_db=limit))
    assert taken == pytest.approx(limit, abs=0.1)


def test_the_lower_of_strength_and_limit_counts():
    x = noise(8000)
    y = denoise(x, 8000, ONE, strength=0.5, attenuation_limit_db=40)
    assert level_db(x) - level_db(y) == pytest.approx(6.02, abs=0.05)


def test_strength_changes_while_running_without_a_click():
    x = tone(440, 48000)
    denoiser = Denoiser(ONE, 48000, strength=0)
    parts = [denoiser.feed(x[:24000])]
    denoiser.strength = 1
    parts.append(denoiser.feed(x[24000:36000]))
    denoiser.attenuation_limit_db = 6
    parts.append(denoiser.feed(x[36000:]))
    y = np.concatenate([*parts, denoiser.flush()])
    assert agreement_db(x[:23000], y[:23000]) > 100
    assert np.abs(y[25000:35000]).max() < 1e-5
    assert level_db(x[38000:]) - level_db(y[38000:]) == pytest.approx(6, abs=0.1)
    assert np.abs(np.diff(y)).max() < 1.1 * np.abs(np.diff(x)).max()
    assert (denoiser.strength, denoiser.attenuation_limit_db) == (1, 6)


# State


def test_denoisers_share_no_state():
    x, other = noise(8000), noise(8000, seed=1)
    a, b = Denoiser(RECURRENT, 8000), Denoiser(RECURRENT, 8000)
    mixed = []
    for i in range(0, 8000, 200):
        mixed.append(a.feed(x[i : i + 200]))
        b.feed(other[i : i + 200])
    mixed.append(a.flush())
    alone = run(Denoiser(RECURRENT, 8000), x, [200])
    np.testing.assert_array_equal(np.concatenate(mixed), alone)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("end", ["reset", "flush"])
def test_after_reset_and_flush_all_is_new(rate, end):
    x = noise(rate)
    denoiser = Denoiser(RECURRENT, rate, strength=0.7)
    denoiser.feed(noise(7777, seed=1))
    getattr(denoiser, end)()
    new = Denoiser(RECURRENT, rate, strength=0.7)
    np.testing.assert_array_equal(run(denoiser, x, [1000]), run(new, x, [1000]))


@pytest.mark.parametrize("rate", NATIVE_RATES)
@pytest.mark.parametrize("seconds", [0.01, 0.1, 3])
def test_a_muted_microphone_is_not_remembered(rate, seconds):
    before, after = noise(rate), noise(rate, seed=1)
    mute = np.zeros(round(seconds * rate), np.float32)
    y = denoise(np.concatenate([mute, after]), rate, RECURRENT)
    assert agreement_db(denoise(after, rate, RECURRENT), y[len(mute) :]) > 100
    # Longer than the window that is looked through, its length makes no difference.
    once = denoise(np.concatenate([before, np.zeros(rate, np.float32), after]), rate, RECURRENT)
    parts = [before, np.zeros(rate, np.float32), mute, after]
    longer = denoise(np.concatenate(parts), rate, RECURRENT)
    assert agreement_db(once[-rate:], longer[-rate:]) > 100


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_what_was_heard_first_is_remembered(rate):
    before, sound = noise((rate, 2)), noise((rate, 2), seed=1)
    denoiser = Denoiser(RECURRENT, rate, channels=2)
    denoiser.listen(before)
    y = run(denoiser, sound, [777])
    pause = np.zeros((rate // 10, 2), np.float32)
    whole = denoise(np.concatenate([before, pause, sound]), rate, RECURRENT)
    assert agreement_db(whole[-rate:], y) > 100
    assert agreement_db(denoise(sound, rate, RECURRENT), y) < 60
    assert run(denoiser, sound, [777]).shape == sound.shape  # the flush before has forgotten it


@given(rate=all_rates, samples=st.integers(0, 3000), seconds=st.sampled_from([0.01, 0.1, 60]))
@settings(max_examples=30)
def test_listening_first_keeps_length_and_place(rate, samples, seconds):
    x = noise(samples)
    assert denoise(x, rate, RECURRENT, listen=seconds).shape == (samples,)
    expected = denoise(x, rate, ZERO)
    assert agreement_db(expected, denoise(x, rate, ZERO, listen=seconds)) > 100


def test_only_what_is_heard_first_acts_on_what_came_before():
    x = noise(32000)
    changed = np.concatenate([x[:16000], noise(16000, seed=1)])
    before = slice(0, 16000 - 320)
    heard = [denoise(sound, 16000, RECURRENT, listen=1.0)[before] for sound in (x, changed)]
    np.testing.assert_array_equal(*heard)
    heard = [denoise(sound, 16000, RECURRENT, listen=1.5)[before] for sound in (x, changed)]
    assert agreement_db(*heard) < 100


def test_listening_comes_first():
    denoiser = Denoiser(RECURRENT, 16000)
    denoiser.feed(noise(100))
    with pytest.raises(SordinoError, match="listen first"):
        denoiser.listen(noise(100))
    for seconds in (-1, 61, np.nan):
        with pytest.raises(SordinoError, match="heard first: expected 0"):
            denoise(noise(100), 16000, RECURRENT, listen=seconds)


@pytest.mark.parametrize("rate", [24000, 44100])
def test_channels_are_independent(rate):
    x = noise((rate // 2, 3))
    together = denoise(x, rate, RECURRENT)
    for channel in range(3):
        alone = denoise(x[:, channel], rate, RECURRENT)
        assert agreement_db(alone, together[:, channel]) > 120


def resident_bytes():
    statm = Path("/proc/self/statm")  # Linux only
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


def test_memory_is_constant_over_an_hour():
    denoiser = Denoiser(RECURRENT, 8000)
    minute = noise(60 * 8000)
    denoiser.feed(minute)
    tracemalloc.start()
    try:
        denoiser.feed(minute)
        first, first_resident = tracemalloc.get_traced_memory(), resident_bytes()
        tracemalloc.reset_peak()
        for _ in range(58):
            denoiser.feed(minute)
        last = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last[0] - first[0] < 50_000
    assert last[1] - first[1] < 50_000
    assert resident_bytes() - first_resident < 10_000_000


# Types, shapes and mistakes


@pytest.mark.parametrize("rate", [16000, 22050])
def test_types_agree(rate):
    integers = (20000 * noise(rate, level=0.3)).astype(np.int16)
    reference = denoise(integers.astype(np.float32) / 32768, rate, RECURRENT)
    assert agreement_db(reference, denoise(integers, rate, RECURRENT)) > 120
    assert agreement_db(reference, denoise(integers / 32768, rate, RECURRENT)) > 120


def test_layout_of_the_input_is_kept():
    x = noise(1000)
    assert denoise(x, 8000, ZERO).shape == (1000,)
    assert denoise(x[:, None], 8000, ZERO).shape == (1000, 1)
    assert denoise(x.tolist(), 8000, ZERO).shape == (1000,)
    strided = noise((1000, 4))[::2, 1:3]
    assert agreement_db(strided, denoise(strided, 8000, ZERO)) > 120


def test_the_input_is_left_alone_and_the_output_is_the_caller_s():
    x = noise(4800)
    kept = x.copy()
    denoiser = Denoiser(ZERO, 48000)
    blocks = []
    for i in range(0, 4800, 480):
        block = denoiser.feed(x[i : i + 480])
        blocks.append(block.copy())
        block[:] = 7
    y = np.concatenate([*blocks, denoiser.flush()])
    np.testing.assert_array_equal(x, kept)
    assert agreement_db(x, y) > 120


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_bad_block_is_refused_and_the_stream_goes_on(rate, channels):
    good = noise((rate // 2, channels))
    shapes = [(channels, 480)] if channels > 1 else []
    bad = [
        np.full((100, channels), np.nan, np.float32),
        np.full((100, channels), np.inf, np.float32),
        np.full((100, channels), 1e300),
        np.full((100, channels), 1e30, np.float32),
        np.zeros((100, channels), np.int32),
        np.zeros((100, channels), bool),
        np.zeros((100, channels), complex),
        np.zeros((100, channels + 1), np.float32),
        np.zeros((10, 10, channels), np.float32),
        np.float32(0.5),
        *[np.zeros(shape, np.float32) for shape in shapes],
    ]
    denoiser = Denoiser(RECURRENT, rate, channels)
    parts = [denoiser.feed(good[:3000])]
    for block in bad:
        with pytest.raises(SordinoError) as error:
            denoiser.feed(block)
        assert "\n" not in str(error.value)
    parts += [denoiser.feed(good[3000:]), denoiser.flush()]
    np.testing.assert_array_equal(
        np.concatenate(parts), run(Denoiser(RECURRENT, rate, channels), good, [3000, rate])
    )


def test_swapped_axes_are_named():
    with pytest.raises(SordinoError, match="transpose"):
        denoise(noise((2, 48000)), 48000, ZERO)
    with pytest.raises(SordinoError, match="transpose"):
        Denoiser(ZERO, 48000, channels=2).feed(noise((2, 48000)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"sample_rate": 7999},
        {"sample_rate": 192001},
        {"sample_rate": 44100.5},
        {"sample_rate": float("nan")},
        {"sample_rate": None},
        {"channels": 0},
        {"strength": -0.1},
        {"strength": 1.1},
        {"strength": float("nan")},
        {"attenuation_limit_db": -1},
        {"attenuation_limit_db": float("nan")},
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(SordinoError) as error:
        Denoiser(ZERO, **arguments)
    assert "\n" not in str(error.value)


def test_settings_out_of_range_change_nothing():
    denoiser = Denoiser(ZERO, 8000, strength=0.5, attenuation_limit_db=10)
    with pytest.raises(SordinoError):
        denoiser.strength = 2
    with pytest.raises(SordinoError):
        denoiser.attenuation_limit_db = -3
    assert (denoiser.strength, denoiser.attenuation_limit_db) == (0.5, 10)


def test_speech_probability_and_model_by_path(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.constant_mask_bytes(speech=0.25))
    denoiser = Denoiser(path, 8000, channels=2)
    assert denoiser.speech_probability == 0
    denoiser.feed(noise((800, 2)))
    assert denoiser.speech_probability == 0.25
    denoiser.reset()
    assert denoiser.speech_probability == 0
