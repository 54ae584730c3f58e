"""Sound and videos to test with, made on the spot."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

FRAME_RATE = 25


def rumble(samples: int, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Low-passed noise, which codecs keep well; shape = (samples, channels)."""
    white = np.random.default_rng(seed).standard_normal((samples + 15, channels))
    smooth = np.lib.stride_tricks.sliding_window_view(white, 16, axis=0).mean(axis=2)
    return (0.4 * smooth).astype(np.float32)


def lag(a: NDArray[Any], b: NDArray[Any]) -> int:
    """By how many samples b comes later than a (first channels)."""
    count = max(len(a), len(b))
    size = 1 << (2 * count).bit_length()
    spectrum = np.fft.rfft(b[:, 0], size) * np.conj(np.fft.rfft(a[:, 0], size))
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return peak if peak < size // 2 else peak - size


def sound_of(path: Path, track: int = 0) -> tuple[float, NDArray[np.float32], int]:
    """Decode a track: when it begins in seconds, samples, sample rate in Hz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        to_float = av.AudioResampler("fltp", stream.layout, stream.rate)
        begin, parts = None, []
        for frame in container.decode(stream):
            begin = frame.time if begin is None else begin
            parts += [each.to_ndarray() for each in to_float.resample(frame)]
        return begin or 0.0, np.concatenate(parts, axis=1).T, stream.rate


def packets_of(path: Path, kind: str) -> list[tuple[Any, Any, bytes]]:
    """All packets of a kind of stream: when they are shown, decoded, and their bytes."""
    with av.open(str(path)) as container:
        return [
            (
                None if packet.pts is None else packet.pts * packet.time_base,
                None if packet.dts is None else packet.dts * packet.time_base,
                bytes(packet),
            )
            for packet in container.demux()
            if packet.stream.type == kind and packet.size
        ]


def write_video(
    path: Path,
    video: str,
    audio: str,
    container: str | None = None,
    rate: int = 48000,
    seconds: float = 2.0,
    begin: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    gap_in_pictures: bool = False,
    tracks: int = 1,
    channels: int = 2,
    subtitles: str | None = None,
    options: dict[str, str] | None = None,
) -> list[NDArray[np.float32]]:
    """Write a small video and return the sound of its tracks.

    The sound begins `begin` seconds after the pictures, and `gap` is (when, how long) a hole in
    its timestamps, in those of the pictures too if `gap_in_pictures`.
    """
    with av.open(str(path), "w", format=container) as output:
        output.metadata["title"] = "A title"
        pictures: Any = output.add_stream(video, rate=FRAME_RATE, options=options or {})
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        lanes: list[Any] = []
        for language in ("deu", "fra")[:tracks]:
            lane: Any = output.add_stream(
                audio, rate=rate, bit_rate=128_000, options={"strict": "-2"}
            )
            lane.layout = f"{channels}c"
            lane.metadata["language"] = language
            lanes.append(lane)
        texts: Any = output.add_stream(subtitles) if subtitles else None
        if texts:
            texts.time_base = Fraction(1, 1000)
            texts.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n[Events]\n"
        sounds = [rumble(round(rate * seconds), channels, seed) for seed in range(tracks)]
        for number in range(round(seconds * FRAME_RATE)):
            image = np.full((48, 64, 3), (7 * number) % 255, np.uint8)
            image[number % 48] = 255 - image[0, 0, 0]
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            late = gap_in_pictures and number >= gap[0] * FRAME_RATE
            frame.pts = number + (round(gap[1] * FRAME_RATE) if late else 0)
            frame.time_base = Fraction(1, FRAME_RATE)
            output.mux(pictures.encode(frame))
            first, last = (round(i * rate / FRAME_RATE) for i in (number, number + 1))
            shift = begin + (gap[1] if first >= gap[0] * rate else 0.0)
            for lane, sound in zip(lanes, sounds, strict=True):
                output.mux(lane.encode(_audio_frame(sound[first:last], rate, first, shift)))
            if texts and number % FRAME_RATE == 0:
                output.mux(_subtitle(texts, f"Line {number}", number * 1000 // FRAME_RATE))
        for stream in (pictures, *lanes):
            output.mux(stream.encode(None))
    return sounds


def write_sound(
    path: Path,
    sound: NDArray[np.float32],
    rate: int,
    codec: str,
    container: str,
    layout: str | None = None,
    bit_rate: int = 160_000,
    variable: bool = False,
    options: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write sound of shape (samples, channels) alone; a variable bit rate is of high quality."""
    layout = layout or ("mono" if sound.shape[1] == 1 else "stereo")
    with av.open(str(path), "w", format=container, container_options=options or {}) as output:
        output.metadata.update(tags or {})
        lane: Any = output.add_stream(codec, rate=rate, options={"q": "2"} if variable else {})
        lane.layout = layout
        if not variable and not codec.startswith(("pcm", "flac")):
            lane.bit_rate = bit_rate
        for first in range(0, len(sound), rate):
            packed = np.ascontiguousarray(sound[first : first + rate]).reshape(1, -1)
            frame: Any = av.AudioFrame.from_ndarray(packed, "flt", layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), first
            output.mux(lane.encode(frame))
        output.mux(lane.encode(None))


class Through:
    """A filter that changes nothing but answers late, as the denoiser does."""

    def __init__(self, info: Any) -> None:
        self.waiting = np.zeros((0, info.channels), np.float32)

    def feed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a block and return what is ready."""
        both = np.concatenate([self.waiting, block])
        ready = max(0, len(both) - 960)
        self.waiting = both[ready:]
        return both[:ready]

    def flush(self) -> NDArray[np.float32]:
        """Return the rest."""
        return self.waiting


def write_recording(
    path: Path, codec: str, container: str, cover: bool = True, jpeg: bytes | None = None
) -> None:
    """Write sound alone with tags, chapters and a cover."""
    jpeg = _jpeg() if jpeg is None else jpeg
    with av.open(str(path), "w", format=container) as output:
        output.metadata.update(title="A title", artist="Somebody", album="An album", date="2024")
        output.set_chapters(
            [
                {"id": i, "start": i, "end": i + 1, "time_base": Fraction(1), "metadata": {}}
                for i in range(2)
            ]
        )
        lane: Any = output.add_stream(codec, rate=48000, bit_rate=160_000)
        lane.layout = "mono"
        picture: Any = None
        if cover and container == "matroska":
            output.add_attachment("cover.jpg", "image/jpeg", jpeg)
        elif cover:
            picture = output.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 16, 16, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        output.start_encoding()
        if picture:
            packet = av.Packet(jpeg)
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            packet.time_base = Fraction(1, 90000)
            output.mux(packet)
        output.mux(lane.encode(_audio_frame(rumble(96000), 48000, 0, 0.0)))
        output.mux(lane.encode(None))


def _jpeg() -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mjpeg") as output:
        stream: Any = output.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        output.mux(stream.encode(av.VideoFrame(16, 16, "yuvj420p")))
        output.mux(stream.encode(None))
    return file.getvalue()


def _audio_frame(samples: NDArray[np.float32], rate: int, first: int, shift: float) -> Any:
    planes = np.ascontiguousarray(samples.T)
    frame = av.AudioFrame.from_ndarray(planes, "fltp", f"{len(planes)}c")
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = first + round(shift * rate)
    return frame


def _subtitle(stream: Any, text: str, milliseconds: int) -> Any:
    data = text.encode()
    if stream.name == "mov_text":
        data = len(data).to_bytes(2, "big") + data
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = milliseconds
    packet.duration = 500
    return packet
