"""Channel effects: codecs, automatic gain, packet loss and muting.

Telephone and call codecs (through PyAV) change the mixture alone.  Automatic gain, packet loss
and muting are applied to the target as to the mixture: all are linear once they are drawn, so the
target is exactly the speech in the mixture, and the network is asked neither to turn a gain back,
nor to invent speech that was lost, nor to take away speech that a concealment repeated.
"""

# No types: scipy.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av import AudioCodecContext, AudioFrame, CodecContext, Packet
from numpy.typing import NDArray
from scipy.signal import correlate

from sordino.arrays import from_int16, to_int16
from sordino.train.data.decode import resample
from sordino.train.data.signal import (
    HOPS_PER_SECOND,
    FloatArray,
    active_level,
    frame_power,
    per_sample,
)

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
    decoded, decoded_rate = _transcode(to_int16(resample(x, sample_rate, rate)), rate, codec)
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
    packets: list[Packet[Any]] = []
    for start in range(0, len(pcm), block):
        piece = np.ascontiguousarray(pcm[None, start : start + block])
        frame = AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    y = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    sound = from_int16(y) if y.dtype == np.int16 else y.astype(np.float32)
    return sound, frames[0].sample_rate


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


PACKETS = (0.010, 0.020, 0.040, 0.060)  # s, lengths of packets in use
# Concealment as in ITU-T G.711 Appendix I: the last pitch period goes on, from 10 ms on it
# fades, after 60 ms there is silence.
HOLD, FADED = 0.010, 0.060  # s
LAGS = (0.0025, 0.015)  # s, shortest and longest pitch period
RECOVERY = 0.005  # s, cross-fade from the repetition to the next packet


def automatic_gain(
    x: FloatArray, sample_rate: int, most_db: float, attack: float, release: float
) -> FloatArray:
    """Gain per sample of an automatic gain control that heard `x`, shape `(samples,)`.

    It holds every 10 ms at the level of the active ones, slowly: speech stays what it is,
    give or take, and noise is pumped up in the pauses.

    Args:
        x: mixture, shape `(samples,)`, one frame of 10 ms at least.
        sample_rate: in Hz.
        most_db: limit of the gain and of the attenuation in dB.
        attack: time constant in seconds while the gain falls.
        release: the same while it rises.
    """
    level = 10 * np.log10(frame_power(x, sample_rate) + 1e-20)
    wanted = np.clip(active_level(x, sample_rate) - level, -most_db, most_db)
    fall, rise = (1 - np.exp(-1 / (HOPS_PER_SECOND * seconds)) for seconds in (attack, release))
    gain = float(wanted[0])
    gains = np.empty(len(wanted))
    for i, goal in enumerate(wanted.tolist()):
        gain += (goal - gain) * (fall if goal < gain else rise)
        gains[i] = gain
    return per_sample(10 ** (gains / 20), sample_rate // HOPS_PER_SECOND, len(x))


def draw_losses(rng: Rng, packets: int, share: float, burst: float) -> NDArray[np.bool_]:
    """Which packets are lost, shape `(packets,)`: a Markov chain of two states.

    The Gilbert-Elliott model where all packets arrive in the good state and none in the bad.

    Args:
        rng: random numbers.
        packets: how many are sent.
        share: of them that is lost, from above 0 to below 1.
        burst: mean number of packets lost in a row, at least 1.
    """
    begin, end = min(1.0, share / ((1 - share) * burst)), 1 / burst
    first = int(rng.random() < share)
    runs = np.empty((packets, 2), np.int64)
    runs[:, first] = rng.geometric(begin, packets)
    runs[:, 1 - first] = rng.geometric(end, packets)
    run = np.searchsorted(np.cumsum(runs), np.arange(packets), "right")
    return (run + first) % 2 == 1


def lose_packets(
    signals: FloatArray, lost: NDArray[np.bool_], sample_rate: int, seconds: float, repeat: bool
) -> FloatArray:
    """`signals` with lost packets concealed, all in the same way.

    Args:
        signals: shape `(channels, samples)`; the pitch is sought in the first.
        lost: which packets, shape `(packets,)`.
        sample_rate: in Hz.
        seconds: length of a packet.
        repeat: conceal by fading repetition of the last pitch period; else by silence.
    """
    y = signals.copy()
    samples, packet = y.shape[1], round(seconds * sample_rate)
    edges = np.flatnonzero(np.diff(lost.astype(np.int8), prepend=0, append=0)) * packet
    for start, stop in edges.reshape(-1, 2):
        if not repeat or start < round((HOLD + LAGS[1]) * sample_rate):
            y[:, start:stop] = 0
            continue
        count = np.arange(min(samples, stop + round(RECOVERY * sample_rate)) - start)
        lag = _pitch_period(y[0, :start], sample_rate)
        gain = np.clip((FADED - count / sample_rate) / (FADED - HOLD), 0, 1)
        arrived = np.clip((count - (stop - start) + 1) / (RECOVERY * sample_rate + 1), 0, 1)
        repeated = y[:, start - lag + count % lag] * (gain * (1 - arrived)).astype(np.float32)
        y[:, start : start + len(count)] *= arrived.astype(np.float32)
        y[:, start : start + len(count)] += repeated
    return y


def draw_mute(
    rng: Rng, samples: int, sample_rate: int, seconds: tuple[float, float]
) -> tuple[int, int]:
    """First and last sample, exclusive, of a time that a microphone is muted for.

    Half of them lie at the beginning: a memory that has drifted while there was nothing to
    remember hurts what comes next.

    Args:
        rng: random numbers.
        samples: length of the signal.
        sample_rate: in Hz.
        seconds: shortest and longest; what lies behind the end is lost.
    """
    start = 0 if rng.random() < 0.5 else int(rng.integers(samples))
    return start, min(samples, start + round(rng.uniform(*seconds) * sample_rate))


def _pitch_period(past: FloatArray, sample_rate: int) -> int:
    """Samples after which the last 10 ms of `past` are most like themselves."""
    shortest, longest = (round(lag * sample_rate) for lag in LAGS)
    size = sample_rate // HOPS_PER_SECOND
    earlier = past[-size - longest : -shortest]
    energy = np.convolve(earlier * earlier, np.ones(size, np.float32), "valid")
    alike = np.correlate(earlier, past[-size:], "valid") / np.sqrt(energy + 1e-12)
    return longest - int(np.argmax(alike))
