"""Enrolment: good recordings make a profile, and each kind of bad one is told apart."""

import numpy as np
import pytest
import soundfile

from sordino.errors import SordinoError
from sordino.voice.enrolment import enrol, voice_similarity
from support.signals import noise
from support.voices import TiltEncoder, recording, recordings

ENCODER = TiltEncoder()


@pytest.fixture(scope="module")
def allison():
    return recording("allison", 12)


@pytest.mark.slow
def test_files_and_samples_are_taken(allison, tmp_path):
    sound, rate = allison
    stereo = tmp_path / "me.wav"
    soundfile.write(stereo, np.stack([0 * sound, sound], 1), rate)
    from_file, from_samples = enrol([stereo], ENCODER), enrol([allison], ENCODER)
    assert from_samples.encoder == "tilt"
    assert 6 < from_samples.seconds <= 12
    assert from_file.seconds == pytest.approx(from_samples.seconds, abs=0.5)
    assert np.linalg.norm(from_samples.embedding) == pytest.approx(1, abs=1e-6)
    assert from_file.embedding @ from_samples.embedding > 0.99


@pytest.mark.slow
def test_several_recordings_are_averaged():
    files = recordings("allison", 3)
    one, three = enrol(files[:1], ENCODER), enrol(files, ENCODER)
    assert three.seconds > 1.5 * one.seconds


def test_the_louder_channel_counts_whatever_the_rate(allison):
    sound, rate = allison
    quiet = 0.01 * noise(len(sound))
    assert enrol([(np.stack([quiet, sound], 1), rate)], ENCODER).seconds > 6


def test_two_people_are_refused():
    both = [*recordings("allison", 2), *recordings("carlo", 2)]
    with pytest.raises(SordinoError, match="more than one voice"):
        enrol(both, ENCODER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:24000], "only .* s of speech: 3 s are needed"),
        (lambda x: np.clip(50 * x, -1, 1), "clipped"),
        (lambda x: 1e-4 * x, "too quiet"),
        (lambda x: 0 * x, "no speech"),
        (lambda x: noise(len(x)), "no speech"),
        (lambda x: x[:0], "no speech"),
        (lambda x: np.where(np.arange(len(x)) == 9, np.nan, x), "NaN or Inf"),
        (lambda x: np.tile(x, 30), "longer than 300 s"),
    ],
)
def test_bad_recordings_say_what_to_mend(allison, change, message):
    sound, rate = allison
    with pytest.raises(SordinoError, match=message):
        enrol([(change(sound).astype(np.float32), rate)], ENCODER)


def test_what_is_no_recording_is_told_by_its_name(tmp_path):
    text = tmp_path / "me.wav"
    text.write_text("hello")
    for path in (text, tmp_path / "missing.wav"):
        with pytest.raises(SordinoError, match=path.name):
            enrol([path], ENCODER)
    with pytest.raises(SordinoError, match="at least one"):
        enrol([], ENCODER)


def test_the_two_most_different_groups_are_compared():
    rng = np.random.default_rng(0)

    def person(n):
        around = rng.standard_normal(192) + 0.5 * rng.standard_normal((n, 192))
        return (around / np.linalg.norm(around, axis=1, keepdims=True)).astype(np.float32)

    first, second = person(5), person(2)
    assert voice_similarity(first) > 0.7
    assert voice_similarity(np.concatenate([first, second])) < 0.3
