"""The bundled recordings: they pair up, they are as noisy as documented, and they stay small."""

import numpy as np
import pytest
import soundfile as sf

from sordino import examples
from sordino.errors import SordinoError

SNR_DB = {"cafe_16k": 6.0, "music_44k": 5.0, "office_48k": 8.0, "phone_8k": 5.0}


def active_level(x: np.ndarray, rate: int) -> float:
    """Level in dBFS of the 10 ms frames within 40 dB of the loudest."""
    mono = x.mean(1)
    power = np.square(mono[: len(mono) // (rate // 100) * (rate // 100)])
    power = power.reshape(-1, rate // 100).mean(1)
    return float(10 * np.log10(power[power > power.max() * 1e-4].mean()))


@pytest.mark.parametrize("name", examples.names())
def test_the_clean_reference_is_the_speech_in_the_noisy_recording(name: str) -> None:
    noisy, rate = sf.read(examples.path(name), always_2d=True)
    clean, clean_rate = sf.read(examples.path(name, "clean"), always_2d=True)
    assert (clean_rate, clean.shape) == (rate, noisy.shape)
    assert 5 <= len(noisy) / rate <= 8
    assert np.abs(noisy).max() < 1, "clipped"
    noise = noisy - clean
    assert active_level(clean, rate) - active_level(noise, rate) == pytest.approx(
        SNR_DB[name], abs=0.5
    )
    # What is left after the reference is taken away holds none of it: aligned and in scale.
    correlation = np.vdot(noise, clean) / np.linalg.norm(noise) / np.linalg.norm(clean)
    assert abs(correlation) < 0.05


def test_rates_cover_native_and_resampled_ones_mono_and_stereo() -> None:
    shapes = {(sf.info(p).samplerate, sf.info(p).channels) for p in map(examples.path, SNR_DB)}
    assert shapes == {(8000, 1), (16000, 1), (44100, 2), (48000, 1)}


@pytest.mark.slow
def test_training_clips_hold_sound() -> None:
    clips = [p for p in (examples.FOLDER / "train").rglob("*") if p.suffix in {".opus", ".flac"}]
    assert {p.parent.name for p in clips} == {"speech", "noise", "rir"}
    for clip in clips:
        x, _ = sf.read(clip)
        assert np.isfinite(x).all()
        assert np.abs(x).max() > 0.4


def test_the_folder_stays_small() -> None:
    size = sum(p.stat().st_size for p in examples.FOLDER.rglob("*") if p.is_file())
    assert size < 3e6


def test_every_recording_is_documented() -> None:
    text = (examples.FOLDER / "README.md").read_text()
    assert all(f"`{name}`" in text for name in examples.names())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SordinoError, match="office_48k"):
        examples.path("nonesuch")
