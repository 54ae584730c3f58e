from dataclasses import replace

import numpy as np
import pytest

from sordino.evaluate.conditions import (
    AS_IS,
    CHECKS,
    CLEAN,
    LOUD,
    NOISE,
    QUIET,
    SILENCE,
    TELEPHONE,
    UNMUTED,
    WARM,
    WHOLE_CLIP,
    Condition,
    Goal,
)
from sordino.evaluate.dataset import Clip
from sordino.evaluate.results import RecordKey
from support.evaluation import report
from support.signals import level_db, noise, tone

RATE = 16000
SPEECH, HISS = tone(300, RATE), noise(RATE, level=0.01)


def apply(condition):
    return condition.apply(SPEECH, SPEECH + HISS, RATE)


def test_a_set_as_it_is_is_left_alone():
    clean, noisy, gain, _ = apply(AS_IS)
    assert clean is SPEECH
    np.testing.assert_array_equal(noisy, SPEECH + HISS)
    assert gain == 1
    assert AS_IS.name == ""


@pytest.mark.parametrize("condition", [QUIET, LOUD, Condition(level_dbfs=-30)])
def test_a_level_is_reached_and_the_references_stay(condition):
    clean, noisy, gain, _ = apply(condition)
    assert level_db(gain * noisy) == pytest.approx(condition.level_dbfs, abs=1e-3)
    assert clean is SPEECH
    np.testing.assert_array_equal(noisy, SPEECH + HISS)


def test_a_telephone_cuts_off_speech_and_noise_alike():
    high = SPEECH + tone(6000, RATE)
    clean, noisy, gain, _ = TELEPHONE.apply(high, high + HISS, RATE)
    for x in (clean, noisy):
        power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
        assert len(x) == len(high)
        assert power[4100:].sum() < 1e-6 * power.sum()
        assert power[290:310].sum() > 0.9 * power.sum()
    assert gain == 1
    narrow = Condition(band_hz=8000).apply(SPEECH, SPEECH, RATE)
    assert narrow.noisy is SPEECH  # nothing lies above


def test_speech_alone_noise_alone_and_silence():
    assert apply(CLEAN).noisy is SPEECH
    clean, noisy, *_ = apply(NOISE)
    assert clean is None
    np.testing.assert_allclose(noisy, HISS, atol=1e-6)
    assert not apply(SILENCE).noisy.any()


def test_an_unmuted_microphone_was_silent_before_and_that_is_not_scored():
    stimulus = replace(UNMUTED, muted_seconds=2, level_dbfs=-30).apply(SPEECH, SPEECH + HISS, RATE)
    given = stimulus.given
    assert len(given) == 2 * RATE + len(SPEECH)
    assert not given[: 2 * RATE].any()
    assert level_db(given[2 * RATE :]) == pytest.approx(-30, abs=1e-3)
    np.testing.assert_allclose(stimulus.undo(given), SPEECH + HISS, atol=1e-6)
    assert UNMUTED.name == "after 20 s of silence"


@pytest.mark.parametrize("seconds", [1, WHOLE_CLIP])
def test_a_warm_start_has_a_warm_up_that_is_not_scored(seconds):
    stimulus = replace(WARM, warm_up_seconds=seconds, level_dbfs=-30).apply(
        SPEECH, SPEECH + HISS, RATE
    )
    first, second = np.split(stimulus.given, 2)
    np.testing.assert_array_equal(first, second)
    assert level_db(second) == pytest.approx(-30, abs=1e-3)
    np.testing.assert_allclose(stimulus.undo(stimulus.given), SPEECH + HISS, atol=1e-6)
    assert WARM.name == "5 s of warm-up"


def test_the_noise_of_reverberant_clips_is_no_noise_alone(tmp_path):
    dry, wet = (Clip("a", tmp_path, tmp_path, {"room": room}) for room in ("", "hall"))
    lone = Clip("a", tmp_path, None)
    assert [NOISE.fits(clip) for clip in (dry, wet, lone)] == [True, False, False]
    assert [CLEAN.fits(clip) for clip in (dry, wet, lone)] == [True, True, False]
    assert all(SILENCE.fits(clip) for clip in (dry, wet, lone))


def test_a_change_is_taken_clip_by_clip():
    check = Goal(QUIET, "pesq", -0.05, 0.05, change=True)
    records = {
        RecordKey("s", "a"): {"pesq": 1.0},
        RecordKey("s", "b"): {"pesq": 3.0},
        RecordKey("s", "a", QUIET.name): {"pesq": 1.2},
        RecordKey("s", "b", QUIET.name): {"pesq": 3.0},
        RecordKey("s", "c", QUIET.name): {"pesq": 4.0},
    }
    result = check.result(records, "s")
    assert result.mean == pytest.approx(0.1)
    assert result.files == 2
    assert not check.holds(result.mean)
    assert check.holds(-0.05)
    assert check.result(records, "other") is None


@pytest.mark.slow
def test_one_command_prints_every_check(dataset, half):
    checks = report(dataset, "--model", half, "--metrics", "pesq", "--conditions")["checks"]
    assert len(checks) == 2 * len(CHECKS)
    found = {(c["system"], c["condition"]): c for c in checks}
    assert found["half", "-50 dBFS"]["mean"] == pytest.approx(0, abs=0.01)
    assert found["half", "-6 dBFS"]["mean"] == pytest.approx(0, abs=0.01)
    assert found["half", "up to 4 kHz"]["mean"] == pytest.approx(6.02, abs=0.1)
    assert found["half", "up to 4 kHz"]["holds"] is False
    assert found["noisy", "clean only"]["mean"] == pytest.approx(4.64, abs=0.01)
    assert found["noisy", "clean only"]["holds"] is True
    assert found["noisy", "clean only, 5 s of warm-up"]["mean"] == pytest.approx(4.64, abs=0.01)
    assert found["half", "noise only"]["mean"] == pytest.approx(6.02, abs=0.01)
    assert found["half", "silence only"]["mean"] == -120
    assert found["half", "silence only"]["holds"] is True


@pytest.mark.slow
def test_a_whole_set_may_have_a_warm_up(dataset):
    call = (dataset, "--model", "small", "--metrics", "pesq")
    first, second = report(*call), report(*call, "--warm-up", 1)
    assert second["condition"] == "1 s of warm-up"
    assert second["systems"]["noisy"]["pesq"] == first["systems"]["noisy"]["pesq"]
    assert second["systems"]["small"]["pesq"] != first["systems"]["small"]["pesq"]


def test_a_level_and_a_band_may_be_asked_for(dataset, half):
    call = (dataset, "--model", half, "--metrics", "out_dbfs,sisdr")
    plain = report(*call)
    quiet = report(*call, "--level", -50, "--band", 4000)
    assert quiet["condition"] == "-50 dBFS, up to 4 kHz"
    ours = quiet["systems"]["half"]["out_dbfs"]["mean"]
    assert ours < plain["systems"]["half"]["out_dbfs"]["mean"] - 1  # the upper band is gone
    assert ours > -40  # and the level is brought back
