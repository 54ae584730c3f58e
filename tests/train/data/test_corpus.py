"""Decoding folders once, drawing from them, and what a clip knows of itself."""

import logging
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile as sf

from sordino.errors import SordinoError
from sordino.train.data import corpus
from sordino.train.data.corpus import (
    BASE_RATE,
    WIDE_RATE,
    ClipPool,
    Corpus,
    CorpusConfig,
    CorpusSource,
)
from sordino.train.data.decode import decode, find_events, measure_bandwidth, resample
from support.media import rumble, write_sound
from support.signals import noise, tone


@pytest.fixture
def folder(tmp_path):
    """Two speakers at 16 kHz, a third at 48 kHz in a folder of its own."""
    root = tmp_path / "speech"
    (root / "carla").mkdir(parents=True)
    sf.write(root / "ada-00.wav", tone(440, 16000, 2.0), 16000)
    sf.write(root / "bo-00.flac", tone(880, 16000, 1.0, 0.01), 16000)
    sf.write(root / "carla" / "hello.wav", noise(48000), 48000)
    return root


def config(tmp_path, **kinds):
    return CorpusConfig(cache=str(tmp_path / "cache"), **kinds)


def open_speech(tmp_path, folder):
    return Corpus.open(config(tmp_path, speech=(CorpusSource(str(folder)),)), progress=False).speech


def test_all_that_is_denoised_is_trained_on(tmp_path, folder):
    write_sound(folder / "dora-00.m4a", rumble(32000), 16000, "aac", "ipod")
    right = np.stack([np.zeros(16000, "f4"), tone(440, 16000)], 1)
    sf.write(folder / "emil-00.wav", right, 16000)  # its first channel is silent
    pool = open_speech(tmp_path, folder)
    clips = {clip.path: clip for clip in pool.clips}
    assert clips["dora-00.m4a"].seconds == pytest.approx(2, abs=0.1)
    assert np.array_equal(
        decode(folder / "emil-00.wav")[0], sf.read(folder / "emil-00.wav")[0][:, 1]
    )


def test_clips_carry_speaker_length_and_rates(tmp_path, folder):
    pool = open_speech(tmp_path, folder)
    clips = {clip.path: clip for clip in pool.clips}
    assert {clip.label for clip in pool.clips} == {"ada", "bo", "carla"}
    assert clips["ada-00.wav"].seconds == 2.0
    assert set(clips["ada-00.wav"].spans) == {BASE_RATE}
    assert set(clips["carla/hello.wav"].spans) == {BASE_RATE, WIDE_RATE}
    assert pool.seconds == 4.0


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_read_gives_the_excerpt_at_every_rate(tmp_path, folder, rate):
    pool = open_speech(tmp_path, folder)
    number = next(i for i, clip in enumerate(pool.clips) if clip.label == "ada")
    x = pool.read(number, rate, 0.5, rate)
    # Stored clips are scaled to a peak of 0.9; 440 Hz has whole periods in half a second.
    expected = tone(440, rate, 1.0, 0.9)
    inner = slice(rate // 20, -rate // 20)  # an excerpt's ends ring where it is resampled
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[inner], expected[inner], atol=2e-3)


def test_read_fills_up_with_silence_behind_the_end(tmp_path, folder):
    pool = open_speech(tmp_path, folder)
    number = next(i for i, clip in enumerate(pool.clips) if clip.label == "bo")
    x = pool.read(number, 16000, 0.5, 16000)
    assert len(x) == 16000
    assert np.abs(x[:8000]).max() > 0.8  # quiet files are stored loud
    assert not x[8000:].any()


def test_second_opening_reads_the_cache(tmp_path, folder):
    first = open_speech(tmp_path, folder)
    index = next((tmp_path / "cache").glob("*/index.json"))
    written = index.stat().st_mtime_ns
    second = open_speech(tmp_path, folder)
    assert index.stat().st_mtime_ns == written
    assert second.clips == first.clips
    np.testing.assert_array_equal(first.read(0, 16000), second.read(0, 16000))


def test_changed_file_is_decoded_anew(tmp_path, folder):
    open_speech(tmp_path, folder)
    sf.write(folder / "ada-00.wav", tone(440, 16000, 3.0), 16000)
    assert open_speech(tmp_path, folder).seconds == 5.0
    sf.write(folder / "dora-00.wav", tone(440, 16000, 1.0), 16000)
    assert open_speech(tmp_path, folder).seconds == 6.0
    os.remove(folder / "dora-00.wav")
    assert open_speech(tmp_path, folder).seconds == 5.0


def test_nothing_half_written_stays_in_the_cache(tmp_path, folder):
    open_speech(tmp_path, folder)
    (cache,) = (tmp_path / "cache").glob("[!.]*")
    assert sorted(p.name for p in cache.iterdir()) == ["16000.i16", "48000.i16", "index.json"]


def test_broken_files_are_skipped_with_one_line_each(tmp_path, folder, caplog):
    (folder / "broken-00.wav").write_bytes(b"no sound at all")
    (folder / "empty-00.flac").touch()
    sf.write(folder / "nan-00.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    sf.write(folder / "short-00.wav", np.zeros(10), 16000)
    with caplog.at_level(logging.WARNING, "sordino"):
        pool = open_speech(tmp_path, folder)
    assert len(pool) == 3
    assert len(caplog.messages) == 4
    for name in ("broken-00.wav", "empty-00.flac", "nan-00.wav", "short-00.wav"):
        (line,) = [message for message in caplog.messages if name in message]
        assert "\n" not in line


def test_user_errors_say_what_to_mend(tmp_path, folder):
    with pytest.raises(SordinoError, match="no such folder"):
        open_speech(tmp_path, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SordinoError, match="neither audio files"):
        open_speech(tmp_path, tmp_path / "empty")
    (tmp_path / "empty" / "broken.wav").write_bytes(b"x")
    with pytest.raises(SordinoError, match="none of its audio"):
        open_speech(tmp_path, tmp_path / "empty")
    with pytest.raises(SordinoError, match="noisy and clean"):
        Corpus.open(config(tmp_path, pairs=(CorpusSource(str(folder)),)), progress=False)
    (tmp_path / "file").touch()
    with pytest.raises(SordinoError, match="another cache"):
        Corpus.open(
            CorpusConfig(speech=(CorpusSource(str(folder)),), cache=str(tmp_path / "file" / "c"))
        )


def test_drawing_follows_duration_temper_and_weight(tmp_path):
    for name, seconds in (("rain", 4.0), ("bell", 1.0)):
        (tmp_path / "noise").mkdir(exist_ok=True)
        sf.write(tmp_path / "noise" / f"{name}.wav", noise(int(16000 * seconds)), 16000)
    source = (CorpusSource(str(tmp_path / "noise")),)
    pool = Corpus.open(config(tmp_path, noise=source), progress=False).noise

    def share(pool):
        rng = np.random.default_rng(0)
        drawn = [pool.clips[pool.draw(rng)].label for _ in range(4000)]
        return drawn.count("rain") / len(drawn)

    assert share(pool) == pytest.approx(2 / 3, abs=0.03)  # sqrt(4) to sqrt(1)
    assert share(ClipPool(pool.folders, [1.0], temper=1.0)) == pytest.approx(0.8, abs=0.03)
    weights = {"be*": 4.0, "bell": 9.0}  # the first that matches counts
    favoured = Corpus.open(config(tmp_path, noise=source, noise_weights=weights), progress=False)
    assert share(favoured.noise) == pytest.approx(2 / 6, abs=0.03)
    with pytest.raises(SordinoError, match="all categories of the noise have weight 0"):
        Corpus.open(config(tmp_path, noise=source, noise_weights={"*": 0.0}), progress=False)
    twice = ClipPool([*pool.folders, *pool.folders], [3.0, 1.0], temper=1.0)
    rng = np.random.default_rng(0)
    first = [twice.draw(rng) < 2 for _ in range(4000)]
    assert np.mean(first) == pytest.approx(0.75, abs=0.03)


def test_wide_draws_only_clips_above_16_khz(tmp_path, folder):
    pool = open_speech(tmp_path, folder)
    rng = np.random.default_rng(0)
    assert {pool.clips[pool.draw(rng, wide=True)].label for _ in range(50)} == {"carla"}
    assert len({pool.draw(rng) for _ in range(200)}) == 3


def test_corpus_goes_to_workers_without_its_audio(tmp_path, folder):
    pool = open_speech(tmp_path, folder)
    before = pool.read(0, 16000)
    packed = pickle.dumps(pool)
    assert len(packed) < 10_000
    np.testing.assert_array_equal(pickle.loads(packed).read(0, 16000), before)


@pytest.mark.parametrize(("rate", "cutoff"), [(16000, 3400), (48000, 8000), (48000, 20000)])
def test_bandwidth_is_measured_not_believed(rate, cutoff):
    # A pink-ish spectrum that ends at the cutoff, over a faint floor as codecs leave it.
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(5 * rate))
    frequency = np.fft.rfftfreq(5 * rate, 1 / rate)
    spectrum *= (frequency < cutoff) / np.maximum(frequency, 100)
    x = np.fft.irfft(spectrum)
    x = (x / np.abs(x).max() + 1e-6 * noise(5 * rate, level=1.0)).astype(np.float32)
    assert measure_bandwidth(x, rate) == pytest.approx(cutoff, rel=0.04, abs=130)


def test_bandwidth_of_resampled_and_full_band_sound():
    assert measure_bandwidth(resample(noise(32000), 16000, 48000), 48000) < 8300
    assert measure_bandwidth(noise(48000), 48000) == 24000


def test_events_are_the_short_sounds_of_a_clip():
    x = np.zeros(8 * 16000, np.float32)
    for at in (1.0, 2.5, 6.0):
        x[int(at * 16000) :][:800] = noise(800)
    events = find_events(x, 16000)
    assert [start for start, _ in events] == pytest.approx([1.0, 2.5, 6.0], abs=0.02)
    assert all(0.05 <= stop - start <= 0.15 for start, stop in events)
    assert find_events(noise(8 * 16000), 16000) == ()
    assert find_events(noise(16000), 16000) == ((0.0, 1.0),)


def test_runs_that_start_together_decode_a_folder_once(tmp_path, folder, monkeypatch):
    both, fills = threading.Barrier(2), []
    fill = corpus._fill

    def counted(*args):
        fills.append(args)
        fill(*args)

    def open_together():
        both.wait(30)
        return open_speech(tmp_path, folder).seconds

    monkeypatch.setattr(corpus, "_fill", counted)
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(open_together) for _ in range(2))
        assert first.result(60) == second.result(60) == 4.0
    assert len(fills) == 1
