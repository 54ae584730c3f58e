import numpy as np
import pytest
import soundfile as sf

from sordino.corpora.fingerprint import find_duplicates, fingerprint
from sordino.corpora.layout import Item
from sordino.corpora.measure import estimate_snr, measure, trim
from sordino.train.data.decode import resample
from sordino.train.data.signal import active_level
from support.corpora import RATE, hiss, speech
from support.signals import noise


@pytest.mark.parametrize("snr", [5.0, 15.0, 25.0])
def test_the_snr_of_speech_in_noise_is_estimated(snr):
    x = np.concatenate([speech(n, 4.0) for n in (0, 3)])
    hum = noise(len(x), 3)
    hum *= 10 ** ((active_level(x, RATE) - active_level(hum, RATE) - snr) / 20)
    assert estimate_snr(x + hum, RATE) == pytest.approx(snr, abs=3)


def test_silence_has_no_snr_and_no_sound():
    assert np.isnan(estimate_snr(np.zeros(RATE, np.float32), RATE))
    assert trim(np.zeros(RATE, np.float32), RATE) == (0, 0)


def test_trimming_keeps_a_margin():
    x = np.concatenate([np.zeros(RATE), speech(0), np.zeros(2 * RATE)]).astype(np.float32)
    start, stop = trim(x, RATE)
    assert 0.85 <= start <= 1.5
    assert stop <= len(x) / RATE - 1.8
    outside = np.concatenate([x[: int(start * RATE)], x[int(stop * RATE) :]])
    assert np.abs(outside).max() < 0.01 * np.abs(x).max()


def test_the_bandwidth_is_that_of_the_content(tmp_path):
    x = resample(resample(noise(3 * RATE), RATE, 8000), 8000, 48000)
    sf.write(tmp_path / "x.wav", x, 48000)
    found = measure(tmp_path, Item("x.wav", "noise"), False)
    assert found.sample_rate == 48000
    assert 3500 < found.bandwidth_hz < 4300
    assert np.isnan(found.dnsmos)


def test_of_a_pair_the_snr_is_computed(tmp_path):
    x = speech(1)
    hum = noise(len(x), 3)
    hum *= 10 ** ((active_level(x, RATE) - active_level(hum, RATE) - 7.5) / 20)
    sf.write(tmp_path / "clean.wav", x, RATE)
    sf.write(tmp_path / "noisy.wav", x + hum, RATE)
    found = measure(tmp_path, Item("noisy.wav", "pair", clean="clean.wav"), False)
    assert found.snr_db == pytest.approx(7.5, abs=0.1)


def test_a_broken_file_is_noted(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"RIFFnothing")
    assert measure(tmp_path, Item("x.wav", "noise"), False).error


def prints(*sounds):
    return [fingerprint(x, rate) for x, rate in sounds]


def test_the_same_recording_is_found_at_another_level_rate_and_start(tmp_path):
    x = speech(0, 4.0)
    sf.write(tmp_path / "x.ogg", x, RATE, format="OGG", subtype="VORBIS")
    coded, _ = sf.read(tmp_path / "x.ogg", dtype="float32")
    sounds = [
        (x, RATE),
        (speech(5, 4.0), RATE),
        (0.1 * x, RATE),
        (resample(x, RATE, 48000), 48000),
        (coded, RATE),
        (x[1000:], RATE),
        (speech(9, 4.0), RATE),
    ]
    digests = [str(i) for i in range(len(sounds))]
    assert find_duplicates(digests, prints(*sounds)) == {2: 0, 3: 0, 4: 0, 5: 0}


def test_different_noises_and_silence_are_no_duplicates():
    sounds = [(hiss(i, 3.0), RATE) for i in range(4)] + [(np.zeros(RATE, np.float32), RATE)] * 2
    digests = [str(i) for i in range(len(sounds))]
    assert find_duplicates(digests, prints(*sounds)) == {}
    assert find_duplicates(["a", "b", "a"], prints(*[(hiss(1)[:100], RATE)] * 3)) == {2: 0}
