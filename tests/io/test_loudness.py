"""Loudness by EBU R 128, with the true peak held."""

import numpy as np
import pytest
import soundfile

from sordino.batch.process import denoise_file
from sordino.batch.track import DenoiseSettings
from sordino.errors import SordinoError
from sordino.io.formats import SoundInfo
from sordino.io.loudness import LoudnessMeter
from support import models
from support.media import lag, sound_of, write_video
from support.signals import tone


def measured(samples, rate):
    """Gain to -23 LUFS as a level: the loudness of a sound."""
    meter = LoudnessMeter(SoundInfo(rate, samples.shape[1], "FLOAT"))
    for start in range(0, len(samples), 7000):
        meter.feed(samples[start : start + 7000])
    gain, _ = meter.gain_to(-60)  # far down, so that no peak is in the way
    return -60 - 20 * np.log10(gain)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_tone_has_the_loudness_of_the_standard(rate):
    """EBU Tech 3341, case 1: 1 kHz at -23 dBFS in both channels is -23 LUFS."""
    both = np.stack([tone(1000, rate, 20, 10 ** (-23 / 20))] * 2, 1)
    assert measured(both, rate) == pytest.approx(-23, abs=0.1)


def settings(loudness):
    return DenoiseSettings(models.constant_mask(0.0), loudness=loudness)


def test_the_output_has_the_loudness_that_was_asked_for(tmp_path):
    quiet = np.stack([tone(1000, 16000, 6, 0.02)] * 2, 1)
    soundfile.write(tmp_path / "in.wav", quiet, 16000, "FLOAT")
    report = denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", settings(-16))
    assert report.notes == ()
    loud, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert measured(loud, 16000) == pytest.approx(-16, abs=0.1)
    assert lag(quiet, loud) == 0


def test_peaks_are_held(tmp_path):
    spiky = 0.001 * np.random.default_rng(0).standard_normal((6 * 16000, 1))
    spiky[::8000] = 0.7
    soundfile.write(tmp_path / "in.wav", spiky, 16000, "FLOAT")
    report = denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", settings(-16))
    assert "more would lift its peaks above -1 dBTP" in report.notes[0]
    peak = np.abs(soundfile.read(tmp_path / "out.wav")[0]).max()
    assert 20 * np.log10(peak) <= -0.9


def test_silence_is_left_as_it_is(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.zeros(16000), 16000)
    report = denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", settings(-16))
    assert "too quiet or too short" in report.notes[0]


@pytest.mark.slow
def test_each_track_of_a_video_gets_its_loudness(tmp_path):
    write_video(tmp_path / "in.mkv", "ffv1", "flac", seconds=4, tracks=2)
    denoise_file(tmp_path / "in.mkv", tmp_path / "out.mkv", settings(-30))
    for track in (0, 1):
        assert measured(sound_of(tmp_path / "out.mkv", track)[1], 48000) == pytest.approx(
            -30, abs=0.2
        )


def test_values_out_of_range_and_pipes_are_refused(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.zeros(16000), 16000)
    with pytest.raises(SordinoError, match="loudness of 3 LUFS is out of range"):
        denoise_file(tmp_path / "in.wav", settings=settings(3))
    with pytest.raises(SordinoError, match="give a file, not a pipe"):
        denoise_file((tmp_path / "in.wav").read_bytes(), tmp_path / "o.wav", settings(-16))
