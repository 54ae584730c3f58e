"""Augmentation: filters, clipping, pauses, other vocal tracts and raised voices.

Filters are gains on the bins of one FFT over the whole excerpt (`rfft` bins of `size` samples), so
that a room, an equaliser and a band limit together cost one multiplication.

The spectral envelope can change apart from the fine structure (pitch, hiss, crackle), so that few
recordings make many: another vocal tract for the same voice, a rattle that moves as the sea does.

Raised voices are shouted, sung, laughed or a child's, made of ordinary speech.  They are rare in
recordings of read speech, and a network trained on few of them takes their widely spaced
harmonics for an alarm.  Here the pitch of a voice goes up by a factor of up to three while its
formants move much less, as in shouting and singing, where the vocal tract stays nearly as long.
"""

# No types: scipy.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from sordino.train.data.signal import (
    ComplexArray,
    FloatArray,
    db,
    frame_power,
    from_frames,
    good_size,
    irfft,
    per_sample,
    rfft,
    to_frames,
)

Rng = np.random.Generator

EQ_POINTS = 8  # control points of an equaliser curve, evenly spaced on a log-frequency axis
EQ_LOWEST = 60.0  # Hz, the lowest of them


@lru_cache(maxsize=16)
def _eq_basis(size: int, sample_rate: int) -> FloatArray:
    """Raised-cosine bumps over log-frequency that sum to 1, shape `(EQ_POINTS, bins)`."""
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), EQ_LOWEST)
    # One grid for all rates, up to 24 kHz, so that a curve means the same at every rate.
    place = np.log(frequency / EQ_LOWEST) / np.log(24000 / EQ_LOWEST) * (EQ_POINTS - 1)
    distance = np.abs(place[None, :] - np.arange(EQ_POINTS)[:, None])
    return _frozen(0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1)))


def random_eq(rng: Rng, size: int, sample_rate: int, spread_db: float) -> FloatArray:
    """Gain per FFT bin of a smooth random curve; its control points have SD `spread_db`."""
    points = rng.normal(0, spread_db, EQ_POINTS).astype(np.float32)
    points -= points.mean()
    return np.exp((np.log(10) / 20) * (points @ _eq_basis(size, sample_rate)), dtype=np.float32)


@lru_cache(maxsize=64)
def band_limit(size: int, sample_rate: int, cutoff: float) -> FloatArray:
    """Gain per FFT bin of a low-pass that has no content from `cutoff` Hz on.

    The transition is the 4 % (at least 100 Hz) under the cutoff.  At or above half the
    sampling rate it is 1 everywhere.
    """
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    if cutoff >= sample_rate / 2:
        return _frozen(np.ones(len(frequency)))
    width = max(100.0, 0.04 * cutoff)
    ramp = np.clip((cutoff - frequency) / width, 0, 1)
    return _frozen(0.5 - 0.5 * np.cos(np.pi * ramp))


@lru_cache(maxsize=16)
def rumble_filter(size: int, sample_rate: int) -> FloatArray:
    """Gain per FFT bin of a high-pass under all that is heard: 0 up to 10 Hz, 1 from 25 Hz on.

    Voices have nothing under 65 Hz but the puffs of their breath.  These stay, as they are part
    of the recording that a listener compares with.
    """
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    ramp = np.clip((frequency - 10) / 15, 0, 1)
    return _frozen(0.5 - 0.5 * np.cos(np.pi * ramp))


def tilt(size: int, sample_rate: int, db_per_octave: float) -> FloatArray:
    """Gain per FFT bin that rises by `db_per_octave` from 500 Hz to 4 kHz and is flat beside."""
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    octaves = np.log2(np.clip(frequency, 500, 4000) / 500)
    return (10 ** (octaves * db_per_octave / 20)).astype(np.float32)


def _frozen(gain: NDArray[np.float64]) -> FloatArray:
    """As float32 that nobody can change: it is shared by every example to come."""
    shared = gain.astype(np.float32)
    shared.flags.writeable = False
    return shared


def clip_peaks(x: FloatArray, depth_db: float) -> FloatArray:
    """`x` hard-clipped `depth_db` dB under its own peak.

    Shape: any; the same comes out.
    """
    limit = float(np.abs(x).max(initial=0.0)) * db(-depth_db)
    return np.clip(x, -limit, limit)


def expand(x: FloatArray, sample_rate: int, depth_db: float) -> FloatArray:
    """Speech `x` with its recorded background lowered by up to `depth_db` in the pauses.

    A downward expander, 3:1, with a threshold 8 dB above the quietest frames that are not
    digital silence, but 30 to 50 dB under the active speech.  It is used on source and
    target alike, so that a recording's own hiss is not taught as something to keep.

    Shape: (samples,).
    """
    power = frame_power(x, sample_rate)
    heard = np.sort(power[power > 1e-9])  # -90 dBFS
    if len(heard) < 20:
        return x
    active = heard[heard > heard[-1] * 1e-4].mean()
    floor = heard[len(heard) // 20]
    threshold = np.clip(floor * 10**0.8, active * 1e-5, active * 1e-3)
    gain = np.clip(power / threshold, db(-depth_db), 1)
    # Wholly open from 10 ms before speech to 40 ms behind it, with ramps of 50 ms.
    gain = maximum_filter1d(gain, 10, origin=1)
    gain = np.convolve(np.pad(gain, 2, mode="edge"), np.full(5, 0.2, np.float32), "valid")
    return x * per_sample(gain, sample_rate // 100, len(x))


def insert_pause(x: FloatArray, sample_rate: int, at: float, seconds: float) -> FloatArray:
    """`x`, equally long, with `seconds` of silence inserted near `at` seconds.

    The cut is moved to the quietest 10 ms within 0.2 s, so that few words are cut in two,
    and both sides are faded over 5 ms.

    Shape: (samples,).
    """
    hop = sample_rate // 100
    power = frame_power(x, sample_rate)
    first = max(0, round(at * 100) - 20)
    near = power[first : first + 41]
    cut = (first + int(np.argmin(near))) * hop if len(near) else round(at * sample_rate)
    gap, fade = round(seconds * sample_rate), sample_rate // 200
    ramp = ((np.arange(fade) + 0.5) / fade).astype(np.float32)
    y = np.zeros_like(x)
    y[:cut] = x[:cut]
    if cut >= fade:
        y[cut - fade : cut] *= ramp[::-1]
    rest = len(x) - cut - gap
    if rest > fade:
        y[cut + gap :] = x[cut : cut + rest]
        y[cut + gap : cut + gap + fade] *= ramp
    return y


def modulate(
    rng: Rng, x: FloatArray, sample_rate: int, depth_db: float, period: float
) -> FloatArray:
    """`x` with a random slow change of level.

    Args:
        rng: random numbers.
        x: shape `(samples,)`.
        sample_rate: in Hz.
        depth_db: standard deviation of the level in dB.
        period: seconds between the points of the level curve.
    """
    frames = len(x) * 100 // sample_rate + 2
    count = max(2, int(frames / (period * 100)) + 2)
    points = rng.normal(0, depth_db, count)
    level = np.interp(np.linspace(0, count - 1, frames), np.arange(count), points)
    return x * per_sample(10 ** (level / 20), sample_rate // 100, len(x))


def switch(rng: Rng, x: FloatArray, sample_rate: int) -> FloatArray:
    """`x` switched on or off once at a random time, with a 5 ms fade.

    Shape: (samples,).
    """
    at, fade = int(rng.uniform(0.1, 0.9) * len(x)), sample_rate // 200
    gain = np.clip((np.arange(len(x)) - at) / fade, 0, 1).astype(np.float32)
    return x * (gain if rng.random() < 0.5 else np.float32(1) - gain)


FRAME_SECONDS = 0.032  # square-root Hann window, half a frame from one to the next
SMOOTH_HZ = 300.0  # width of smoothing: harmonics vanish, formants stay
FORMANT_LIMIT_DB = 15.0  # most that a moved formant lifts or lowers
IMPRINT_SECONDS = 0.05  # smoothing over time of what is taken over from another sound
IMPRINT_LIMIT_DB = 45.0  # most that it lifts or lowers; quieter parts of either count as this


def move_formants(x: FloatArray, sample_rate: int, ratio: float) -> FloatArray:
    """Speech with the resonances of another vocal tract; its pitch and its timing stay.

    Vocal tract length perturbation (Jaitly and Hinton, 2013), on the envelope alone.

    Args:
        x: shape `(samples,)`.
        sample_rate: in Hz.
        ratio: what the frequency of each formant is multiplied by, about 0.85 to 1.15.
    """
    frames = _analyse(x, sample_rate)
    bins = frames.shape[1]
    power = _smooth_power(frames, sample_rate) + np.float32(1e-14)
    place = np.minimum(np.arange(bins) / ratio, bins - 1)
    below = place.astype(int)
    share = (place - below).astype(np.float32)
    level = np.log(power)
    moved = level[:, below] * (1 - share) + level[:, np.minimum(below + 1, bins - 1)] * share
    limit = np.float32(FORMANT_LIMIT_DB * np.log(10) / 10)
    gain = np.exp(np.float32(0.5) * np.clip(moved - level, -limit, limit))
    return from_frames(frames * gain, len(x))


def imprint(x: FloatArray, other: FloatArray, sample_rate: int, share: float) -> FloatArray:
    """Noise that moves over time and frequency as another one does.

    Args:
        x: what gives the fine structure, shape `(samples,)`.
        other: what gives the envelope, as long.
        sample_rate: in Hz.
        share: how far the envelope goes from that of `x`, 0, to that of `other`, 1.
    """
    frames = _analyse(x, sample_rate)
    own = _imprint_level(frames, sample_rate)
    theirs = _imprint_level(_analyse(other, sample_rate), sample_rate)
    gain = np.exp(np.float32(share) * (theirs - own))
    return from_frames(frames * gain, len(x))


def _imprint_level(frames: ComplexArray, sample_rate: int) -> FloatArray:
    """The envelope as natural logarithms of amplitude, at most `IMPRINT_LIMIT_DB` under its top."""
    power = _smooth_power(frames, sample_rate)
    width = max(1, round(IMPRINT_SECONDS / FRAME_SECONDS * 2))
    power = uniform_filter1d(power, width, axis=0)
    top = float(power.max(initial=0.0))
    floor = max(top * float(db(-IMPRINT_LIMIT_DB)) ** 2, 1e-14)
    return np.float32(0.5) * np.log(np.maximum(power, np.float32(floor)))


def _smooth_power(frames: ComplexArray, sample_rate: int) -> FloatArray:
    """Power over bins, averaged twice over `SMOOTH_HZ`: a triangle."""
    bins = max(1, round(SMOOTH_HZ * 2 * (frames.shape[1] - 1) / sample_rate))
    once = uniform_filter1d(np.abs(frames) ** 2, bins, axis=1, mode="nearest")
    twice = uniform_filter1d(once, bins, axis=1, mode="nearest")
    # Beside a loud bin the filter's running sum comes out a little below zero.
    return np.maximum(twice, 0).astype(np.float32, copy=False)


def _analyse(x: FloatArray, sample_rate: int) -> ComplexArray:
    return to_frames(x, good_size(round(FRAME_SECONDS / 2 * sample_rate)))


STRETCH_SECONDS = 0.030  # frame of the time stretch, half a frame from one to the next
SEARCH_SECONDS = 0.010  # a frame is moved by up to this to continue the one before it


def raise_voice(
    x: FloatArray, sample_rate: int, pitch: float, formants: float, tilt_db: float, samples: int
) -> FloatArray:
    """Speech with a higher pitch, its own or slightly higher formants, and a flatter spectrum.

    Args:
        x: speech as it was recorded, but sampled at `sample_rate / pitch`, so that played at
            `sample_rate` it is `pitch` times as high and as fast; shape `(n,)`.
        sample_rate: Hz that the result is played at.
        pitch: factor of the fundamental frequency, above 1.
        formants: factor of the formant frequencies, about 1 to 1.3.
        tilt_db: dB per octave by which the spectrum gets flatter from 500 Hz to 4 kHz.
        samples: length of the result; `x` is slowed down to it.

    Returns:
        Shape `(samples,)`.
    """
    # At its recorded pitch a voice has harmonics that the smoothing of the envelope spans.
    x = move_formants(x, round(sample_rate / pitch), formants / pitch)
    x = stretch(x, sample_rate, samples)
    return irfft(rfft(x) * tilt(len(x), sample_rate, tilt_db), len(x))


def stretch(x: FloatArray, sample_rate: int, samples: int) -> FloatArray:
    """`x` slowed down to `samples` samples with its pitch kept.

    Source: Verhelst and Roelands, "An overlap-add technique based on waveform similarity
    (WSOLA) for high quality time-scale modification of speech", ICASSP 1993.

    Args:
        x: shape `(n,)`, n <= samples.
        sample_rate: in Hz.
        samples: length of the result.
    """
    hop = round(STRETCH_SECONDS * sample_rate / 2)
    search = round(SEARCH_SECONDS * sample_rate)
    if samples <= len(x) or len(x) < 4 * hop:
        return np.resize(x, samples)
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    padded = np.pad(x, (search, 3 * hop + 2 * search))
    speed = len(x) / samples
    out = np.zeros(samples + 2 * hop, np.float32)
    follow = padded[search : search + 2 * hop]
    for start in range(0, samples, hop):
        place = int(start * speed)  # of the earliest candidate in `padded`
        candidates = padded[place : place + 2 * (search + hop)]
        best = int(np.argmax(np.correlate(candidates, follow, "valid")))
        frame = padded[place + best : place + best + 2 * hop]
        out[start : start + 2 * hop] += frame * window
        follow = padded[place + best + hop : place + best + 3 * hop]
    return out[:samples]
