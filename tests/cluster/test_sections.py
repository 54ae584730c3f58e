"""Long recordings in sections are as in one pass."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from sordino import examples
from sordino.batch.process import denoise_file
from sordino.batch.track import DenoiseSettings
from sordino.cluster import sections
from sordino.cluster.ledger import JOIN, WHOLE
from sordino.cluster.plan import Work
from sordino.cluster.sections import CHECKED, sections_of
from sordino.cluster.worker import MakeWorker, Task
from sordino.errors import SordinoError
from sordino.model import LIVE_MODEL, RECORDING_MODEL
from support import models
from support.signals import agreement_db, noise

LENGTH = 40  # seconds


@pytest.fixture(autouse=True)
def short_overlap(monkeypatch):
    """The default network forgets within 12 s; less sound makes quicker tests."""
    monkeypatch.setattr(sections, "OVERLAP", 30)


def worker(tmp_path, settings=None, model=None, length=LENGTH):
    folder = str(tmp_path / "sections")
    settings = replace(settings or DenoiseSettings(), model=model or "default").loaded()
    return MakeWorker(settings, False, length, folder)("cpu")


def in_sections(do, work, order=reversed):
    """Do all tasks of a recording, the sections in some order; return the last result."""
    (whole,) = do(Task(work))
    assert whole.status == "cut"
    for number in order(range(whole.sections)):
        assert do(Task(work, number, whole.sections))[0].section == number
    (joined,) = do(Task(work, JOIN, whole.sections))
    assert (joined.section, joined.status) == (JOIN, "done")
    return whole, joined


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 11025])  # the second one is resampled
@pytest.mark.parametrize("model", [LIVE_MODEL, RECORDING_MODEL])
def test_sections_agree_with_one_pass(tmp_path, rate, model):
    sound, _ = soundfile.read(examples.path("phone_8k"), dtype="float32")
    other, _ = soundfile.read(examples.path("phone_8k", "clean"), dtype="float32")
    seconds = 2 * LENGTH + 5.3
    once = np.concatenate([sound, 0.3 * sound, other])
    long = np.concatenate([once] * 9)[: round(seconds * rate)]
    source = tmp_path / "long.flac"
    soundfile.write(source, long, rate)
    work = Work(str(source), str(tmp_path / "out" / "long.flac"), extension="flac")
    whole, joined = in_sections(worker(tmp_path, model=model), work)
    assert (whole.sections, whole.seconds, joined.seconds) == (
        2,
        joined.seconds,
        pytest.approx(seconds),
    )
    denoise_file(source, tmp_path / "one.flac", settings=DenoiseSettings(model))
    one, cut = (soundfile.read(p, dtype="float32")[0] for p in (tmp_path / "one.flac", work.target))
    assert agreement_db(one, cut) > 60
    at_seam = slice(LENGTH * rate, (LENGTH + CHECKED) * rate)
    level = np.mean(one**2)
    assert 10 * np.log10(np.mean((one - cut)[at_seam] ** 2) / level + 1e-20) < -60
    assert np.array_equal(one[: LENGTH * rate], cut[: LENGTH * rate])
    assert int(joined.notes[-1].split("differ by ")[1].split(" dB")[0]) < -60


@pytest.mark.slow
def test_joining_keeps_tags_channels_and_what_loudness_wants(tmp_path):
    half = models.constant_mask(0.5)
    source = tmp_path / "long.wav"
    rate = 8000
    with soundfile.SoundFile(source, "w", rate, 2, "PCM_24") as file:
        file.title = "A long call"
        file.write(noise(((2 * LENGTH + 1) * rate, 2)))
    for loudness in (None, -30.0):
        settings = DenoiseSettings(loudness=loudness)
        out, one = tmp_path / f"{loudness}.wav", tmp_path / f"one {loudness}.wav"
        work = Work(str(source), str(out), extension="wav")
        do = worker(tmp_path, settings, half)
        whole, joined = in_sections(do, work, order=list)
        assert whole.sections == 2
        denoise_file(source, one, do._settings)
        assert out.read_bytes() == one.read_bytes()  # this network remembers nothing
        assert joined.noise_taken_db == pytest.approx(6.02, abs=0.1)


def test_short_recordings_are_not_cut(tmp_path):
    source = tmp_path / "short.wav"
    seconds = 2 * LENGTH - 1
    soundfile.write(source, np.zeros(seconds * 8000), 8000)
    work = Work(str(source), str(tmp_path / "out.wav"), extension="wav")
    (result,) = worker(tmp_path)(Task(work))
    assert (result.section, result.status, result.seconds) == (WHOLE, "done", seconds)


def test_a_recording_that_is_shorter_than_it_says_is_cut_where_it_ends(tmp_path):
    source = tmp_path / "torn.wav"
    soundfile.write(source, np.zeros(200 * 8000, np.int16), 8000)
    data = source.read_bytes()
    source.write_bytes(data[: 44 + 2 * 8000 * 90])
    work = Work(str(source), str(tmp_path / "out.wav"), extension="wav")
    whole, joined = in_sections(worker(tmp_path), work)
    assert (whole.seconds, joined.seconds) == (90, 90)
    assert any("cut short" in note for note in joined.notes)


def test_sections_of_another_recording_are_refused(tmp_path):
    source = tmp_path / "long.wav"
    soundfile.write(source, np.zeros(90 * 8000), 8000)
    work = Work(str(source), str(tmp_path / "out.wav"), extension="wav")
    do = worker(tmp_path)
    (whole,) = do(Task(work))
    for number in range(whole.sections):
        do(Task(work, number, whole.sections))
    for seconds, what in ((86, "longer"), (95, "shorter")):
        soundfile.write(source, np.zeros(seconds * 8000), 8000)
        with pytest.raises(SordinoError, match=f"its sections are {what} than the recording"):
            do(Task(work, JOIN, whole.sections))
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("seconds", [68, 101.99, 1000.5])
def test_sections_cover_a_recording(seconds):
    found = sections_of(seconds, LENGTH)
    assert found[0].begin == found[0].heard_from == 0
    assert all(a.end == b.begin for a, b in pairwise(found))
    assert all(b.heard_from == b.begin - 30 for b in found[1:])
    assert found[-1].end >= seconds
    assert [each.is_last for each in found] == [False] * (len(found) - 1) + [True]
    assert all(each.end - each.begin >= LENGTH for each in found)
