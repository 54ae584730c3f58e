"""One stream, many streams and single frames through a network give the same."""

import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.inference import available_providers, checked_providers, process_batch
from sordino.model import load_model
from support import models


def spectra(channels, frames, bins, seed=0):
    rng = np.random.default_rng(seed)
    pairs = 0.1 * rng.standard_normal((channels, frames, bins, 2), np.float32)
    return pairs.view(np.complex64)[..., 0]


def chosen(name):
    return load_model() if name == "default" else models.recurrent()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("name", ["recurrent", "default"])
def test_single_frames_equal_all_at_once(name, channels):
    """Also where longer blocks come between single frames."""
    model, x = chosen(name), spectra(channels, 14, 257)
    whole = model.open(channels).process(x)
    stream = model.open(channels)
    blocks = np.split(x, [1, 2, 3, 4, 7, 8, 9], axis=1)
    parts = [stream.process(block).copy() for block in blocks]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-6)


@pytest.mark.parametrize("name", ["recurrent", "default"])
def test_a_stream_equals_the_stateless_run(name):
    model, x = chosen(name), spectra(2, 12, 129)
    voice = np.zeros((2, model.info.voice_size), np.float32)
    pairs = x.view(np.float32).reshape(*x.shape, 2)
    mask, speech, _ = model.run(pairs, voice, model.initial_state(2))
    stream = model.open(2, strength=0.5)
    expected = 0.5 * mask.view(np.complex64)[..., 0] * x
    for t in range(12):
        np.testing.assert_allclose(stream.process(x[:, t : t + 1])[:, 0], expected[:, t], atol=1e-6)
        assert stream.speech_probability == pytest.approx(speech[:, t].max(), abs=1e-5)


def test_streams_share_a_model_but_no_memory():
    model = models.recurrent()
    sounds = [spectra(1, 8, 129, seed) for seed in range(2)]

    def noises(sound):
        stream = model.open(1)
        for t in range(8):
            yield stream.process(sound[:, t : t + 1])

    alone = [list(noises(each)) for each in sounds]
    for t, pair in enumerate(zip(*map(noises, sounds), strict=True)):
        for stream, noise in enumerate(pair):
            np.testing.assert_array_equal(noise, alone[stream][t])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_digital_silence_leaves_no_trace_in_single_frames(channels):
    model, rng = models.recurrent(), np.random.default_rng(channels)
    heard = rng.random((channels, 40)) < 0.7
    heard[:, 20:26] = False
    x = spectra(channels, 40, 129) * heard[..., None]
    stream = model.open(channels)
    noise = np.concatenate([stream.process(x[:, t : t + 1]) for t in range(40)], axis=1)
    assert not noise[~heard].any()
    for channel in range(channels):
        kept = heard[channel]
        alone = model.open(1).process(x[channel : channel + 1, kept])
        np.testing.assert_allclose(noise[channel, kept], alone[0], atol=1e-6)


def test_a_batch_of_all_kinds_equals_each_alone():
    """Other networks, rates, channels and lengths share what runs they can."""
    first, second = models.recurrent(), models.recurrent(1)
    kinds = [(first, 1, 3, 257), (first, 2, 3, 257), (second, 1, 3, 257), (first, 1, 1, 129)]
    kinds += [(first, 1, 0, 129), (models.slices_model(offset=1.0), 1, 140, 128)]
    sounds = [spectra(*shape, seed) for seed, (_, *shape) in enumerate(kinds)]
    together = [model.open(channels) for model, channels, *_ in kinds]
    for _ in range(2):
        noises = process_batch(together, sounds)
    for (model, channels, *_), sound, noise in zip(kinds, sounds, noises, strict=True):
        alone = model.open(channels)
        alone.process(sound)
        np.testing.assert_allclose(noise, alone.process(sound), atol=1e-6)


def test_providers_by_any_name():
    assert available_providers()["cpu"] == "CPUExecutionProvider"
    for wanted in (None, "cpu", "CPU", ["CPUExecutionProvider"], ()):
        assert checked_providers(wanted) == ("CPUExecutionProvider",)


@pytest.mark.parametrize("wanted", ["quantum", ["cpu", "QuantumExecutionProvider"], 3])
def test_a_provider_that_is_not_there_is_named_with_those_that_are(wanted):
    with pytest.raises(SordinoError, match=r"(?i)provider ('quantum|3).*choose from .*cpu"):
        load_model("default", providers=wanted)
    with pytest.raises(SordinoError, match=r"(?i)provider ('quantum|3)"):
        models.Model(models.recurrent_bytes(), "test", providers=wanted)
