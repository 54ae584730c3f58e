"""Tags, covers and the chunks of wav and aiff files, from one file into another.

FFmpeg and libsndfile carry over a few tags each; Mutagen adds what is still missing.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalSubscript=false
# pyright: reportPrivateImportUsage=false
# (Mutagen has no types.)

import base64
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import av
import mutagen
from av.error import FFmpegError
from mutagen.easyid3 import EasyID3
from mutagen.easymp4 import EasyMP4Tags
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, CHAP, COMM, ID3, TXXX, USLT  # pyright: ignore[reportPrivateImportUsage]
from mutagen.mp4 import MP4Cover, MP4Tags
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from sordino.io.formats import RIFF_BYTES, outgrows_header

_VORBIS_PICTURE = "metadata_block_picture"
_FREEFORM = "----:com.apple.iTunes:"
_STALE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps")
_STALE += ("number_of_", "_statistics_", "vendor_id", "handler_name", "encodedby", "length")
_STALE += ("wm/encodingsettings", "wm/mediaprimaryclassid")
_MP4_NAMES = {"composer": "\xa9wrt", "lyrics": "\xa9lyr", "encodedby": "\xa9too"}
_FFMPEG_NAMES = {"albumartist": "album_artist", "tracknumber": "track", "discnumber": "disc"}
_SAME = {ffmpeg: name for name, ffmpeg in _FFMPEG_NAMES.items()}
_SAME |= {"unsyncedlyrics": "lyrics", "uslt": "lyrics", "organization": "publisher"}

_OWN_CHUNKS = {b"fmt ", b"data", b"fact", b"PEAK", b"JUNK", b"junk", b"FLLR", b"PAD ", b"ds64"}
_OWN_CHUNKS |= {b"id3 ", b"ID3 ", b"COMM", b"SSND", b"FVER", b"CHAN"}
_CHUNK_BYTES = 64_000_000  # larger ones are left out


def readable_tags(tags: dict[str, str]) -> dict[str, str]:
    """Decode what is not UTF-8 as the Western code page that old programs wrote."""
    return {_readable(key): _readable(value) for key, value in tags.items()}


def kept_tags(tags: dict[str, str]) -> dict[str, str]:
    """Make tags readable, and leave out those that describe the old encoding."""
    tags = readable_tags(tags)
    return {key: value for key, value in tags.items() if not key.lower().startswith(_STALE)}


@dataclass(frozen=True)
class Metadata:
    """What a file of sound holds beside its sound, read once.

    Attributes:
        path: of the file.
        has_chapters: whether it has chapters, as far as FFmpeg knows them.
    """

    path: Path
    has_chapters: bool
    _tags: "_Tags | None"

    @property
    def names(self) -> dict[str, str]:
        """All tags under the names that FFmpeg has for them."""
        text = self._tags.text if self._tags else {}
        return {_FFMPEG_NAMES.get(key, key): ";".join(each) for key, each in text.items()}

    @property
    def has_cover(self) -> bool:
        """Whether there is a picture among the tags."""
        return self._tags is not None and bool(self._tags.pictures)

    def complete(self, target: Path, extension: str) -> list[str]:
        """Add to a finished file of sound what it still lacks of this.

        Args:
            target: file that was written.
            extension: of its final name.

        Returns:
            Notes on what is left out.
        """
        lost = _copy_chunks(self.path, target) + self._add_tags(target)
        notes = [f"{extension} cannot hold, so left out: {', '.join(lost)}"] if lost else []
        # What FFmpeg shows as chapters of a wav are its cue points, a chunk of their own.
        is_named = "chapters" in lost or "the chunk cue" in lost
        if self.has_chapters and not is_named and not _has_chapters(target):
            notes.append("its chapters are left out")
        return notes

    def _add_tags(self, target: Path) -> list[str]:
        if self._tags is None:
            return []
        kept = _read(target)
        had = kept or _read_by_ffmpeg(target)
        missing = {key: value for key, value in self._tags.text.items() if key not in had.text}
        pictures = self._tags.pictures if not had.pictures else []
        if kept is not None and (missing or pictures):
            missing, pictures = _write(target, missing, pictures)
        return ["cover"] * bool(pictures) + sorted(missing)


def read_metadata(path: Path) -> Metadata:
    """Read what a file of sound holds beside its sound; damaged tags count as none."""
    return Metadata(path, _has_chapters(path), _read(path))


def _has_chapters(path: Path) -> bool:
    with path.open("rb") as file:
        if outgrows_header(file.read(12), file.seek(0, 2)):
            return False  # FFmpeg would look for them through all of the sound
    with suppress(FFmpegError), av.open(path, metadata_errors="surrogateescape") as container:
        return bool(container.chapters())
    return False


@dataclass
class _Tags:
    text: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    pictures: list[Picture] = field(default_factory=list[Picture])


def _readable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return text


def _open(path: Path) -> Any:
    with suppress(mutagen.MutagenError, ValueError, KeyError, IndexError):  # also of damage
        return cast(Any, mutagen).File(path)
    return None


def _read(path: Path) -> _Tags | None:
    """Read all tags under the names that Vorbis comments have; None: it can have none."""
    file = _open(path)
    if file is None:
        return None
    if file.tags is None:
        with suppress(mutagen.MutagenError, NotImplementedError):
            file.add_tags()
        if file.tags is None:
            return None
    tags, found = file.tags, _Tags(pictures=list(getattr(file, "pictures", ())))
    if isinstance(tags, ID3):
        _read_id3(tags, found)
    elif isinstance(tags, MP4Tags):
        _read_mp4(tags, found)
    else:
        for key in set(tags.keys()):
            name, values = str(key).lower(), tags[key]
            if name == _VORBIS_PICTURE:
                with suppress(mutagen.MutagenError, ValueError):
                    found.pictures += [Picture(base64.b64decode(each)) for each in values]
            elif not name.startswith(("cover art", "wm/picture")):
                values = values if isinstance(values, list) else [values]
                found.text[name] = [str(each) for each in cast(list[Any], values)]
    found.text = _named(found.text)
    return found


def _read_by_ffmpeg(path: Path) -> _Tags:
    """Read the tags of a format that Mutagen does not know."""
    text: dict[str, list[str]] = {}
    with suppress(FFmpegError), av.open(path, metadata_errors="surrogateescape") as container:
        for each in (*container.streams.audio, container):
            text |= {key.lower(): [value] for key, value in each.metadata.items()}
    return _Tags(_named(text))


def _named(text: dict[str, list[str]]) -> dict[str, list[str]]:
    """Give tags their names in Vorbis comments; leave out those of the old encoding."""
    named = {_SAME.get(key, key): value for key, value in text.items() if any(value)}
    if "comment" not in named and "description" in named:
        named["comment"] = named.pop("description")
    return {key: value for key, value in named.items() if not key.startswith(_STALE)}


def _read_id3(tags: Any, found: _Tags) -> None:
    for key, get in cast(Any, EasyID3).Get.items():
        with suppress(KeyError, IndexError):
            found.text[key] = [str(each) for each in get(tags, key)]
    for frame in tags.values():
        if isinstance(frame, TXXX):
            found.text.setdefault(frame.desc.lower(), [str(each) for each in frame.text])
        elif isinstance(frame, USLT):
            found.text["lyrics"] = [str(frame.text)]
        elif isinstance(frame, COMM) and not frame.desc.startswith("iTun"):
            found.text["comment"] = [str(each) for each in frame.text]
        elif isinstance(frame, CHAP):
            found.text["chapters"] = [""]
        elif isinstance(frame, APIC):
            found.pictures.append(_picture(frame.data, frame.mime, frame.type, frame.desc))


def _read_mp4(tags: Any, found: _Tags) -> None:
    for key, get in cast(Any, EasyMP4Tags).Get.items():
        with suppress(KeyError, IndexError):
            found.text[key] = [str(each) for each in get(tags, key)]
    for name, key in _MP4_NAMES.items():
        if key in tags:
            found.text[name] = [str(each) for each in tags[key]]
    for key in tags:
        if key.startswith(_FREEFORM) and "iTun" not in key.removeprefix(_FREEFORM):
            values = [bytes(each).decode("utf-8", "replace") for each in tags[key]]
            found.text[key.removeprefix(_FREEFORM).lower()] = values
    for cover in tags.get("covr", ()):
        is_png = cover.imageformat == MP4Cover.FORMAT_PNG
        found.pictures.append(_picture(bytes(cover), "image/png" if is_png else "image/jpeg"))


def _picture(data: bytes, mime: str, kind: int = 3, description: str = "") -> Picture:
    picture: Any = Picture()
    picture.data, picture.mime, picture.type, picture.desc = data, mime, kind, description
    return picture


def _write(
    path: Path, text: dict[str, list[str]], pictures: list[Picture]
) -> tuple[dict[str, list[str]], list[Picture]]:
    """Add tags to a file; return what it cannot hold."""
    file = _open(path)
    if file.tags is None:
        file.add_tags()
    tags = file.tags
    if isinstance(tags, ID3):
        lost, unseen = _write_id3(tags, text), []
        for each in cast(list[Any], pictures):
            tags.add(APIC(encoding=3, mime=each.mime, type=each.type, desc="", data=each.data))
    elif isinstance(tags, MP4Tags):
        lost, unseen = _write_mp4(tags, text, pictures)
    else:
        lost, unseen = {}, pictures
        for key, values in text.items():
            try:
                tags[key] = values
            except (ValueError, KeyError, TypeError):  # a name that it does not allow
                lost[key] = values
        if isinstance(file, FLAC):
            unseen = []
            for each in pictures:
                cast(Any, file).add_picture(each)
        elif isinstance(file, OggVorbis | OggOpus):
            unseen = []
            blocks = [base64.b64encode(cast(Any, each).write()).decode() for each in pictures]
            if blocks:
                tags[_VORBIS_PICTURE] = blocks
    try:
        file.save()
    except mutagen.MutagenError:
        return text, pictures
    return lost, unseen


def _write_id3(tags: Any, text: dict[str, list[str]]) -> dict[str, list[str]]:
    setters = cast(Any, EasyID3).Set
    for key, values in text.items():
        if key == "lyrics":
            tags.add(USLT(encoding=3, lang="XXX", desc="", text="\n".join(values)))
        elif key == "comment":
            tags.add(COMM(encoding=3, lang="XXX", desc="", text=values))
        elif key in setters:
            with suppress(ValueError):
                setters[key](tags, key, values)
        elif key != "chapters":
            tags.add(TXXX(encoding=3, desc=key.upper(), text=values))
    return {key: values for key, values in text.items() if key == "chapters"}


def _write_mp4(
    tags: Any, text: dict[str, list[str]], pictures: list[Picture]
) -> tuple[dict[str, list[str]], list[Picture]]:
    setters = cast(Any, EasyMP4Tags).Set
    for key, values in text.items():
        if key in _MP4_NAMES:
            tags[_MP4_NAMES[key]] = values
        elif key in setters:
            with suppress(ValueError):
                setters[key](tags, key, values)
        elif key != "chapters":
            tags[_FREEFORM + key.upper()] = [each.encode() for each in values]
    kinds = {"image/jpeg": MP4Cover.FORMAT_JPEG, "image/png": MP4Cover.FORMAT_PNG}
    held = [each for each in cast(list[Any], pictures) if each.mime in kinds]
    if held:
        tags["covr"] = [MP4Cover(each.data, imageformat=kinds[each.mime]) for each in held]
    return {}, [each for each in pictures if each not in held]


# Chunks of wav (RIFF) and aiff (FORM) files


class _Chunk(NamedTuple):
    name: bytes
    offset: int  # of its content
    size: int  # of its content, bytes


def _chunks(file: BinaryIO) -> tuple[bytes, list[_Chunk]]:
    """Return the kind of a file (b"RIFF", b"RF64", b"FORM", else b"") and its chunks."""
    head = file.read(12)
    if head[8:] not in (b"WAVE", b"AIFF", b"AIFC"):
        return b"", []
    return head[:4], list(_walk(file, "big" if head[:4] == b"FORM" else "little"))


def _walk(file: BinaryIO, order: Any) -> Iterator[_Chunk]:
    end = file.seek(0, 2)
    position, wide = 12, 0
    while position + 8 <= end:
        file.seek(position)
        header = file.read(8)
        name, size = header[:4], int.from_bytes(header[4:], order)
        if name in (b"RIFF", b"FORM"):  # another recording, joined to this one
            return
        if name == b"ds64":
            wide = int.from_bytes(file.read(16)[8:], "little")
        # Of a file that was never completed, or is too long for its header, the rest is sound.
        if name == b"data" and (size in (0, RIFF_BYTES - 1) or end >= RIFF_BYTES):
            size = wide or end
        if name == b"LIST":
            name = file.read(4)  # INFO holds tags, adtl the names of cue points
            file.seek(position + 8)
        yield _Chunk(name, position + 8, size)
        position += 8 + size + size % 2


def _copy_chunks(source: Path, target: Path) -> list[str]:
    """Append chunks that the target lacks (bext, cue, iXML, smpl ...); return what is lost."""
    with source.open("rb") as given, target.open("r+b") as kept:
        kind, chunks = _chunks(given)
        kind_kept, chunks_kept = _chunks(kept)
        there = {each.name for each in chunks_kept} | _OWN_CHUNKS | {b"INFO"}
        extra = [each for each in chunks if each.name not in there]
        is_same = kind and (kind_kept == b"FORM") == (kind == b"FORM") and kind_kept
        lost = [each for each in extra if not is_same or each.size > _CHUNK_BYTES]
        end = kept.seek(0, 2)
        if kind_kept == b"RIFF" and end + sum(each.size + 9 for each in extra) >= RIFF_BYTES:
            lost = extra
        for each in extra if lost != extra else ():
            if each in lost:
                continue
            given.seek(each.offset - 8)
            data = given.read(each.size + 8)
            kept.seek(0, 2)
            kept.write(bytes(kept.tell() % 2) + data + bytes(len(data) % 2))
        size = kept.seek(0, 2) - 8
        if size + 8 > end:
            is_rf64 = kind_kept == b"RF64"
            kept.seek(20 if is_rf64 else 4)
            kept.write(size.to_bytes(8 if is_rf64 else 4, "big" if kind == b"FORM" else "little"))
    return [f"the chunk {each.name.decode('latin-1').strip()}" for each in lost]
