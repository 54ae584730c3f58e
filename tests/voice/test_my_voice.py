"""One's own voice from end to end: a recording, a profile, the packaged encoder and model."""

import numpy as np
import pytest

import sordino
from sordino.denoiser import Denoiser
from sordino.voice import Voice
from support.signals import level_db
from support.voices import recording, recordings


@pytest.fixture(scope="module")
def voices() -> dict[str, Voice]:
    """Profiles of the two bundled people, from three recordings each."""
    return {person: Voice.enroll(recordings(person)) for person in ("allison", "carlo")}


@pytest.mark.slow
def test_a_profile_is_of_its_person(voices):
    for person, voice in voices.items():
        later = [Voice.enroll(recordings(person, 6)[3:])]
        others = [other for name, other in voices.items() if name != person]
        own, strange = voice.similarity(later[0]), voice.similarity(others[0])
        assert own > strange + 0.2, (person, own, strange)


@pytest.mark.slow
def test_the_model_knows_whether_the_enrolled_voice_speaks(voices):
    sound, rate = recording("allison", 8.0)
    heard = {}
    for person, voice in voices.items():
        denoiser = Denoiser(sample_rate=rate, voice=voice, voice_fallback=None)
        target = []
        for start in range(0, len(sound), rate // 10):
            denoiser.feed(sound[start : start + rate // 10])
            target.append(denoiser.target_probability)
        heard[person] = np.mean(target[20:])
    assert heard["allison"] > heard["carlo"]


def test_the_enrolled_voice_stays(voices):
    sound, rate = recording("carlo", 6.0)
    kept = sordino.denoise(sound, rate, voice=voices["carlo"])
    assert kept.shape == sound.shape
    assert level_db(kept) > level_db(sound) - 2


def test_a_profile_in_use_leaves_others_with_the_default_model(voices):
    sound, rate = recording("carlo", 2.0)
    before = sordino.denoise(sound, rate)
    alone = sordino.denoise(sound, rate, voice=voices["carlo"])
    assert not np.array_equal(alone, before)
    assert np.array_equal(sordino.denoise(sound, rate), before)
    assert Denoiser().model.info.name == "default"
    assert Denoiser(voice=voices["carlo"]).model.info.name == "default-voice"
