from dataclasses import replace

import pytest

from sordino.benchmark import BenchResult, bench, processor
from sordino.errors import SordinoError
from support import models

RESULT = BenchResult("default", 48000, 10, "a processor", 0.02, 0.03, 0.2, 0.4, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_bench_measures(sample_rate):
    result = bench(models.recurrent(), sample_rate, seconds=1)
    assert result.model == "test"
    assert result.sample_rate == sample_rate
    assert 0 < result.step_p50_ms <= result.step_p99_ms
    assert result.step_p50_ms / 10 < 2 * result.live
    assert result.file > 0
    assert 0.02 <= result.latency < 0.1
    assert processor() == result.processor != ""


def test_verdict_in_words():
    assert RESULT.verdict.startswith("fits: uses 3.0 % of one core")
    assert "50 x real time" in RESULT.verdict
    assert replace(RESULT, live=0.7).verdict.startswith("tight")
    assert replace(RESULT, step_p99_ms=12).verdict.startswith("tight")
    assert replace(RESULT, live=1.7).verdict.startswith("too slow for live use: needs 170.0 %")
    assert replace(RESULT, latency=1.03).verdict.startswith("for files only")


@pytest.mark.slow
def test_the_proof_of_concept_is_for_files():
    assert "for files only" in bench(models.slices_model(), 8000, seconds=1).verdict


def test_too_short():
    with pytest.raises(SordinoError, match="too short"):
        bench(models.recurrent(), seconds=0.5)
