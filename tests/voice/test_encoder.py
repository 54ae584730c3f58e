"""The voice encoder: one point for one voice, at any level and rate."""

from collections import defaultdict

import numpy as np
import pytest
import soundfile as sf
import soxr

from sordino.errors import SordinoError
from sordino.examples import FOLDER
from sordino.model import available_models, read_packaged
from sordino.voice.encoder import MELS, RATE, SIZE, VoiceEncoder, filterbank
from support.signals import noise, tone


@pytest.fixture(scope="module")
def encoder() -> VoiceEncoder:
    return VoiceEncoder.load()


@pytest.fixture(scope="module")
def speech() -> dict[str, list[np.ndarray]]:
    """Two seconds and more of each bundled recording, by speaker, at 16 kHz."""
    found = defaultdict(list)
    for path in sorted((FOLDER / "train" / "speech").glob("*.opus")):
        x, rate = sf.read(path, dtype="float32")
        if len(x) >= 2 * rate:
            found[path.stem.split("-")[0]].append(soxr.resample(x, rate, RATE)[: 6 * RATE])
    return dict(found)


def test_a_shared_encoder_of_the_wheel(encoder: VoiceEncoder) -> None:
    assert VoiceEncoder.load() is encoder
    assert encoder.id.startswith("voice-encoder-")
    assert "voice-encoder" not in available_models()
    data, _ = read_packaged("voice-encoder")
    assert len(data) < 2.5e6


@pytest.mark.slow
def test_voices_are_nearer_to_themselves_than_to_others(
    encoder: VoiceEncoder, speech: dict[str, list[np.ndarray]]
) -> None:
    who = [name for name, own in speech.items() for _ in own]
    points = np.stack([encoder.embed(x, RATE) for own in speech.values() for x in own])
    assert points.shape == (len(who), SIZE)
    assert points.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-4)
    similarity = points @ points.T - 2 * np.eye(len(who))
    nearest = [who[i] for i in similarity.argmax(1)]
    assert np.mean([one == other for one, other in zip(who, nearest, strict=True)]) > 0.9
    same = np.equal.outer(who, who) & ~np.eye(len(who), dtype=bool)
    different = ~np.equal.outer(who, who)
    assert similarity[same].mean() > similarity[different].mean() + 2 * similarity[different].std()


def test_level_and_rate_make_no_difference(
    encoder: VoiceEncoder, speech: dict[str, list[np.ndarray]]
) -> None:
    x = next(iter(speech.values()))[0]
    point = encoder.embed(x, RATE)
    for gain in (1e-3, 0.1, 3.0):
        np.testing.assert_allclose(encoder.embed(x * np.float32(gain), RATE), point, atol=1e-4)
    wide = soxr.resample(x, RATE, 48000)
    assert encoder.embed(wide, 48000) @ point > 0.98


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (noise(RATE // 4, 0, 0.1), "too short"),
        (np.full(RATE, np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_voice_is_refused(
    encoder: VoiceEncoder, samples: np.ndarray, message: str
) -> None:
    with pytest.raises(SordinoError, match=message):
        encoder.embed(samples, RATE)


def test_other_files_are_refused() -> None:
    with pytest.raises(SordinoError, match="not a readable voice encoder"):
        VoiceEncoder(b"no graph", "nonsense")
    with pytest.raises(SordinoError, match="not a voice encoder"):
        VoiceEncoder(read_packaged("default")[0], "default")


def test_a_tone_is_in_the_band_of_its_pitch() -> None:
    mixture = noise(RATE, 1, 1e-4)
    mixture[RATE // 2 :] += tone(1000, RATE, 0.5, 0.1)
    bands = filterbank(mixture)
    assert bands.shape == (98, MELS)
    np.testing.assert_allclose(bands.mean(0), 0, atol=1e-3)
    loudest = int(np.argmax(bands[60:].mean(0)))
    edges = 700 * np.expm1(
        np.linspace(np.log1p(20 / 700), np.log1p(8000 / 700), MELS + 2)[loudest : loudest + 3]
    )
    assert edges[0] < 1000 < edges[2]
