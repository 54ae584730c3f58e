import re
import subprocess
import sys

import numpy as np
import pesq
import pystoi
import pytest

from sordino.errors import SordinoError, install_command
from sordino.evaluate import ALL, score, scores
from sordino.evaluate.metrics import resample
from support.evaluation import example
from support.signals import noise


def test_score_equals_the_libraries():
    clean, noisy, rate = example("cafe_16k.flac")
    row = score(clean, noisy, noisy, rate, ("pesq", "stoi", "estoi"))
    assert row["pesq"] == pesq.pesq(rate, clean, noisy, "wb")
    assert row["stoi"] == pytest.approx(pystoi.stoi(clean, noisy, rate))
    assert row["estoi"] == pytest.approx(pystoi.stoi(clean, noisy, rate, extended=True))


def test_score_takes_latency_and_rate_out():
    clean, noisy, rate = example("office_48k.flac")
    late = np.pad(noisy, (960, 0))
    row = score(clean, noisy, late, rate, ("sisdr", "lag", "nr_db"))
    assert row["lag"] == 320
    assert row["nr_db"] == pytest.approx(0, abs=0.05)
    assert row["sisdr"] == pytest.approx(
        score(clean, noisy, noisy, rate, ["sisdr"])["sisdr"], abs=0.01
    )


@pytest.mark.slow
def test_clean_speech_scores_best_and_silence_worst():
    clean, noisy, rate = example("cafe_16k.flac")
    best = score(clean, noisy, clean, rate, ("pesq", "stoi", "att_db"))
    assert best == pytest.approx({"pesq": 4.64, "stoi": 1, "att_db": 0}, abs=0.01)
    worst = score(clean, noisy, 0 * noisy, rate, ALL)
    assert worst["pesq"] < 1.1
    assert worst["sisdr"] == -60
    assert all(np.isfinite(value) for value in worst.values())


def test_a_silent_reference_leaves_its_measures_undefined():
    x = noise(16000)
    row = score(0 * x, x, x / 10, 16000, ("pesq", "stoi", "sisdr", "nr_db", "level_db"))
    assert np.isnan([row[name] for name in ("pesq", "stoi", "sisdr", "nr_db")]).all()
    assert row["level_db"] == pytest.approx(20, abs=0.01)


@pytest.mark.slow
def test_without_a_reference_only_what_needs_none_is_measured():
    _, noisy, rate = example("phone_8k.flac")
    row = score(None, noisy, noisy / 2, rate, ALL)
    assert list(row) == ["sig", "bak", "ovrl", "p808", "level_db", "pause_db", "out_dbfs"]
    assert row["level_db"] == pytest.approx(6.02, abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, n: (c[:-1], n, n), "samples"),
        (lambda c, n: (c, n, np.full_like(n, np.nan)), "NaN"),
        (lambda c, n: (c, n, np.stack([n, n])), "shape"),
        (lambda c, n: (c[:100], n[:100], n[:100]), "under 0.5 s"),
    ],
)
def test_signals_that_do_not_fit_are_refused(change, message):
    x = noise(16000)
    with pytest.raises(SordinoError, match=message):
        score(*change(x, x), 16000)


def test_unknown_measures_and_missing_libraries_are_named(monkeypatch):
    x = noise(16000)
    with pytest.raises(SordinoError, match="Unknown measure 'loudness'"):
        score(x, x, x, 16000, ["loudness"])
    monkeypatch.setattr(scores, "LIBRARIES", ("a_library_nobody_has",))
    with pytest.raises(SordinoError, match=re.escape(install_command("evaluate"))):
        score(x, x, x, 16000)


@pytest.mark.slow
def test_narrowband_pesq_equals_the_library_and_does_not_mind_the_telephone():
    clean, noisy, rate = example("phone_8k.flac")
    row = score(clean, noisy, noisy, rate, ["pesq_nb", "pesq"])
    assert row["pesq_nb"] == pytest.approx(pesq.pesq(rate, clean, noisy, "nb"), abs=0.02)
    clean, _, rate = example("cafe_16k.flac")
    narrow = resample(resample(clean, rate, 8000), 8000, rate)
    row = score(clean, narrow, narrow, rate, ["pesq_nb", "pesq"])
    assert row["pesq_nb"] > 4.4
    assert row["pesq"] < row["pesq_nb"] - 0.2
    assert score(clean, clean, 0 * clean, rate, ["pesq_nb"])["pesq_nb"] < 1.02


def test_spectral_distance_is_told_by_band():
    x = noise(32000)
    dull = resample(resample(x, 16000, 8000), 8000, 16000)
    row = score(x, x, dull, 16000, ["lsd_0k_db", "lsd_1k_db", "lsd_4k_db", "lsd_db"])
    assert row["lsd_0k_db"] < 0.5
    assert row["lsd_1k_db"] < row["lsd_db"] < row["lsd_4k_db"]
    assert row["lsd_4k_db"] > 20


# 70 utterances of half a second: the C code of PESQ has room for 50.
MANY_UTTERANCES = """
import numpy as np
from sordino.evaluate.scores import pesq_nb, pesq_wb

rng = np.random.default_rng(0)
clean = 0.1 * rng.standard_normal(70 * 16000).astype(np.float32)
clean *= np.arange(len(clean)) % 16000 < 8000
noisy = clean + 0.01 * rng.standard_normal(len(clean)).astype(np.float32)
print(pesq_wb(clean, noisy), pesq_nb(clean, noisy))
"""


@pytest.mark.slow
def test_pesq_survives_more_utterances_than_its_code_has_room_for():
    done = subprocess.run(
        [sys.executable, "-c", MANY_UTTERANCES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(1 < float(value) < 4.7 for value in done.stdout.split())


@pytest.mark.slow
def test_pesq_of_a_long_clip_is_the_mean_of_its_parts():
    rate, levels = 16000, (0.003, 0.005, 0.01)
    clean, _, _ = example("cafe_16k.flac")
    clean = np.resize(clean, 9 * rate)
    # 10 s each, with silence on both sides, so that cuts between parts fall there.
    speech = [np.pad(clean, rate // 2)] * 3
    parts = [
        (x, x + noise(len(x), seed, level))
        for x, seed, level in zip(speech, range(3), levels, strict=True)
    ]
    whole, noisy = (np.concatenate(each) for each in zip(*parts, strict=True))
    expected = [pesq.pesq(rate, x, y, "wb") for x, y in parts]
    assert expected[0] > expected[2] + 0.5
    found = score(whole, noisy, noisy, rate, ["pesq"])["pesq"]
    assert found == pytest.approx(np.mean(expected), abs=0.03)


def test_parts_without_speech_do_not_count_in_pesq():
    rate = 16000
    clean, _, _ = example("cafe_16k.flac")
    clean = np.resize(clean, 10 * rate)
    noisy = clean + noise(len(clean), level=0.01)
    expected = score(clean, noisy, noisy, rate, ["pesq"])["pesq"]
    pause = noise(20 * rate, 1, 0.01)
    whole, with_pause = np.pad(clean, (0, len(pause))), np.concatenate([noisy, pause])
    found = score(whole, with_pause, with_pause, rate, ["pesq"])["pesq"]
    assert found == pytest.approx(expected, abs=0.05)
