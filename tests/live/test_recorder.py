"""Recordings: valid wav files after every second, renamed at the end, nothing overwritten."""

import os
import time
import wave

import numpy as np
import pytest
import soundfile

from sordino.errors import SordinoError
from sordino.live import recorder
from sordino.live.recorder import PART, Recorder, recover
from support.signals import noise

RATE = 8000
TIMEOUT = 120  # seconds; the machine may be busy


def record(folder, sound, seconds=None, block=80):
    taking = Recorder(folder, RATE, seconds)
    for start in range(0, len(sound), block):
        taking.feed(sound[start : start + block], -sound[start : start + block])
    taking.close()
    return taking


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_both_files_hold_what_was_fed(tmp_path):
    sound = noise(2 * RATE + 40)
    noisy, clean = record(tmp_path, sound).paths
    assert noisy.name.endswith("-noisy.wav")
    assert clean.name.endswith("-clean.wav")
    for path, wanted in ((noisy, sound), (clean, -sound)):
        out, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        assert np.abs(out - wanted).max() <= 0.5 / 32768 + 1e-7


def test_what_is_too_loud_is_clipped_and_does_not_wrap(tmp_path):
    noisy, clean = record(tmp_path, np.full(100, 1.5, np.float32)).paths
    assert soundfile.read(noisy)[0].min() > 0.999
    assert soundfile.read(clean)[0].max() == -1


def test_it_ends_by_itself(tmp_path):
    taking = Recorder(tmp_path, RATE, 0.5)
    for _ in range(100):
        taking.feed(noise(80), noise(80))
    assert taking.done.wait(TIMEOUT)
    assert [soundfile.info(path).frames for path in taking.paths] == [RATE // 2] * 2
    taking.close()


def test_until_then_the_names_are_others_and_the_files_whole(tmp_path):
    taking, sound = Recorder(tmp_path, RATE), noise(RATE)
    seen = []
    for second in range(1, 4):
        taking.feed(sound, sound)
        wait_until(lambda samples=second * RATE: taking._files.samples >= samples)
        parts = sorted(tmp_path.iterdir())
        assert [part.suffix for part in parts] == [PART, PART]
        with wave.open(str(parts[0])) as file:
            seen.append(file.getnframes())
    taking.close()
    assert seen == [RATE, 2 * RATE, 3 * RATE]
    assert all(path.exists() for path in taking.paths)


def test_two_in_the_same_second_do_not_overwrite_each_other(tmp_path):
    takings = [Recorder(tmp_path, RATE) for _ in range(3)]
    for taking in takings:
        taking.close()
    assert len(list(tmp_path.glob("*.wav"))) == 6


def test_a_long_recording_goes_on_in_another_file(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "HOURS_PER_FILE", 2 / 3600)
    sound = noise(5 * RATE)
    record(tmp_path, sound, block=RATE)
    noisy = sorted(tmp_path.glob("*-noisy.wav"), key=os.path.getmtime)
    assert sorted(soundfile.info(path).frames for path in noisy) == [RATE, 2 * RATE, 2 * RATE]


@pytest.mark.skipif(recorder.fcntl is None, reason="files are not locked here")
def test_only_what_nobody_writes_is_recovered(tmp_path):
    living = Recorder(tmp_path, RATE)
    (tmp_path / f"left-noisy.wav{PART}").write_bytes(b"left")
    assert recover(tmp_path) == [tmp_path / "left-noisy.wav"]
    living.close()
    assert all(path.exists() for path in living.paths)


def test_nothing_is_recovered_over_another_file(tmp_path):
    (tmp_path / "take.wav").write_bytes(b"first")
    (tmp_path / f"take.wav{PART}").write_bytes(b"second")
    assert recover(tmp_path) == []
    assert (tmp_path / "take.wav").read_bytes() == b"first"


def test_a_full_disk_is_said_and_ends_the_recording(tmp_path, monkeypatch):
    taking = Recorder(tmp_path, RATE)

    def full(*_):
        raise OSError(28, "No space left on device")

    taking.feed(noise(RATE), noise(RATE))
    wait_until(lambda: taking._files.samples >= RATE)
    monkeypatch.setattr(taking._files, "write", full)
    taking.feed(noise(RATE), noise(RATE))
    assert taking.done.wait(TIMEOUT)
    assert "No space left" in taking.problem
    taking.feed(noise(RATE), noise(RATE))
    taking.close()
    assert [soundfile.info(path).frames for path in taking.paths] == [RATE] * 2


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SordinoError, match="choose another folder"):
        Recorder(tmp_path / "file" / "folder", RATE)
