import json
from hashlib import sha256

import numpy as np
import pytest

from sordino import model as model_module
from sordino.errors import SordinoError
from sordino.model import Model, ModelInfo, available_models, load_model
from support import models


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of packaged weights with two models in it."""
    registry = {}
    for name, data in {
        "tiny": models.recurrent_bytes(),
        "default": models.constant_mask_bytes(),
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(data)
        (tmp_path / f"{name}.md").write_text(f"# {name}")
        registry[name] = {
            "file": f"{name}.onnx",
            "sha256": sha256(data).hexdigest(),
            "summary": "a test",
            "kind": "noise-mask",
        }
    (tmp_path / "registry.json").write_text(json.dumps(registry))
    monkeypatch.setattr(model_module, "_WEIGHTS", tmp_path)
    return tmp_path


def assert_one_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > 20


def test_metadata():
    info = models.recurrent().info
    assert isinstance(info, ModelInfo)
    assert info.native_rates == (8000, 16000, 24000, 48000)
    assert info.states == {"hidden": (8,), "past": (1, 128)}
    assert info.voice_size == 192
    with pytest.raises(AttributeError):
        info.name = "another"


@pytest.mark.parametrize("bins", [129, 257, 385, 769])
@pytest.mark.parametrize("batch", [1, 3])
def test_frames_at_once_equal_frames_one_by_one(bins, batch):
    model = models.recurrent()
    spectrum = np.random.default_rng(0).standard_normal((batch, 20, bins, 2), np.float32)
    voice = np.zeros((batch, 192), np.float32)
    whole = model.run(spectrum, voice, model.initial_state(batch))
    assert whole.mask.shape == spectrum.shape
    assert whole.speech.shape == (batch, 20)
    state = model.initial_state(batch)
    for t in range(20):
        step = model.run(spectrum[:, t : t + 1], voice, state)
        state = step.state
        np.testing.assert_allclose(step.mask[:, 0], whole.mask[:, t], atol=1e-6)
    for name, value in whole.state.items():
        np.testing.assert_allclose(state[name], value, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 7, 40])
def test_digital_silence_is_not_heard(channels, frames):
    """What a channel is given around digital silence comes out as if there were none."""
    model = models.recurrent()
    rng = np.random.default_rng(channels)
    heard = rng.random((channels, 40)) < 0.7
    heard[:, 20:26] = False
    spectrum = rng.standard_normal((channels, 40, 129, 2), np.float32) * heard[..., None, None]
    voice = np.zeros((channels, 192), np.float32)
    state = model.initial_state(channels)
    masks, speeches = [], []
    for block in np.split(spectrum, range(frames, 40, frames), axis=1):
        step = model.run(block, voice, state)
        masks.append(step.mask.copy())
        speeches.append(step.speech.copy())
        state = step.state
    mask, speech = np.concatenate(masks, 1), np.concatenate(speeches, 1)
    assert not mask[~heard].any()
    assert not speech[~heard].any()
    for channel in range(channels):
        rows, kept = slice(channel, channel + 1), heard[channel]
        alone = model.run(spectrum[rows, kept], voice[rows], model.initial_state(1))
        np.testing.assert_allclose(mask[channel, kept], alone.mask[0], atol=1e-5)
        np.testing.assert_allclose(speech[channel, kept], alone.speech[0], atol=1e-5)
        for name, values in alone.state.items():
            np.testing.assert_allclose(state[name][rows], values, atol=1e-5)


def test_packaged_models(weights):
    assert list(available_models()) == ["default", "tiny"]
    entry = available_models()["tiny"]
    assert entry.card == "# tiny"
    assert load_model("tiny").sha256 == entry.sha256


def test_a_model_is_loaded_once(weights):
    assert load_model("tiny") is load_model(weights / "tiny.onnx")
    assert load_model("tiny") is load_model(str(weights / "tiny.onnx"))
    assert load_model("tiny") is not load_model("default")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""]
)
def test_damaged_packaged_weights(weights, damage):
    path = weights / "tiny.onnx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SordinoError, match=r"damaged .*reinstall") as error:
        load_model("tiny")
    assert_one_line(error)


def test_missing_packaged_weights(weights):
    (weights / "tiny.onnx").unlink()
    with pytest.raises(SordinoError, match="missing") as error:
        load_model("tiny")
    assert_one_line(error)
    (weights / "registry.json").unlink()
    with pytest.raises(SordinoError, match="reinstall") as error:
        load_model("tiny")
    assert_one_line(error)


def test_unknown_name_lists_the_known(weights):
    with pytest.raises(SordinoError, match=r"'huge'.*default, tiny") as error:
        load_model("huge")
    assert_one_line(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable ONNX"),
        (b"not a model at all", "not a readable ONNX"),
        (models.recurrent_bytes()[:3000], "not a readable ONNX"),
        (models.constant_mask_bytes(metadata=None), "not one of Sordino's"),
        (models.constant_mask_bytes(metadata={**models.METADATA, "format": 5}), "newer"),
        (models.constant_mask_bytes(metadata={**models.METADATA, "kind": "vocoder"}), "vocoder"),
        (
            models.constant_mask_bytes(metadata={**models.METADATA, "native_rates": [44100]}),
            "44100",
        ),
        (models.constant_mask_bytes(metadata={**models.METADATA, "hop_seconds": 0.02}), "hop"),
        (models.constant_mask_bytes(metadata={"format": 1}), "metadata"),
        (models.constant_mask_bytes(metadata={**models.METADATA, "states": {"h": [4]}}), "state.h"),
        (
            models.constant_mask_bytes(metadata={**models.METADATA, "kind": "slice-magnitude"}),
            "noisy_db",
        ),
    ],
)
def test_files_that_are_no_models(tmp_path, data, message):
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(SordinoError, match=message) as error:
        load_model(path)
    assert_one_line(error)
    assert "bad.onnx" in str(error.value)


def test_no_such_file(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(SordinoError, match="cannot read") as error:
            load_model(path)
        assert_one_line(error)


def test_two_models_differ():
    assert (
        Model(models.recurrent_bytes(0), "a").sha256 != Model(models.recurrent_bytes(1), "b").sha256
    )
