"""Recordings joined end to end, clocks that leap, and bit rates that no header states."""

import av
import numpy as np
import pytest

from sordino.io.audiofile import open_source
from sordino.io.decoder import ContainerSource
from sordino.io.formats import CONTAINERS, VIDEOS
from sordino.io.remux import remux
from support.media import Through, rumble, sound_of, write_recording, write_sound, write_video


def joined(tmp_path, name, codec, container, rates=(48000, 48000)):
    """Two recordings of two seconds, one behind the other in one file."""
    data = b""
    for number, rate in enumerate(rates):
        part = tmp_path / f"{number}-{name}"
        write_sound(part, rumble(2 * rate, seed=number), rate, codec, container)
        data += part.read_bytes()
    path = tmp_path / name
    path.write_bytes(data)
    return path


def read(path):
    with open_source(path) as source:
        return np.concatenate(list(source.blocks())), source


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("x.opus", "libopus", "opus"),
        ("x.oga", "flac", "ogg"),
        ("x.flac", "flac", "flac"),
        ("x.ts", "aac", "mpegts"),
        ("x.mkv", "flac", "matroska"),
        ("x.mp3", "libmp3lame", "mp3"),
        ("x.aac", "aac", "adts"),
    ],
)
def test_joined_recordings_are_read_to_the_end(tmp_path, name, codec, container):
    sound, source = read(joined(tmp_path, name, codec, container))
    assert len(sound) / source.info.sample_rate == pytest.approx(4, abs=0.15)
    late = sound[-source.info.sample_rate :]
    assert np.std(late) > 0.05


def test_joined_broadcasts_are_written_anew_with_their_pictures(tmp_path):
    part, path, target = (tmp_path / f"{name}.ts" for name in ("part", "joined", "out"))
    write_video(part, "mpeg2video", "aac", "mpegts")
    path.write_bytes(2 * part.read_bytes())
    container, encoder = (CONTAINERS | VIDEOS)["ts"]
    with ContainerSource(path) as source:
        assert remux(source, target, container, encoder, Through) == []
    assert len(sound_of(target)[1]) / 48000 == pytest.approx(4, abs=0.15)
    with av.open(str(target)) as kept:
        stamps = [packet.dts for packet in kept.demux(video=0) if packet.dts is not None]
    assert len(stamps) == 100
    assert stamps == sorted(stamps)


def test_a_second_wav_in_a_file_is_noted(tmp_path):
    write_sound(tmp_path / "part.wav", rumble(8000), 8000, "pcm_s16le", "wav")
    path = tmp_path / "x.wav"
    path.write_bytes(2 * (tmp_path / "part.wav").read_bytes())
    sound, source = read(path)
    assert len(sound) == 8000
    (note,) = source.notes
    assert "another recording is joined to it" in note


def test_a_change_of_the_sample_rate_loses_no_time_and_is_noted(tmp_path):
    path = joined(tmp_path, "x.aac", "aac", "adts", rates=(48000, 24000))
    sound, source = read(path)
    assert len(sound) / 48000 == pytest.approx(4, abs=0.2)
    (note,) = source.notes
    assert "its sample rate changes to 24000 Hz after 2." in note


def test_a_leap_of_an_hour_is_closed_and_noted(tmp_path):
    source_path, target = tmp_path / "in.ts", tmp_path / "out.ts"
    write_video(source_path, "mpeg2video", "aac", "mpegts", gap=(1.0, 3600.0), gap_in_pictures=True)
    container, encoder = VIDEOS["ts"]
    with ContainerSource(source_path) as source:
        (note,) = remux(source, target, container, encoder, Through)
    assert "the time stamps leap ahead by" in note
    assert len(sound_of(target)[1]) / 48000 < 3
    sound, source = read(source_path)
    assert len(sound) / 48000 < 3
    assert any("leap ahead" in each for each in source.notes)


def test_whole_files_without_a_length_in_the_header_are_not_called_short(tmp_path):
    for name, codec, container in (("x.aac", "aac", "adts"), ("x.mp3", "libmp3lame", "mp3")):
        path = tmp_path / name
        sound = rumble(12 * 48000)
        sound[: 8 * 48000] = 0  # little bit rate at first, from which the length is guessed
        options = {"write_xing": "0"} if container == "mp3" else {}
        write_sound(path, sound, 48000, codec, container, variable=True, options=options)
        heard, source = read(path)
        assert len(heard) / 48000 == pytest.approx(12, abs=0.1)
        assert source.notes == []


@pytest.mark.parametrize("name", ["x.mkv", "x.webm"])
def test_bit_rates_are_measured_where_the_header_has_none(tmp_path, name):
    path = tmp_path / name
    codec, container = ("aac", "matroska") if name == "x.mkv" else ("libopus", "webm")
    write_sound(path, rumble(7 * 48000, 2), 48000, codec, container, bit_rate=200_000)
    with av.open(str(path)) as opened:
        assert not opened.streams.audio[0].bit_rate
        size = sum(packet.size for packet in opened.demux(audio=0))
    with ContainerSource(path) as source:
        assert 0.95 < source.info.bit_rate / (8 * size / 7) < 1.5


def test_a_recording_keeps_its_covers_when_opened_once(tmp_path):
    write_recording(tmp_path / "in.mp3", "libmp3lame", "mp3")
    with ContainerSource(tmp_path / "in.mp3") as source:
        assert remux(source, tmp_path / "out.mka", "matroska", "flac", Through) == []
    with av.open(str(tmp_path / "out.mka")) as kept:
        assert len(kept.streams.video) == 1
