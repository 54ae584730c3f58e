"""Tags, covers and chunks: kept where the format can hold them, named where it cannot."""

import os
import struct
import time

import av
import mutagen
import numpy as np
import pytest
from mutagen.flac import FLAC, Picture

from sordino.batch.process import denoise_file
from sordino.batch.track import DenoiseSettings
from sordino.io.tags import read_metadata, readable_tags
from support import models
from support.media import rumble, write_sound

ZERO = DenoiseSettings(models.constant_mask(0.0))
TEXT = {
    "title": "Gespräch",
    "artist": "Somebody",
    "album": "An album",
    "albumartist": "Various",
    "composer": "Nobody",
    "discnumber": "1/2",
    "tracknumber": "4/9",
    "isrc": "DEAB12345678",
    "genre": "Podcast",
    "lyrics": "La la",
    "replaygain_track_gain": "-3.20 dB",
    "mood_of_the_day": "sunny",
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


@pytest.fixture
def tagged(tmp_path):
    path = tmp_path / "in.flac"
    write_sound(path, rumble(16000), 16000, "flac", "flac")
    file = FLAC(path)
    file.update({key: [value] for key, value in TEXT.items()})
    picture = Picture()
    picture.data, picture.mime, picture.type = PNG, "image/png", 3
    file.add_picture(picture)
    file.save()
    return path


def content(path):
    """All that a reader of tags finds in a file, as one text."""
    file = mutagen.File(path)
    return "\n".join(f"{key}={file.tags[key]}" for key in file.tags.keys())  # noqa: SIM118


@pytest.mark.parametrize("extension", ["flac", "ogg", "opus", "mp3", "m4a", "wav", "aiff"])
def test_tags_and_cover_are_kept_in_another_format(tagged, tmp_path, extension):
    target = tmp_path / f"out.{extension}"
    report = denoise_file(tagged, target, ZERO)
    assert report.notes == ()
    found = content(target)
    for value in ("Gespräch", "Various", "Nobody", "DEAB12345678", "La la", "-3.20 dB", "sunny"):
        assert value in found
    file = mutagen.File(target)
    pictures = getattr(file, "pictures", None) or "APIC" in found or "covr" in found
    assert pictures or "metadata_block_picture" in found.lower()


def test_what_a_format_cannot_hold_is_named_in_one_note(tagged, tmp_path):
    (note,) = denoise_file(tagged, tmp_path / "out.aac", ZERO).notes
    assert note.startswith("aac cannot hold, so left out: cover, album, albumartist, artist, ")
    (note,) = denoise_file(tagged, tmp_path / "out.wv", ZERO).notes
    assert note == "wv cannot hold, so left out: cover"


@pytest.mark.parametrize("extension", ["mka", "mkv"])
def test_matroska_made_of_sound_keeps_tags_and_names_the_cover(tagged, tmp_path, extension):
    target = tmp_path / f"out.{extension}"
    (note,) = denoise_file(tagged, target, ZERO).notes
    assert note == f"{extension} cannot hold, so left out: cover"
    with av.open(target) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
    names = {"albumartist": "album_artist", "discnumber": "disc", "tracknumber": "track"}
    for key, value in TEXT.items():
        assert found[names.get(key, key)] == value


@pytest.mark.parametrize("extension", ["m4a", "tta"])
def test_no_note_says_that_a_cover_is_lost_which_is_kept(tagged, tmp_path, extension):
    """FFmpeg cannot write this cover there, Mutagen can."""
    mp3, target = tmp_path / "in.mp3", tmp_path / f"out.{extension}"
    denoise_file(tagged, mp3, ZERO)
    notes = denoise_file(mp3, target, ZERO).notes
    assert not [each for each in notes if "cover" in each or "png" in each]
    assert "covr" in content(target) or "APIC" in content(target)


def test_a_description_beside_a_comment_is_another_tag(tagged, tmp_path):
    file = FLAC(tagged)
    file["comment"], file["description"] = ["short"], ["long"]
    file.save()
    assert denoise_file(tagged, tmp_path / "out.mp3", ZERO).notes == ()
    found = content(tmp_path / "out.mp3")
    assert "short" in found
    assert "long" in found


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def test_chunks_of_wav_files_are_kept(tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    write_sound(source, rumble(8000), 8000, "pcm_s16le", "wav")
    cue = struct.pack("<IIIIIII", 1, 1, 400, 0x61746164, 0, 0, 400)
    extra = [chunk(b"bext", b"B" * 603), chunk(b"cue ", cue), chunk(b"iXML", b"<BWFXML/>")]
    extra.append(chunk(b"LIST", b"adtllabl" + struct.pack("<II", 6, 1) + b"A\0"))
    data = bytearray(source.read_bytes() + b"".join(extra))
    data[4:8] = struct.pack("<I", len(data) - 8)
    source.write_bytes(data)
    assert denoise_file(source, target, ZERO).notes == ()
    kept = target.read_bytes()
    for each in extra:
        assert each in kept
    assert struct.unpack("<I", kept[4:8])[0] == len(kept) - 8
    (note,) = denoise_file(source, tmp_path / "out.flac", ZERO).notes
    assert note == (
        "flac cannot hold, so left out: the chunk bext, the chunk cue, the chunk iXML, "
        "the chunk adtl"
    )


@pytest.mark.skipif(os.name == "nt", reason="needs sparse files")
@pytest.mark.parametrize("size", [0, 12_000, 0xFFFFFFFF])
def test_no_chunks_are_looked_for_in_the_sound(tmp_path, size):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    head = b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFFFFFF) + b"WAVE" + chunk(b"fmt ", form)
    with source.open("wb") as file:
        file.write(head + b"data" + struct.pack("<I", size))
        file.seek(44 + size % 0xFFFFFFFF)
        file.write(chunk(b"iXML", b"sound that looks like a chunk"))
        file.truncate((1 << 32) + 44 + 12_000)
    write_sound(target, rumble(8000), 8000, "pcm_s16le", "wav")
    before = target.read_bytes()
    begin = time.process_time()
    assert read_metadata(source).complete(target, "wav") == []
    assert time.process_time() - begin < 10  # minutes, if all of it is walked through
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("extension", "codec", "container"),
    [("m4a", "aac", "ipod"), ("mka", "flac", "matroska"), ("mp4", "aac", "mp4")],
)
def test_tags_that_are_not_utf_8_are_decoded(tmp_path, extension, codec, container):
    source, target = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    write_sound(source, rumble(16000), 16000, codec, container, tags={"title": "XXXXXX"})
    source.write_bytes(source.read_bytes().replace(b"XXXXXX", b"Caf\xe9 1"))
    denoise_file(source, target, ZERO)
    assert "Café 1".encode() in target.read_bytes()


def test_tags_are_decoded_as_western_where_they_are_not_utf_8():
    assert readable_tags({"title": b"Caf\xe9".decode("utf-8", "surrogateescape")}) == {
        "title": "Café"
    }
    assert readable_tags({"title": "日本"}) == {"title": "日本"}


def test_sound_is_untouched_by_tags(tagged, tmp_path):
    denoise_file(tagged, tmp_path / "out.flac", ZERO)
    import soundfile

    x, y = (soundfile.read(path, dtype="int16")[0] for path in (tagged, tmp_path / "out.flac"))
    assert np.array_equal(x, y)
