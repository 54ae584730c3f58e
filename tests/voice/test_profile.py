"""Profiles: what is in a file, who can read it, and how the saved ones are kept in order."""

import json
import logging
import pickle
import stat

import numpy as np
import pytest

from sordino import voice as voices
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.voice import Voice
from support import models
from support.voices import TiltEncoder, recording


@pytest.fixture(autouse=True)
def folder(voices_folder):
    return voices_folder


@pytest.fixture
def me():
    return Voice(models.voice(0).embedding, "tilt", "me", 12.3)


def test_a_profile_comes_back_as_it_was_saved(me, folder):
    path = me.save()
    assert path == folder / "me.voice"
    for each in (Voice.load("me"), Voice.load(path), Voice.load(str(path))):
        np.testing.assert_array_equal(each.embedding, me.embedding)
        assert (each.name, each.encoder, each.seconds) == ("me", "tilt", 12.3)


def test_only_its_owner_can_read_a_profile(me, folder, tmp_path):
    for path in (me.save(), me.save(tmp_path / "elsewhere.voice")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_profile_holds_a_few_hundred_numbers_and_no_sound(me):
    data = me.save().read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = header.pop("__metadata__")
    assert list(header) == ["embedding"]
    assert header["embedding"]["shape"] == [192]
    assert about.keys() == {"format", "version", "encoder", "name", "seconds"}
    assert len(data) < 1500


def test_a_recording_becomes_a_profile_that_works_at_once():
    profile = Voice.enroll(recording("carlo", 8), "carlo", TiltEncoder())
    assert profile.similarity(models.voice(0)) > 0.9
    denoiser = Denoiser(models.voices_model(), 16000, voice=profile)
    assert denoiser.voices == (profile,)


def test_profiles_are_listed_renamed_and_deleted(me, folder):
    assert voices.saved_voices() == {}
    me.save()
    Voice(me.embedding, "tilt", "Ängström").save()
    assert list(voices.saved_voices()) == ["me", "Ängström"]
    voices.rename_voice("me", "I")
    assert Voice.load("I").name == "I"
    assert list(voices.saved_voices()) == ["I", "Ängström"]
    with pytest.raises(SordinoError, match="called 'Ängström' already"):
        voices.rename_voice("I", "Ängström")
    voices.delete_voice("I")
    voices.delete_voice("Ängström")
    assert list(folder.iterdir()) == []
    with pytest.raises(SordinoError, match="no voice is called 'I'"):
        voices.delete_voice("I")


@pytest.mark.parametrize(
    "name", ["", "../me", "a/b", ".me", "auto", "none", "a\nb", "x" * 65, "me.voice", " me"]
)
def test_names_that_could_harm_are_refused(me, name):
    with pytest.raises(SordinoError, match=r"name|called"):
        Voice(me.embedding, "tilt", name).save()


def test_what_is_no_profile_is_refused(me, tmp_path):
    path = me.save()
    data = path.read_bytes()
    damaged = {
        "cut": data[:-4],
        "sound": b"RIFF" + bytes(100),
        "empty": b"",
        "zeros": data[:-768] + bytes(768),
    }
    for name, content in damaged.items():
        other = tmp_path / f"{name}.voice"
        other.write_bytes(content)
        with pytest.raises(SordinoError, match=f"{name}.voice is"):
            Voice.load(other)
    newer = tmp_path / "newer.voice"
    newer.write_bytes(data.replace(b'"version":"1"', b'"version":"2"'))
    with pytest.raises(SordinoError, match="newer than this version"):
        Voice.load(newer)
    with pytest.raises(SordinoError, match="cannot read the voice"):
        Voice.load(tmp_path / "missing.voice")
    with pytest.raises(SordinoError, match="no voice is called 'anna'"):
        Voice.load("anna")


def test_profiles_of_different_encoders_are_not_compared(me):
    assert me.similarity(models.voice(0)) == pytest.approx(1)
    assert me.similarity(models.voice(1)) == pytest.approx(0)
    other = Voice(me.embedding, "another", "anna")
    with pytest.raises(SordinoError, match="enrol both again"):
        me.similarity(other)
    with pytest.raises(SordinoError, match="enrol both again"):
        Denoiser(models.voices_model(), voice=[me, other])


def test_a_profile_of_another_encoder_than_the_models_is_refused(me):
    other = Voice(me.embedding, "another", "me")
    with pytest.raises(SordinoError, match="knows voices by tilt: enrol again"):
        Denoiser(models.voices_model(), voice=other)


def test_a_text_carries_the_voice_and_not_the_name(me):
    text = me.to_text()
    again = Voice.from_text(text)
    np.testing.assert_array_equal(again.embedding, me.embedding)
    assert (again.encoder, again.name) == ("tilt", "")
    for wrong in ("somebody", "", text[:-8], text + "!", "e:" + "A" * 1024):
        with pytest.raises(SordinoError, match="no voice profile"):
            Voice.from_text(wrong)


def test_the_numbers_are_in_no_log(me, caplog, capsys):
    """Not even where somebody logs a profile or a denoiser by mistake."""
    with caplog.at_level(logging.DEBUG):
        denoiser = Denoiser(models.voices_model(), 16000, voice=me)
        denoiser.feed(np.zeros(1600, np.float32))
        logging.getLogger("test").debug("%r %s %r", me, me, denoiser)
        print(me)
    told = caplog.text + "".join(capsys.readouterr())
    assert "me" in told
    assert "embedding" not in told
    assert "array" not in told


def test_a_denoiser_with_a_voice_can_be_pickled(me):
    denoiser = Denoiser(models.voices_model(), 16000, voice=me, others_db=20, voice_fallback=None)
    again = pickle.loads(pickle.dumps(denoiser))
    np.testing.assert_array_equal(again.voices[0].embedding, me.embedding)
    sound = 0.1 * np.random.default_rng(0).standard_normal(1600).astype(np.float32)
    np.testing.assert_array_equal(again.feed(sound), denoiser.feed(sound))
