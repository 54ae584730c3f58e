"""Codecs: what telephones and calls do to a mixture, through PyAV."""

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av import AudioCodecContext, AudioFrame, CodecContext, Packet
from numpy.typing import NDArray
from scipy.signal import correlate

from sordino.train.decoding import resample
from sordino.train.levels import FloatArray

Rng = np.random.Generator

# kbit/s under which Opus keeps this bandwidth in Hz for speech.
OPUS_BANDWIDTHS = ((14.0, 8000.0), (20.0, 12000.0), (np.inf, 20000.0))
SEARCH = 0.010  # s, delay that may remain behind what the decoder takes off itself


@dataclass(frozen=True)
class Codec:
    """One of FFmpeg's speech codecs with its setting."""

    name: str  # FFmpeg's name of the encoder
    bandwidth: float  # Hz that it keeps
    kbps: float = 64.0  # kbit/s


def draw_codec(rng: Rng, opus_kbps: tuple[float, float]) -> Codec:
    """Opus (70 %) at a random bit rate, or one of the G.711 laws."""
    if rng.random() < 0.7:
        kbps = rng.uniform(*opus_kbps)
        return Codec("libopus", next(hz for top, hz in OPUS_BANDWIDTHS if kbps < top), kbps)
    return Codec("pcm_mulaw" if rng.random() < 0.5 else "pcm_alaw", 3600.0)


def through_codec(x: FloatArray, sample_rate: int, codec: Codec) -> FloatArray:
    """`x` encoded and decoded again, equally long and aligned with what went in.

    Args:
        x: shape `(samples,)`; above full scale it is clipped.
        sample_rate: in Hz; one of Opus' own for Opus, any for G.711.
        codec: the codec.
    """
    rate = sample_rate if codec.name == "libopus" else 8000
    pcm = np.clip(np.round(resample(x, sample_rate, rate) * 32767), -32768, 32767)
    decoded, decoded_rate = _transcode(pcm.astype(np.int16), rate, codec)
    y = resample(decoded, decoded_rate, sample_rate)
    return _align(y, x, round(SEARCH * sample_rate))


def _transcode(pcm: NDArray[np.int16], rate: int, codec: Codec) -> tuple[FloatArray, int]:
    encoder = cast(AudioCodecContext, CodecContext.create(codec.name, "w"))
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    encoder.time_base = Fraction(1, rate)
    if codec.name == "libopus":
        encoder.bit_rate = int(codec.kbps * 1000)
        encoder.options = {"application": "voip", "cutoff": str(int(codec.bandwidth))}
    encoder.open()
    twin = "opus" if codec.name == "libopus" else codec.name
    decoder = cast(AudioCodecContext, CodecContext.create(twin, "r"))
    decoder.sample_rate, decoder.layout = rate, "mono"
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    block = encoder.frame_size or len(pcm)
    packets: list[Packet] = []
    for start in range(0, len(pcm), block):
        piece = np.ascontiguousarray(pcm[None, start : start + block])
        frame = AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    y = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    scale = 1 / 32768 if y.dtype == np.int16 else 1.0
    return y.astype(np.float32) * np.float32(scale), frames[0].sample_rate


def _align(y: FloatArray, x: FloatArray, search: int) -> FloatArray:
    """`y` shifted by up to `search` samples onto `x`, and as long as it.

    Correlated are second differences: what codecs do to the phase of the lowest
    frequencies would move the peak otherwise.
    """
    y = np.pad(y[: len(x)], (0, max(0, len(x) - len(y))))
    correlation = correlate(np.diff(y, 2), np.diff(x, 2), "full", "fft")
    middle = len(x) - 3
    near = correlation[middle - search : middle + search + 1]
    lag = int(np.argmax(near)) - search
    shifted = np.zeros_like(x)
    shifted[max(0, -lag) : len(x) - max(0, lag)] = y[max(0, lag) : len(x) + min(0, lag)]
    return shifted
