"""Echo: what an echo canceller leaves of the far speaker's voice."""

import numpy as np

from sordino.train.fourier import from_frames, irfft, rfft, to_frames
from sordino.train.levels import FloatArray, active_level, db
from sordino.train.noises import log_uniform

Rng = np.random.Generator


def echo(
    rng: Rng, voice: FloatArray, room: tuple[FloatArray, FloatArray] | None, sample_rate: int
) -> FloatArray:
    """The residue of a voice that came out of a loudspeaker; silence where the voice is silent.

    The loudspeaker distorts mildly and passes a band; the canceller takes most of the direct
    sound and of the early reflections, so that reverberation and distortion are what is left;
    the suppressor behind it lets that through in patches.

    Args:
        rng: random numbers.
        voice: of the far speaker, shape `(samples,)`.
        room: whole response and its early part, both of shape `(samples,)` and circular, as
            `sordino.train.rooms.split_room` gives them; None without a room.
        sample_rate: in Hz.
    """
    size = len(voice)
    level = active_level(voice, sample_rate)
    if level < -150:
        return voice
    drive, offset = np.float32(log_uniform(rng, 0.5, 4)), np.float32(rng.uniform(-0.3, 0.3))
    driven = voice * np.float32(drive * db(-15 - level)) + offset  # the offset is not heard
    spectrum = rfft(np.tanh(driven)) * _loudspeaker(rng, size, sample_rate)
    if room is not None:
        whole, early = room
        taken = np.float32(1 - db(rng.uniform(-30, -6)))
        spectrum *= rfft((whole - early * taken).astype(np.float32, copy=False))
    x = irfft(spectrum, size) / drive
    return _suppress(rng, x, sample_rate)


def _loudspeaker(rng: Rng, size: int, sample_rate: int) -> FloatArray:
    """Gain per FFT bin: from about 300 to 3400 .. 7000 Hz, 24 dB per octave beside that."""
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    low, high = rng.uniform(200, 400), log_uniform(rng, 3400, 7000)
    ratio = np.minimum(frequency / low, 1) * np.minimum(high / np.maximum(frequency, high), 1)
    return (ratio**4).astype(np.float32)


def _suppress(rng: Rng, x: FloatArray, sample_rate: int) -> FloatArray:
    """`x` in patches of 60 ms and 400 Hz, the others 15 to 40 dB lower, with breaks in all."""
    hop = sample_rate // 100
    frames = to_frames(x, hop)
    count, bins = frames.shape
    passed = rng.random((count // 6 + 1, bins // 8 + 1)) < rng.uniform(0.2, 0.7)
    bursts = rng.random(count // 18 + 1) < rng.uniform(0.4, 1)
    passed &= bursts.repeat(3)[: len(passed), None]
    gain = np.where(passed, np.float32(1), db(-rng.uniform(15, 40)))
    gain = gain.repeat(6, 0)[:count].repeat(8, 1)[:, :bins]
    gain[1:] = 0.5 * (gain[1:] + gain[:-1])
    return from_frames(frames * gain, len(x))
