"""Videos: pictures untouched, sound in its place, everything else still there."""

import shutil
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from sordino.errors import SordinoError
from sordino.io.decoder import ContainerSource
from sordino.io.formats import CONTAINERS, VIDEOS
from sordino.io.remux import remux
from support.media import Through, lag, packets_of, rumble, sound_of, write_recording, write_video


def through(source, target):
    container, encoder = (CONTAINERS | VIDEOS)[target.suffix[1:]]
    with ContainerSource(source) as opened:
        return remux(opened, target, container, encoder, Through)


def offset(before, after, track=0):
    """By how many seconds the sound came later against the pictures."""
    begin, x, rate = sound_of(before, track)
    began, y, same_rate = sound_of(after, track)
    assert rate == same_rate
    shift = began - begin + lag(x, y) / rate
    shown = [packets_of(path, "video")[0][0] for path in (before, after)]
    if None not in shown:
        shift -= float(shown[1] - shown[0])
    return shift


LOSSLESS = [
    ("mkv", "libx264", "flac"),
    ("mkv", "ffv1", "pcm_s24le"),
    ("mkv", "libvpx-vp9", "pcm_s16le"),
    ("mov", "mpeg4", "pcm_s16le"),
    ("mp4", "libx264", "alac"),
    ("mp4", "libx264", "flac"),
    ("avi", "mpeg4", "pcm_s16le"),
]
LOSSY = [
    ("mp4", "libx264", "aac"),
    ("mp4", "libx265", "aac"),
    ("mov", "libx264", "aac"),
    ("m4v", "mpeg4", "libmp3lame"),
    ("mkv", "libx264", "aac"),
    ("mkv", "mpeg4", "libmp3lame"),
    ("mkv", "mpeg4", "ac3"),
    ("mkv", "libvpx", "libopus"),
    ("webm", "libvpx", "libopus"),
    ("webm", "libvpx-vp9", "libopus"),
    ("ts", "libx264", "aac"),
    ("flv", "flv", "aac"),
    ("avi", "mpeg4", "libmp3lame"),
    ("3gp", "mpeg4", "aac"),
    ("wmv", "wmv2", "wmav2"),
]


@pytest.mark.slow
@pytest.mark.parametrize("begin", [0.0, 0.3])
@pytest.mark.parametrize(("extension", "video", "audio"), LOSSLESS + LOSSY)
def test_pictures_are_untouched_and_sound_stays_in_place(tmp_path, extension, video, audio, begin):
    source, target = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    rate = 44100 if extension in ("flv", "wmv") else 48000
    options = {"x265-params": "log-level=none"} if video == "libx265" else {}
    container = VIDEOS[extension][0]
    write_video(source, video, audio, container, rate=rate, begin=begin, options=options)
    assert through(source, target) == []
    given, kept = packets_of(source, "video"), packets_of(target, "video")
    assert [data for *_, data in kept] == [data for *_, data in given]
    if given[0][0] is not None and kept[0][0] is not None:
        moved = [float(b[0] - a[0]) for a, b in zip(given, kept, strict=True)]
        assert max(moved) - min(moved) < 1e-6
    is_lossless = (extension, video, audio) in LOSSLESS
    assert abs(offset(source, target)) <= (0.0005 if is_lossless else 0.002)
    if is_lossless:
        _, x, _ = sound_of(source)
        _, y, _ = sound_of(target)
        assert np.array_equal(x, y)


@pytest.mark.slow
def test_generations_do_not_drift(tmp_path):
    """Ten times through AAC in mp4 and Opus in webm, the sound is still where it was."""
    for extension, video, audio in (("mp4", "libx264", "aac"), ("webm", "libvpx", "libopus")):
        first = tmp_path / f"0.{extension}"
        write_video(first, video, audio)
        for i in range(10):
            through(tmp_path / f"{i}.{extension}", tmp_path / f"{i + 1}.{extension}")
        last = tmp_path / f"10.{extension}"
        assert abs(offset(first, last)) <= 0.002
        assert abs(len(sound_of(first)[1]) - len(sound_of(last)[1])) <= 1024


@pytest.mark.parametrize(("video", "audio"), [("ffv1", "pcm_s16le"), ("libx264", "aac")])
def test_gaps_in_the_sound_become_silence_of_the_same_length(tmp_path, video, audio):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    (x,) = write_video(source, video, audio, gap=(0.8, 0.5))
    through(source, target)
    _, y, _ = sound_of(target)
    middle, hole = round(0.8 * 48000), round(0.5 * 48000)
    late = y[middle + hole :]
    assert abs(lag(x[middle:], late)) <= 48  # 1 ms, the clock of Matroska
    assert np.abs(y[middle + 3000 : middle + hole - 3000]).max() < 0.01


def test_overlaps_are_cut(tmp_path):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    (x,) = write_video(source, "ffv1", "pcm_s16le", gap=(1.0, -0.03))
    through(source, target)
    _, y, _ = sound_of(target)
    assert abs(len(y) - (len(x) - 0.03 * 48000)) <= 48  # 1 ms, the clock of Matroska
    assert abs(lag(x[60000:], y[60000 - 1440 :])) <= 48


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extension", "audio", "subtitles"),
    [("mkv", "flac", "subrip"), ("mkv", "flac", "ass"), ("mp4", "aac", "mov_text")],
)
def test_tracks_languages_subtitles_and_tags_are_kept(tmp_path, extension, audio, subtitles):
    source, target = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    write_video(source, "libx264", audio, tracks=2, subtitles=subtitles)
    assert through(source, target) == []
    assert packets_of(target, "subtitle") == packets_of(source, "subtitle")
    assert len(packets_of(source, "subtitle")) >= 2
    for track in (0, 1):
        assert abs(offset(source, target, track)) < 0.001
    with av.open(str(source)) as given, av.open(str(target)) as kept:
        assert kept.metadata["title"] == "A title"
        for before, after in zip(given.streams, kept.streams, strict=True):
            assert after.type == before.type
            assert after.language == before.language
            assert after.disposition == before.disposition
            assert after.codec_context.codec_tag == before.codec_context.codec_tag


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("x.mp3", "libmp3lame", "mp3"),
        ("x.mka", "flac", "matroska"),
        ("x.m4a", "aac", "ipod"),
        ("x.m4a", "alac", "ipod"),
    ],
)
def test_recordings_keep_cover_chapters_and_tags(tmp_path, name, codec, container):
    source, target = tmp_path / name, tmp_path / f"out{name[1:]}"
    write_recording(source, codec, container, cover=container != "ipod")
    assert through(source, target) == []
    with av.open(str(source)) as given, av.open(str(target)) as kept:
        before = {key.lower(): value for key, value in given.metadata.items()}
        after = {key.lower(): value for key, value in kept.metadata.items()}
        for key in ("title", "artist", "album", "date"):
            assert after[key] == before[key]
        assert [float(each["start"] * each["time_base"]) for each in kept.chapters()] == [0, 1]
        assert len(kept.streams.video) == len(given.streams.video)
        for cover in kept.streams.video:
            assert cover.disposition & Disposition.attached_pic
        assert kept.streams.audio[0].codec_context.name == given.streams.audio[0].codec_context.name
    assert [data for *_, data in packets_of(target, "video")] == [
        data for *_, data in packets_of(source, "video")
    ]
    assert len(sound_of(target)[1]) == len(sound_of(source)[1])
    assert lag(sound_of(source)[1], sound_of(target)[1]) == 0


@pytest.mark.slow
def test_rotation_is_kept(tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_video(source, "libx264", "aac")
    data = bytearray(source.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 4 + 20 + 16  # version, times and ids, layer and volume
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    source.write_bytes(data)
    through(source, target)
    with av.open(str(target)) as kept:
        assert next(kept.decode(video=0)).rotation == -90


def test_fonts_are_kept(tmp_path):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(source), "w") as output:
        lane = output.add_stream("flac", rate=48000)
        lane.layout = "mono"
        output.add_attachment("font.ttf", "application/x-truetype-font", b"abc")
        frame = av.AudioFrame.from_ndarray(rumble(4800).T.copy(), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        output.mux(lane.encode(frame))
        output.mux(lane.encode(None))
    assert through(source, target) == []
    with av.open(str(target)) as kept:
        (font,) = kept.streams.attachments
        assert (font.name, font.data) == ("font.ttf", b"abc")


def test_a_codec_that_cannot_be_written_is_replaced_and_noted(tmp_path):
    source, target = tmp_path / "in.webm", tmp_path / "out.webm"
    write_video(source, "libvpx", "vorbis")
    assert through(source, target) == ["vorbis cannot be written here: the sound is now opus"]
    assert abs(offset(source, target)) <= 0.002


def test_another_container_keeps_pictures_and_place(tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mkv"
    write_video(source, "libx264", "aac")
    assert through(source, target) == []
    assert [data for *_, data in packets_of(target, "video")] == [
        data for *_, data in packets_of(source, "video")
    ]
    assert abs(offset(source, target)) <= 0.002


def test_pictures_that_the_container_cannot_hold_are_refused(tmp_path):
    write_video(tmp_path / "in.mp4", "libx264", "aac")
    with pytest.raises(SordinoError, match=r"webm cannot hold its video \(h264\).*mkv"):
        through(tmp_path / "in.mp4", tmp_path / "out.webm")


def test_subtitles_that_the_container_cannot_hold_are_noted(tmp_path):
    write_video(tmp_path / "in.mkv", "libx264", "aac", subtitles="ass")
    (note,) = through(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert note == "mp4 cannot hold its subtitle (ssa), which is left out"


def test_a_video_without_sound_is_refused(tmp_path):
    with av.open(str(tmp_path / "in.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        frame = av.VideoFrame(32, 32, "yuv420p")
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(SordinoError, match="no sound in it"):
        through(tmp_path / "in.mp4", tmp_path / "out.mp4")


def test_a_cover_that_cannot_be_read_is_noted(tmp_path):
    write_recording(tmp_path / "in.mp3", "libmp3lame", "mp3", jpeg=b"no picture")
    (note,) = through(tmp_path / "in.mp3", tmp_path / "out.mp3")
    assert note == "its cover cannot be read and is left out"
    assert lag(sound_of(tmp_path / "in.mp3")[1], sound_of(tmp_path / "out.mp3")[1]) == 0


def test_a_cut_video_keeps_what_is_there_and_says_so(tmp_path):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_video(source, "ffv1", "flac", seconds=5)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    (note,) = through(source, target)
    assert "cut short" in note
    assert np.array_equal(sound_of(source)[1], sound_of(target)[1])


def test_bare_aac_stays_aligned(tmp_path):
    source, target = tmp_path / "in.aac", tmp_path / "out.aac"
    shutil.copy(_aac(tmp_path), source)
    assert through(source, target) == []
    assert lag(sound_of(source)[1], sound_of(target)[1]) == 0


def _aac(tmp_path):
    path = tmp_path / "made.aac"
    write_recording(path, "aac", "adts", cover=False)
    return path
