"""Recordings joined end to end, clocks that leap, and bit rates that no header states."""

import av
import numpy as np
import pytest
import soundfile

from sordino.io.audiofile import open_source
from sordino.io.decoder import ContainerSource
from sordino.io.formats import CONTAINERS, VIDEOS
from sordino.io.remux import remux
from support.media import Through, rumble, sound_of, write_recording, write_sound, write_video


def joined(tmp_path, name, codec, container, rates=(48000, 48000)):
    """Two recordings of two seconds, one behind the other in one file."""
    return parts_of(tmp_path, name, codec, container, [(rate, 1) for rate in rates])


def parts_of(tmp_path, name, codec, container, shapes):
    """Recordings of two seconds with rates and channels of their own, joined to one file."""
    data = b""
    for number, (rate, channels) in enumerate(shapes):
        part = tmp_path / f"{number}-{name}"
        sound = rumble(2 * rate, channels, seed=number)
        if codec == "vorbis":
            soundfile.write(part, sound, rate, "VORBIS", format="OGG")
        else:
            write_sound(part, sound, rate, codec, container)
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


@pytest.mark.slow
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
    assert f"another recording is joined to it after {path.stat().st_size // 2:,} bytes" in note


def test_a_change_of_the_sample_rate_loses_no_time_and_is_noted(tmp_path):
    path = joined(tmp_path, "x.aac", "aac", "adts", rates=(48000, 24000))
    sound, source = read(path)
    assert len(sound) / 48000 == pytest.approx(4, abs=0.2)
    (note,) = source.notes
    assert "its sample rate changes to 24000 Hz after 2." in note


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("name", "codec", "container", "other"),
    [
        ("x.ogg", "vorbis", "ogg", (44100, 2)),
        ("x.opus", "libopus", "opus", (48000, 2)),
        ("x.flac", "flac", "flac", (24000, 2)),
        ("x.oga", "flac", "ogg", (24000, 1)),
        ("x.wv", "wavpack", "wv", (24000, 2)),
        ("x.wv", "wavpack", "wv", (48000, 1)),
        ("x.tta", "tta", "tta", (24000, 2)),
        ("x.w64", "pcm_s16le", "w64", (24000, 2)),
    ],
)
def test_joined_recordings_may_have_other_rates_and_channels(
    tmp_path, name, codec, container, other
):
    sound, source = read(parts_of(tmp_path, name, codec, container, [(48000, 1), other]))
    assert (source.info.sample_rate, source.info.channels) == (48000, 1)
    assert len(sound) / 48000 == pytest.approx(4, abs=0.02)
    assert np.std(sound[-48000:]) > 0.05
    notes = " ".join(source.notes)
    assert ("its channels change from 1 to 2 after 2.0 s" in notes) == (other[1] == 2)
    assert (f"its sample rate changes to {other[0]} Hz" in notes) == (other[0] != 48000)


def test_three_recordings_of_two_codecs_in_one_ogg(tmp_path):
    path = parts_of(tmp_path, "x.ogg", "vorbis", "ogg", [(48000, 1), (48000, 1)])
    last = parts_of(tmp_path, "y.opus", "libopus", "opus", [(48000, 1)])
    path.write_bytes(path.read_bytes() + last.read_bytes())
    sound, source = read(path)
    assert len(sound) / 48000 == pytest.approx(6, abs=0.02)
    assert source.notes == []


def test_the_bit_rate_of_joined_recordings_is_measured(tmp_path):
    path = parts_of(tmp_path, "x.opus", "libopus", "opus", [(48000, 1), (48000, 1)])
    with open_source(path) as source:
        assert source.info.bit_rate > 50_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("x.m4a", "aac", "ipod"),
        ("x.mp4", "aac", "mp4"),
        ("x.caf", "pcm_s16le", "caf"),
        ("x.au", "pcm_s16be", "au"),
        ("x.wma", "wmav2", "asf"),
        ("x.flv", "aac", "flv"),
        ("x.aiff", "pcm_s16be", "aiff"),
    ],
)
def test_what_cannot_be_read_behind_a_join_is_noted(tmp_path, name, codec, container):
    single = parts_of(tmp_path, name, codec, container, [(48000, 1)])
    assert not [note for note in read(single)[1].notes if "joined" in note]
    _, source = read(parts_of(tmp_path, name, codec, container, [(48000, 1), (48000, 1)]))
    (note,) = source.notes
    assert "another recording is joined to it after" in note


@pytest.mark.parametrize(
    ("form", "extension", "endian"),
    [
        ("RF64", "wav", "FILE"),
        ("W64", "w64", "FILE"),
        ("VOC", "voc", "FILE"),
        ("NIST", "sph", "FILE"),
        ("NIST", "sph", "BIG"),
        ("IRCAM", "sf", "LITTLE"),
        ("IRCAM", "sf", "BIG"),
        ("AVR", "avr", "FILE"),
        ("PAF", "paf", "BIG"),
        ("PAF", "paf", "LITTLE"),
        ("PVF", "pvf", "FILE"),
    ],
)
def test_joined_files_of_libsndfile_are_read_to_the_end(tmp_path, form, extension, endian):
    path, data = tmp_path / f"x.{extension}", b""
    for number in range(2):
        soundfile.write(path, rumble(2 * 48000, seed=number), 48000, None, endian, form)
        data += path.read_bytes()
    path.write_bytes(data)
    sound, source = read(path)
    assert len(sound) == 4 * 48000
    wanted = np.concatenate([rumble(2 * 48000, seed=number) for number in range(2)])
    assert np.allclose(sound, wanted, atol=1e-4)
    assert source.notes == []


@pytest.mark.parametrize(
    ("name", "codec", "container"), [("x.sf", "pcm_s16le", "ircam"), ("x.sox", "pcm_s32le", "sox")]
)
def test_joined_headers_of_raw_samples_are_not_heard(tmp_path, name, codec, container):
    sound, source = read(parts_of(tmp_path, name, codec, container, [(48000, 1), (24000, 1)]))
    assert len(sound) == 4 * 48000
    assert np.allclose(sound[: 2 * 48000], rumble(2 * 48000), atol=1e-4)
    assert np.abs(sound[2 * 48000 :]).max() < 1.1 * np.abs(rumble(2 * 24000, seed=1)).max()
    (note,) = source.notes
    assert "its sample rate changes to 24000 Hz after 2.0 s" in note


def test_a_second_svx_in_a_file_is_noted(tmp_path):
    path = tmp_path / "x.svx"
    soundfile.write(path, rumble(2 * 16000), 16000, format="SVX")
    assert read(path)[1].notes == []
    end = path.stat().st_size
    path.write_bytes(2 * path.read_bytes())
    sound, source = read(path)
    assert np.allclose(sound, rumble(2 * 16000), atol=1e-4)
    assert source.notes == [
        f"another recording is joined to it after {end:,} bytes, which is left out: "
        "split the file there"
    ]


def test_joined_amr_is_read_to_the_end(tmp_path):
    path, frame = tmp_path / "x.amr", b"\x3c" + 31 * b"\x55"  # 20 ms at 12.2 kbit/s
    path.write_bytes(2 * (b"#!AMR\n" + 100 * frame))
    sound, source = read(path)
    assert (len(sound), source.notes) == (4 * 8000, [])


def test_a_recording_cut_short_is_noted_once(tmp_path):
    path = tmp_path / "six.wav"
    soundfile.write(path, rumble(4 * 48000, 6), 48000)
    path.write_bytes(path.read_bytes()[:1_000_000])
    (note,) = read(path)[1].notes
    assert "the file is cut short: only 1,000,000 of" in note


def test_a_new_rate_is_no_damage(tmp_path):
    path = joined(tmp_path, "x.mp3", "libmp3lame", "mp3", rates=(48000, 32000))
    assert not any("cut short" in note for note in read(path)[1].notes)
