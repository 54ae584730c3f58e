"""Encoding of one audio track into a container (mp3, m4a, mp4, mkv, webm ...), through PyAV."""

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.codec.codec import Capabilities, Codec
from av.container import OutputContainer
from av.error import FFmpegError

from sordino.arrays import Interleaved
from sordino.errors import SordinoError
from sordino.io.formats import LOSSLESS_CODECS, SoundInfo
from sordino.io.tags import kept_tags

_ENCODERS = {"mp3": "libmp3lame", "opus": "libopus"}  # others carry the codec's own name
_PRIMING = {"aac": 1024, "mp3": 1105, "ac3": 256, "eac3": 256, "mp2": 481}  # samples
_LEAST_BIT_RATE = {"aac": 64_000, "mp3": 64_000, "opus": 32_000}  # per channel; others: below
_OTHER_BIT_RATE = 96_000
_PLAIN = ("mono", "stereo", "1c", "2c", "")
_UNCOMMON = {"5.1(side)", "5.0(side)"}
_LOST_LAYOUTS = {("libopus", "5.0"), ("libopus", "6.1"), ("aac", "6.1"), ("aac", "7.1(wide)")}
"""Layouts whose channels FFmpeg's encoders confuse or leave without names (up to FFmpeg 8)."""
_SIMILAR_LAYOUTS = {
    # Surround loudspeakers are at the side or at the back; most codecs know one of the two.
    **{"5.1(side)": "5.1", "5.1": "5.1(side)", "5.0(side)": "5.0", "5.0": "5.0(side)"},
    **{"quad(side)": "quad", "quad": "quad(side)"},
}


def open_output(file: Path | BinaryIO, container: str, sample_rate: int) -> OutputContainer:
    """Open a container for writing, with a clock that is exact to the sample."""
    name = f"file:{file}" if isinstance(file, Path) else file
    options: dict[str, str] = {}
    if container == "wav":
        options["rf64"] = "auto"  # if it grows beyond 4 GiB
    if container in ("mp4", "mov", "ipod", "f4v", "3gp", "3g2"):
        # Edit lists count in units of this clock; its default is a coarse millisecond.
        options["movie_timescale"] = str(sample_rate)
    return av.open(name, "w", format=container, container_options=options)


class TrackEncoder:
    """Encodes one audio track into an open output container.

    Args:
        output: the container; nothing may have been written to it yet.
        codecs: FFmpeg's names of codecs or encoders; the first one that can be written is taken.
        info: of the sound that will come; the rate changes only if the codec does not have it.
        skip_priming: leave out as many samples at the start as the encoder puts in front; for
            containers that cannot tell the player to leave those out.

    Raises:
        SordinoError: none of the codecs can be written into this container.
    """

    def __init__(
        self,
        output: OutputContainer,
        codecs: Sequence[str],
        info: SoundInfo,
        skip_priming: bool = False,
    ) -> None:
        self._output: Any = output
        self._rate = info.sample_rate
        self._position: int | None = None
        encoder, rate, self._layout = _choose(output.format.name, codecs, info)
        self.stream = _add_track(output, encoder, rate, self._layout)
        self.rate: int = self.stream.rate
        sample_format = _sample_format(encoder, info.subtype)
        self.stream.format = sample_format
        self.codec = name = encoder.canonical_name
        # Encoders of 24 bits cut the others off; rounding is a bit more exact.
        self._rounds = sample_format in ("s32", "s32p") and name != "pcm_s32le"
        self._skip = _PRIMING.get(name, 0) if skip_priming else 0
        if not name.startswith(LOSSLESS_CODECS):
            least = _LEAST_BIT_RATE.get(name, _OTHER_BIT_RATE) * info.channels
            self.stream.bit_rate = max(info.bit_rate or 0, least)
        if name == "opus":
            self.stream.bit_rate = min(self.stream.bit_rate, 256_000 * info.channels)

    def start(self, position: int) -> None:
        """Say where on the container's clock the first sample belongs; later calls do nothing."""
        if self._position is None:
            self._position = position

    def encode(self, samples: Interleaved) -> None:
        """Encode samples, shape = (samples, channels), that follow on those before."""
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        self._position = (self._position or 0) + skipped
        samples = samples[skipped:]
        if not len(samples):
            return
        if self._rounds:
            levels: Interleaved = np.rint(samples * np.float32(1 << 23))
            samples = levels * np.float32(1 / (1 << 23))
        interleaved = np.ascontiguousarray(samples).reshape(1, -1)
        frame = AudioFrame.from_ndarray(interleaved, "flt", self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._position
        self._position += len(samples)
        self._output.mux(self.stream.encode(frame))

    def flush(self) -> None:
        """Encode what the encoder still holds."""
        self._output.start_encoding()
        self._output.mux(self.stream.encode(None))


def _choose(container: str, codecs: Sequence[str], info: SoundInfo) -> tuple[Codec, int, str]:
    """Choose an encoder, its sample rate and layout; many muxers refuse only their header."""
    layout = info.layout or (f"{info.channels}c" if info.channels <= 2 else "")
    # Unknown channels stay unknown where the format allows it, and else are what is usual.
    layouts = [layout] if layout else [f"{info.channels} channels", f"{info.channels}c"]
    if layout in _SIMILAR_LAYOUTS:
        layouts.append(_SIMILAR_LAYOUTS[layout])
        layouts.sort(key=_UNCOMMON.__contains__)
    has_encoder = False
    for codec in codecs:
        with suppress(ValueError):  # no such encoder
            encoder = Codec(_ENCODERS.get(codec, codec), "w")
            if encoder.capabilities & Capabilities.experimental:
                continue
            has_encoder = True
            for rate, each in product(_nearest_rates(encoder, info.sample_rate), layouts):
                if (encoder.name, each) in _LOST_LAYOUTS:
                    continue
                if container == "matroska" and codec.startswith("pcm_") and layout not in _PLAIN:
                    continue  # it does not say which channel is which
                if _can_hold(container, encoder.name, rate, each):
                    return encoder, rate, each
    names = " or ".join(dict.fromkeys(codecs))
    what = f"{container} ({names}) cannot hold {info.channels} channel(s) at {info.sample_rate} Hz"
    if not has_encoder:
        what = f"this installation of FFmpeg cannot write {names} into {container}"
    raise SordinoError(f"{what}: choose another format, for instance --format wav")


@cache
def _can_hold(container: str, encoder: str, rate: int, layout: str) -> bool:
    try:
        with av.open(BytesIO(), "w", format=container) as output:
            stream = _add_track(output, Codec(encoder, "w"), rate, layout)
            if not encoder.startswith(LOSSLESS_CODECS):
                stream.bit_rate = _OTHER_BIT_RATE * stream.layout.nb_channels
            output.start_encoding()
    except (ValueError, FFmpegError):
        return False
    return True


def _add_track(output: OutputContainer, encoder: Codec, rate: int, layout: str) -> Any:
    stream: Any = cast(Any, output).add_stream(encoder.name, rate=rate)
    stream.layout = layout
    stream.time_base = Fraction(1, rate)
    return stream


def _nearest_rates(encoder: Codec, rate: int) -> list[int]:
    """Return the rates to try: the best first, then one that every encoder has."""
    rates = encoder.audio_rates
    best = rate
    if rates and rate not in rates:
        best = min((each for each in rates if each > rate), default=max(rates))
    # Some encoders, as those of wma, do not tell that they go no further.
    return [best, 48000] if best > 48000 else [best]


def _sample_format(encoder: Codec, subtype: str) -> str:
    """Choose the encoder's sample format that keeps the depth of the input."""
    names = [each.name for each in encoder.audio_formats or []]
    wide = subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    order = ("s32", "s32p", "flt", "fltp") if wide else ("s16", "s16p")
    return next((name for name in order if name in names), names[0])


class ContainerSink:
    """Writes one track of sound into a new container.

    Args:
        file: a path, or an open binary file, which need not be seekable.
        container: FFmpeg's name of the format ("mp3", "ipod", "wav").
        codec: FFmpeg's name of the encoder.
        info: of the sound that will come.

    Raises:
        SordinoError: there is no such encoder, or it cannot hold this sound.
    """

    def __init__(self, file: Path | BinaryIO, container: str, codec: str, info: SoundInfo) -> None:
        self._output: Any = open_output(file, container, info.sample_rate)
        self._output.metadata.update(kept_tags(info.tags))
        try:
            self._track = TrackEncoder(self._output, [codec], info)
            self._output.start_encoding()
        except ValueError as error:
            if isinstance(error, OSError):  # the disk's fault, not the sound's
                raise
            raise SordinoError(
                f"{container} ({codec}) cannot hold {info.channels} channel(s) at "
                f"{info.sample_rate} Hz: choose another format, for instance --format wav"
            ) from error
        self.notes: list[str] = []
        if self._track.rate != info.sample_rate:
            self.notes.append(
                f"{codec} has no {info.sample_rate} Hz: written at {self._track.rate} Hz"
            )

    def write(self, samples: Interleaved) -> None:
        """Append samples, shape = (samples, channels)."""
        self._track.encode(samples)

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self._track.flush()
        finally:
            self._output.close()
