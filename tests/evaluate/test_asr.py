import numpy as np
import pytest

from sordino.evaluate.asr import word_error_rate, word_errors
from support.evaluation import example, report

SAID = (
    "And Mr. John Dashwood had then leisure to consider how much there might prudently be in "
    "his power to do for them."
)


def test_errors_are_words_changed_left_out_and_put_in():
    said = ["the", "cat", "sat", "on", "the", "mat"]
    assert word_errors(said, said) == 0
    assert word_errors(said, []) == 6
    assert word_errors(said, ["the", "cat", "on", "the", "red", "hat"]) == 3
    assert word_errors([], ["a"]) == 1


@pytest.mark.slow
def test_clean_speech_is_understood_and_silence_is_not():
    pytest.importorskip("pocketsphinx")
    clean, _, rate = example("cafe_16k.flac")
    assert rate == 16000
    assert word_error_rate(SAID, clean) < 0.5
    assert word_error_rate(SAID, np.zeros(rate, np.float32)) == 1
    assert np.isnan(word_error_rate("...", clean[:rate]))


@pytest.mark.slow
def test_a_transcript_in_the_table_makes_the_command_count(dataset, half):
    pytest.importorskip("pocketsphinx")
    (dataset / "META.csv").write_text("clip,transcript\nclip0,one two\nclip1,\n")
    call = (dataset, "--model", half, "--metrics", "wer")
    found = report(*call)["systems"]["half"]["wer"]
    assert found["files"] == 1
    assert found["mean"] >= 0.5  # there is no word in it
