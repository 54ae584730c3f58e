import copy
import pickle
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sordino import examples
from sordino.denoiser import Denoiser, denoise
from sordino.errors import SordinoError
from sordino.model import load_model
from sordino.stft import NATIVE_RATES
from support import models
from support.signals import ALL_RATES, agreement_db, block_sizes, cut, level_db, noise, run, tone

ZERO = models.constant_mask(0)
ONE = models.constant_mask(1)
MOST = models.constant_mask(0.8)
RECURRENT = models.recurrent()

native_rates = st.sampled_from(NATIVE_RATES)
all_rates = st.sampled_from(ALL_RATES)


# Blocks and time


@pytest.mark.slow
@given(rate=native_rates, sizes=block_sizes(5000))
def test_streaming_equals_offline(rate, sizes):
    x = noise(rate // 2)
    assert agreement_db(denoise(x, rate, RECURRENT), run(Denoiser(RECURRENT, rate), x, sizes)) > 100


@pytest.mark.slow
@given(rate=all_rates, sizes=block_sizes(20000))
def test_streaming_equals_offline_at_every_rate(rate, sizes):
    x = noise(rate // 4)
    assert agreement_db(denoise(x, rate, RECURRENT), run(Denoiser(RECURRENT, rate), x, sizes)) > 100


def test_blocks_longer_than_the_engine_s_own():
    x = noise(5 * 16000 + 123)
    whole = denoise(x, 16000, RECURRENT)
    assert agreement_db(whole, run(Denoiser(RECURRENT, 16000), x, [160])) > 100


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@given(rate=all_rates, sizes=block_sizes(5000))
def test_zero_mask_is_the_identity_at_every_rate_and_block_size(rate, sizes):
    """Not one bit differs: what is not noise keeps its own samples."""
    x = noise(rate // 10)
    np.testing.assert_array_equal(run(Denoiser(ZERO, rate), x, sizes), x)


@pytest.mark.slow
@given(rate=all_rates, sizes=block_sizes(5000), warm_up=st.booleans())
def test_strength_0_is_the_identity_at_every_rate_and_block_size(rate, sizes, warm_up):
    x = noise((rate // 10, 2))
    denoiser = Denoiser(RECURRENT, rate, channels=2, strength=0)
    if warm_up:
        denoiser.warm_up(noise((1000, 2), seed=1))
    np.testing.assert_array_equal(run(denoiser, x, sizes), x)


@pytest.mark.parametrize("rate", [96000, 88200, 192000])
def test_nothing_above_the_network_s_band_is_touched(rate):
    voice, ultrasound = tone(1000, rate), tone(30000, rate)
    middle = slice(rate // 4, 3 * rate // 4)
    left = denoise(voice + ultrasound, rate, ONE)
    assert agreement_db(ultrasound[middle], left[middle]) > 80


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 96000, 192000])
def test_noise_in_the_band_is_subtracted_in_time_with_the_sound(rate):
    """The noise comes back through two resamplers and must lie on the sound sample by sample."""
    x = tone(1000, rate) + tone(0.4 * min(rate, 48000), rate)
    middle = slice(rate // 4, 3 * rate // 4)
    assert level_db(denoise(x, rate, ONE)[middle]) < level_db(x) - 70
    for strength, left in ((0.5, 0.5), (0.9, 0.1)):
        y = denoise(x, rate, ONE, strength)
        assert agreement_db(left * x[middle], y[middle]) > 50


@pytest.mark.parametrize("rate", [16000, 44100])
def test_full_scale_is_not_clipped(rate):
    x = 1.5 * np.sign(tone(100, rate))
    np.testing.assert_array_equal(denoise(x, rate, ZERO), x)
    np.testing.assert_array_equal(denoise(x, rate, RECURRENT, strength=0), x)


# Strength


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_strength_scales_the_effect_and_1_is_all_of_it(rate):
    x = noise(rate // 2)
    full = denoise(x, rate, RECURRENT, strength=1)
    half = denoise(x, rate, RECURRENT, strength=0.5)
    assert agreement_db((x + full) / 2, half) > 100
    assert level_db(denoise(x, rate, ONE)) < -100


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_more_strength_takes_more(strengths):
    x = noise(4000)
    levels = [level_db(denoise(x, 8000, MOST, strength)) for strength in sorted(strengths)]
    assert all(a >= b - 1e-4 for a, b in pairwise(levels))


@given(limit=st.floats(0, 60), rate=all_rates)
def test_attenuation_limit(limit, rate):
    x = tone(1000, rate)
    middle = slice(rate // 4, 3 * rate // 4)
    y = denoise(x, rate, ONE, attenuation_limit_db=limit)
    assert level_db(x[middle]) - level_db(y[middle]) == pytest.approx(limit, abs=0.1)


def test_the_lower_of_strength_and_limit_counts():
    x = noise(8000)
    y = denoise(x, 8000, ONE, strength=0.5, attenuation_limit_db=40)
    assert level_db(x) - level_db(y) == pytest.approx(6.02, abs=0.05)


@pytest.mark.parametrize(("rate", "rest"), [(48000, 1e-5), (44100, 1e-4)])
def test_strength_changes_while_running_without_a_click(rate, rest):
    x = np.resize(tone(440, rate), 48000)
    denoiser = Denoiser(ONE, rate, strength=0)
    parts = [denoiser.feed(x[:24000])]
    denoiser.strength = 1
    parts.append(denoiser.feed(x[24000:36000]))
    denoiser.attenuation_limit_db = 6
    parts.append(denoiser.feed(x[36000:]))
    y = np.concatenate([*parts, denoiser.flush()])
    assert agreement_db(x[:20000], y[:20000]) > 100
    assert np.abs(y[25500:33000]).max() < rest
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
def test_a_warm_up_is_remembered(rate):
    before, sound = noise((rate, 2)), noise((rate, 2), seed=1)
    denoiser = Denoiser(RECURRENT, rate, channels=2)
    denoiser.warm_up(before)
    y = run(denoiser, sound, [777])
    pause = np.zeros((rate // 10, 2), np.float32)
    whole = denoise(np.concatenate([before, pause, sound]), rate, RECURRENT)
    assert agreement_db(whole[-rate:], y) > 100
    assert agreement_db(denoise(sound, rate, RECURRENT), y) < 60
    assert run(denoiser, sound, [777]).shape == sound.shape  # the flush before has forgotten it


@given(rate=all_rates, samples=st.integers(0, 3000), seconds=st.sampled_from([0.01, 0.1, 60]))
@settings(max_examples=30)
def test_a_warm_up_keeps_length_and_place(rate, samples, seconds):
    x = noise(samples)
    assert denoise(x, rate, RECURRENT, warm_up=seconds).shape == (samples,)
    expected = denoise(x, rate, ZERO)
    assert agreement_db(expected, denoise(x, rate, ZERO, warm_up=seconds)) > 100


def test_only_the_warm_up_acts_on_what_came_before():
    x = noise(32000)
    changed = np.concatenate([x[:16000], noise(16000, seed=1)])
    before = slice(0, 16000 - 320)
    heard = [denoise(sound, 16000, RECURRENT, warm_up=1.0)[before] for sound in (x, changed)]
    np.testing.assert_array_equal(*heard)
    heard = [denoise(sound, 16000, RECURRENT, warm_up=1.5)[before] for sound in (x, changed)]
    assert agreement_db(*heard) < 100


def test_warming_up_comes_first():
    denoiser = Denoiser(RECURRENT, 16000)
    denoiser.feed(noise(100))
    with pytest.raises(SordinoError, match="warm up first"):
        denoiser.warm_up(noise(100))
    for seconds in (-1, 61, np.nan, None, "5"):
        with pytest.raises(SordinoError, match=r"warm-up is .*: expected 0"):
            denoise(noise(100), 16000, RECURRENT, warm_up=seconds)


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


@pytest.mark.slow
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


@pytest.mark.parametrize("rate", [16000, 22050])
def test_integers_of_other_depths_are_scaled(rate):
    sound = noise(rate, level=0.3).clip(-0.99, 0.99)
    deep = np.rint(sound * 2.0**31).astype(np.int32)
    assert agreement_db(denoise(sound, rate, RECURRENT), denoise(deep, rate, RECURRENT)) > 120
    coarse = np.rint(sound * 128 + 128).astype(np.uint8)
    reference = denoise((coarse.astype(np.float32) - 128) / 128, rate, RECURRENT)
    np.testing.assert_array_equal(denoise(coarse, rate, RECURRENT), reference)
    half = sound.astype(np.float16)
    reference = denoise(half.astype(np.float32), rate, RECURRENT)
    np.testing.assert_array_equal(denoise(half, rate, RECURRENT), reference)


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
        np.zeros((100, channels), np.int64),
        np.zeros((100, channels), np.uint16),
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


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        ("talk.wav", "expected an array of samples; `sordino denoise` takes files"),
        (Path("talk.wav"), "expected an array of samples; `sordino denoise` takes files"),
        (b"RIFF", "expected an array of samples"),
        (None, "sound is None"),
        ([None, None], "type object"),
        (["a", "b"], "type <U1"),
        ([[0.0], [0.0, 1.0]], "cannot be read as an array"),
        (np.zeros((4, 0), np.float32), r"shape \(4, 0\)"),
        (np.zeros((4, 1, 1), np.float32), r"shape \(4, 1, 1\)"),
        ({"sound": 1}, "sound is {'sound': 1}: expected an array"),
    ],
)
def test_what_is_not_sound_is_named(sound, message):
    for call in (lambda: denoise(sound, 16000, ZERO), lambda: Denoiser(ZERO, 16000).feed(sound)):
        with pytest.raises(SordinoError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_pytorch_tensors_are_taken_or_say_what_to_do():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(noise(1600))
    np.testing.assert_array_equal(denoise(x, 16000, ZERO), x.numpy())
    for tensor in (x.bfloat16(), x.clone().requires_grad_(), x.to_sparse()):
        with pytest.raises(SordinoError, match=r"x\.detach\(\)\.cpu\(\)\.float\(\)\.numpy"):
            denoise(tensor, 16000, ZERO)


@pytest.mark.parametrize("model", [None, 3, b"default", ["default"]])
def test_what_is_no_model_is_named(model):
    with pytest.raises(SordinoError, match=r"the model is .*: expected a name"):
        Denoiser(model)


def test_providers_belong_to_the_loading_of_a_model():
    assert Denoiser(sample_rate=16000, providers="cpu").model is load_model()
    with pytest.raises(SordinoError, match="give them to load_model"):
        Denoiser(ZERO, providers="cpu")
    with pytest.raises(SordinoError, match="'quantum': choose from"):
        denoise(noise(100), 16000, providers="quantum")


# Copies

COPIES = [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))]


@pytest.mark.parametrize("copied", COPIES)
def test_a_model_can_be_copied_and_pickled(copied):
    x = noise(16000)
    np.testing.assert_array_equal(
        denoise(x, 16000, copied(RECURRENT)), denoise(x, 16000, RECURRENT)
    )


@pytest.mark.parametrize("copied", COPIES)
def test_a_denoiser_can_be_copied_before_a_sound_and_says_why_not_in_one(copied):
    x = noise((8000, 2))
    original = Denoiser(RECURRENT, 44100, 2, strength=0.7, attenuation_limit_db=20)
    other = copied(original)
    np.testing.assert_array_equal(run(other, x, [441]), run(original, x, [441]))
    assert (other.strength, other.attenuation_limit_db) == (0.7, 20)
    for begin in (original.feed, original.warm_up):
        begin(x)
        with pytest.raises(SordinoError, match="reset it first"):
            copied(original)
        original.reset()
        copied(original)


# Many streams in one run


@given(sizes=block_sizes(2000), rate=all_rates)
@settings(max_examples=10)
def test_analyse_run_batch_synthesise_equals_feed(sizes, rate):
    sounds = [noise(rate // 10, seed) for seed in range(3)]
    denoisers = [Denoiser(RECURRENT, rate, strength=0.8) for _ in sounds]
    heard = [[] for _ in sounds]
    for blocks in zip(*(cut(sound, sizes) for sound in sounds), strict=True):
        for denoiser, block in zip(denoisers, blocks, strict=True):
            denoiser.analyse(block)
        Denoiser.run_batch(denoisers)
        for denoiser, parts in zip(denoisers, heard, strict=True):
            parts.append(denoiser.synthesise())
    for sound, denoiser, parts in zip(sounds, denoisers, heard, strict=True):
        clean = np.concatenate([*parts, denoiser.flush()])
        assert agreement_db(denoise(sound, rate, RECURRENT, strength=0.8), clean) > 100


def test_a_flush_or_a_longer_block_takes_what_was_analysed_with_it():
    x = noise(16000)
    expected = denoise(x, 16000, RECURRENT)
    denoiser = Denoiser(RECURRENT, 16000)
    denoiser.analyse(x[:3000])
    denoiser.analyse(x[3000:5000])
    parts = [denoiser.feed(x[5000:9000])]
    denoiser.analyse(x[9000:])
    parts.append(denoiser.flush())
    assert agreement_db(expected, np.concatenate(parts)) > 100


def test_a_reset_between_analysis_and_synthesis_drops_the_sound():
    denoiser = Denoiser(RECURRENT, 16000)
    denoiser.analyse(noise(5000))
    denoiser.reset()
    Denoiser.run_batch([denoiser])
    assert denoiser.synthesise().shape == (0,)
    x = noise(8000, seed=1)
    np.testing.assert_array_equal(
        run(denoiser, x, [160]), run(Denoiser(RECURRENT, 16000), x, [160])
    )


# Old names


def test_old_names_work_and_warn():
    x = noise(16000)
    with pytest.warns(DeprecationWarning, match=r"denoise\(listen=\) is now called warm_up="):
        y = denoise(x, 16000, RECURRENT, listen=0.5)
    np.testing.assert_array_equal(y, denoise(x, 16000, RECURRENT, warm_up=0.5))
    first, second = Denoiser(RECURRENT, 16000), Denoiser(RECURRENT, 16000)
    with pytest.warns(DeprecationWarning, match=r"Denoiser\.warm_up"):
        first.listen(x)
    second.warm_up(x)
    np.testing.assert_array_equal(run(first, x, [160]), run(second, x, [160]))
    with pytest.raises(TypeError, match="both"), pytest.warns(DeprecationWarning, match="listen"):
        denoise(x, 16000, RECURRENT, listen=0.5, warm_up=0.5)


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


@pytest.mark.slow
def test_a_constant_offset_of_the_microphone_costs_nothing():
    """0.1 of full scale cost 2.8 dB of SI-SDR before the network stopped hearing it."""
    noisy, rate = soundfile.read(examples.path("cafe_16k"), dtype="float32")
    clean, _ = soundfile.read(examples.path("cafe_16k", "clean"), dtype="float32")

    def si_sdr(offset: float) -> float:
        out = denoise(noisy + np.float32(offset), rate)
        out -= out.mean()
        target = (out @ clean) / (clean @ clean) * clean
        return 10 * np.log10((target @ target) / ((out - target) @ (out - target)))

    assert si_sdr(0.1) > si_sdr(0.0) - 0.3
