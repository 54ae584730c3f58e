"""`sordino enroll` and `sordino voices`, called as people call them."""

import stat

import pytest
import soundfile

from sordino.voice import Voice
from sordino.voice.encoder import VoiceEncoder
from support import models
from support.commands import caller
from support.signals import tone
from support.voices import TiltEncoder, recordings

RATE = 16000


@pytest.fixture
def sordino(monkeypatch, capsys, voices_folder):
    """Call the command in this process: (exit code, standard output, standard error)."""
    monkeypatch.setattr(VoiceEncoder, "load", TiltEncoder)
    return caller(monkeypatch, capsys)


@pytest.mark.slow
def test_a_voice_is_enrolled_listed_compared_renamed_and_deleted(sordino, voices_folder):
    code, out, _ = sordino("enroll", *recordings("allison", 2), "--name", "me")
    path = voices_folder / "me.voice"
    assert (code, out.split(":")[0]) == (0, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "me" in sordino("voices")[1] == sordino("voices", "list")[1]
    assert sordino("voices", "similarity", "me", recordings("allison", 3)[2])[1] == "1.00\n"
    assert sordino("voices", "similarity", "me", recordings("carlo", 1)[0])[1] == "0.00\n"
    assert sordino("voices", "rename", "me", "allison")[0] == 0
    assert sordino("voices", "similarity", "allison", "allison")[1] == "1.00\n"
    assert sordino("voices", "delete", "allison")[0] == 0
    assert list(voices_folder.iterdir()) == []
    assert "no voices in" in sordino("voices")[1]


@pytest.mark.slow
def test_a_name_is_not_taken_twice_by_mistake(sordino):
    files = recordings("allison", 2)
    assert sordino("enroll", files[0], "--name", "me")[0] == 0
    before = Voice.load("me").seconds
    code, _, error = sordino("enroll", *files, "--name", "me")
    assert (code, Voice.load("me").seconds) == (2, before)
    assert "--overwrite" in error
    assert sordino("enroll", *files, "--name", "me", "--overwrite")[0] == 0
    assert Voice.load("me").seconds > before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("enroll", "--name", "me"), "there is nothing to enrol"),
        (("enroll", "x.wav"), "the voice has no name: add --name me"),
        (("enroll", "x.wav", "--name", "../me"), "cannot be called"),
        (("enroll", "x.wav", "--name", "me"), "x.wav"),
        (("voices", "delete", "me"), "no voice is called 'me'"),
        (("voices", "rename", "me", "you"), "no voice is called 'me'"),
        (("voices", "similarity", "me", "you"), "no voice is called 'me'"),
        (("denoise", "x.wav", "--voice", "me"), "no voice is called 'me'"),
        (("denoise", "x.wav", "--voice-fallback", "x"), "neither seconds nor never"),
    ],
)
def test_mistakes_are_one_line(sordino, arguments, message):
    code, out, error = sordino(*arguments)
    assert (code, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_file_is_denoised_with_one_voice_or_several(sordino, tmp_path):
    model, noisy, clean = tmp_path / "m.onnx", tmp_path / "noisy.wav", tmp_path / "clean.wav"
    model.write_bytes(models.voices_bytes())
    low, high = tone(300, RATE, 4, 0.3), tone(3000, RATE, 4, 0.3)
    soundfile.write(noisy, low + high, RATE)
    for number, name in enumerate(("me", "anna")):
        models.voice(number, name).save()
    base = ("denoise", noisy, "-o", clean, "--model", model, "--overwrite")

    def power(*options):
        assert sordino(*base, *options)[0] == 0
        return soundfile.read(clean)[0][RATE:-RATE].var()

    alone, both = low.var(), (low + high).var()
    assert power() == pytest.approx(both, rel=0.02)
    assert power("--voice", "me") == pytest.approx(alone, rel=0.02)
    assert power("--voice", "me", "--voice", "anna") == pytest.approx(both, rel=0.02)


def test_a_file_without_the_voice_says_so(sordino, tmp_path):
    model, noisy = tmp_path / "m.onnx", tmp_path / "noisy.wav"
    model.write_bytes(models.voices_bytes())
    soundfile.write(noisy, tone(3000, RATE, 4, 0.3), RATE)
    me = models.voice(0, "me").save(tmp_path / "me.voice")
    base = ("denoise", noisy, "--model", model, "--voice", me)
    _, _, told = sordino(*base, "-o", tmp_path / "1.wav", "--voice-fallback", "2")
    assert "without the enrolled voice, and everybody was kept there" in " ".join(told.split())
    _, _, told = sordino(*base, "-o", tmp_path / "2.wav", "--voice-fallback", "never")
    assert "note" not in told
