"""The engine: noisy sound in blocks of any size -> clean sound.

Sound of any rate goes through a stateful resampler to the next native rate, there through
spectra and the network, and back.  Arrays, files and microphones use this same stream.
"""

from collections.abc import Iterator
from math import ceil
from operator import index
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sordino import slices
from sordino.arrays import Planar, from_int16
from sordino.errors import SordinoError
from sordino.masks import MaskFilter
from sordino.model import SLICE_MAGNITUDE, Model, load_model
from sordino.resample import Resampler
from sordino.stft import (
    WINDOW_SECONDS,
    SpectrumConfig,
    SpectrumFilter,
    SpectrumStream,
    native_rate,
)

LOWEST_RATE, HIGHEST_RATE = 8000, 192000  # Hz
BLOCK_SECONDS = 1  # longer blocks are cut, so that memory stays constant
MOST_LISTENED = 60  # seconds; a file holds them in memory
LOUDEST = 1e6  # beyond this, a float sample is no sound at full scale +-1 but a mistake


class _Filter(SpectrumFilter, Protocol):
    strength: float
    speech_probability: float | None


class Denoiser:
    """Takes the noise out of a stream of sound.

    Args:
        model: name of a packaged model, path of an .onnx file, or a loaded model.
        sample_rate: of the sound in Hz, 8000 to 192000.  8, 16, 24 and 48 kHz are native;
            other rates are resampled, which adds latency.  Above 48 kHz, whatever lies above
            24 kHz is removed.
        channels: 1 for mono; the channels are denoised independently of each other.
        strength: share of the noise that is taken away, 0 (nothing) to 1 (all of it).
        attenuation_limit_db: the most that any sound may be attenuated, in dB; None is no
            limit.  It is the same knob as strength, from the other end.

    Raises:
        SordinoError: an argument is out of range, or the model cannot be loaded.

    >>> denoiser = Denoiser(sample_rate=16000)
    >>> noisy = np.zeros(16000, np.float32)
    >>> blocks = [denoiser.feed(noisy[i : i + 500]) for i in range(0, 16000, 500)]
    >>> np.concatenate([*blocks, denoiser.flush()]).shape
    (16000,)
    >>> denoiser.latency
    0.02
    """

    _mask_filter = MaskFilter

    def __init__(
        self,
        model: str | Path | Model = "default",
        sample_rate: int = 48000,
        channels: int = 1,
        strength: float = 1.0,
        attenuation_limit_db: float | None = None,
    ) -> None:
        self.sample_rate = _whole(sample_rate, "sample rate", LOWEST_RATE, HIGHEST_RATE)
        self.channels = _whole(channels, "number of channels", 1, 65536)
        self.model = model if isinstance(model, Model) else load_model(model)
        self._native = native_rate(self.sample_rate, self.model.info.native_rates)
        self._strength = _valid_strength(strength)
        self._limit = _valid_limit(attenuation_limit_db)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard so far; what comes next is the start of a new sound."""
        channels = self.channels
        if self.model.info.kind == SLICE_MAGNITUDE:
            config = slices.spectrum_config()
            self._filter: _Filter = slices.SliceFilter(
                self.model, channels, self._effective_strength
            )
        else:
            config = SpectrumConfig.at(self._native)
            self._filter = self._mask_filter(self.model, channels, self._effective_strength)
        self._config = config
        self._begin()

    def _begin(self) -> None:
        """Begin a sound with whatever the filter remembers."""
        channels, rate, native = self.channels, self.sample_rate, self._native
        self._stream = SpectrumStream(self._config, channels, self._filter)
        self._to_native = Resampler(rate, native, channels) if rate != native else None
        self._from_native = Resampler(native, rate, channels) if rate != native else None
        self._due = 0  # samples taken and not yet returned
        self._mono = channels == 1

    @property
    def latency(self) -> float:
        """The most seconds from a sample's coming in to its going out, at any block size."""
        seconds = self._stream.latency_samples / self._native
        if self._to_native and self._from_native:
            seconds += self._to_native.latency + self._from_native.latency
        return seconds

    @property
    def latency_samples(self) -> int:
        """`latency` in samples."""
        return ceil(round(self.latency * self.sample_rate, 6))

    @property
    def speech_probability(self) -> float | None:
        """Probability, 0..1, that the newest frame has speech in it, in any channel.

        None if the model does not estimate it.
        """
        return self._filter.speech_probability

    @property
    def strength(self) -> float:
        """Share of the noise that is taken away, 0..1; changes take effect at the next frame."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = _valid_strength(value)
        self._filter.strength = self._effective_strength

    @property
    def attenuation_limit_db(self) -> float | None:
        """The most dB that any sound may be attenuated; changes take effect at the next frame."""
        return self._limit

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, value: float | None) -> None:
        self._limit = _valid_limit(value)
        self._filter.strength = self._effective_strength

    def listen(self, sound: ArrayLike) -> None:
        """Hear sound without returning it, before the first block.

        What is learnt of its noise and its voices serves from the first sample on, where
        otherwise the first second or two are denoised less well.  It may be the beginning of
        the very recording that follows, or the room before a meeting.

        Args:
            sound: see `feed`; five seconds are enough.

        Raises:
            SordinoError: see `feed`; or a sound has begun already.
        """
        if self._due:
            raise SordinoError("a sound has begun already: listen first, or flush it before")
        samples = self._checked(sound)
        if self.model.info.kind == SLICE_MAGNITUDE:
            return  # it remembers nothing
        # Until the window has left the sound, and the next begins as after any silence.
        pause = np.zeros((self.channels, round(2 * WINDOW_SECONDS * self.sample_rate)), "f4")
        for _ in self._advanced(np.concatenate([samples, pause], axis=1)):
            pass
        self._filter.flush()
        self._begin()

    def feed(self, block: ArrayLike) -> NDArray[np.float32]:
        """Take a block of noisy sound and return the clean samples that are ready.

        All blocks returned, with the one of `flush`, are as long as all blocks taken, and lie
        on them sample by sample.

        Args:
            block: float32 or float64 at full scale +-1, or int16; any number of samples.
                Shape = (samples,) if mono, else (samples, channels).

        Returns:
            float32 in the same layout; it may be empty, and may exceed +-1.

        Raises:
            SordinoError: the block is none of these, or holds NaN or Inf.  It is left out; the
                stream goes on with the next one.
        """
        samples = self._checked(block)
        self._due += samples.shape[1]
        parts = list(self._advanced(samples))
        return self._returned(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))

    def flush(self) -> NDArray[np.float32]:
        """Return the samples that are still inside; then all is as after `reset`."""
        sound = np.zeros((self.channels, 0), np.float32)
        if self._due and self._to_native and self._from_native:
            # A little silence makes up for rounding in the two conversions.
            silence = np.zeros((self.channels, 2 + 2 * self.sample_rate // self._native), "f4")
            native = np.concatenate(
                [self._to_native.process(silence), self._to_native.flush()], axis=1
            )
            clean = np.concatenate([self._stream.process(native), self._stream.flush()], axis=1)
            sound = np.concatenate(
                [self._from_native.process(clean), self._from_native.flush()], axis=1
            )
        elif self._due:
            sound = self._stream.flush()
        sound = self._returned(sound[:, : self._due])
        self.reset()
        return sound

    def _advanced(self, samples: Planar) -> Iterator[Planar]:
        """What comes out for each part of a block; there is at least one."""
        count, step = samples.shape[1], BLOCK_SECONDS * self.sample_rate
        for start in range(0, max(count, 1), step):
            yield self._advance(samples[:, start : start + step])

    def _advance(self, samples: Planar) -> Planar:
        if self._to_native and self._from_native:
            native = self._stream.process(self._to_native.process(samples))
            return self._from_native.process(native)
        return self._stream.process(samples)

    def _returned(self, samples: Planar) -> NDArray[np.float32]:
        self._due -= samples.shape[1]
        return samples[0] if self._mono else np.ascontiguousarray(samples.T)

    @property
    def _effective_strength(self) -> float:
        limit = 1.0 if self._limit is None else 1 - 10 ** (-self._limit / 20)
        return min(self._strength, limit)

    def _checked(self, block: ArrayLike) -> Planar:
        array: NDArray[Any] = np.asarray(block)
        if array.ndim not in (1, 2) or (array.ndim == 1 and self.channels != 1):
            expected = "(samples,)" if self.channels == 1 else f"(samples, {self.channels})"
            raise SordinoError(f"sound has the shape {array.shape}: expected {expected}")
        if array.ndim == 2 and array.shape[1] != self.channels:
            hint = ": pass its transpose" if array.shape[0] == self.channels else ""
            raise SordinoError(
                f"sound has the shape {array.shape}: expected (samples, {self.channels}){hint}"
            )
        samples = _as_float32(array)
        # No sample is above the root of their energy, which is the quicker figure.
        if not np.vdot(samples, samples) <= LOUDEST and not np.all(np.abs(samples) <= LOUDEST):
            raise SordinoError(
                "sound holds NaN, Inf or values beyond any scale: repair it first, for instance "
                "with numpy.nan_to_num"
            )
        self._mono = array.ndim == 1
        return samples[None] if self._mono else samples.T


def denoise(
    x: ArrayLike,
    sample_rate: int,
    model: str | Path | Model = "default",
    strength: float = 1.0,
    attenuation_limit_db: float | None = None,
    listen: float = 0.0,
) -> NDArray[np.float32]:
    """Return a whole recording without its noise; `Denoiser` in one call.

    Args:
        x: shape = (samples,) or (samples, channels); float at full scale +-1, or int16.
        sample_rate: in Hz.
        model, strength, attenuation_limit_db: see `Denoiser`.
        listen: seconds of its beginning that are heard first, see `Denoiser.listen`.  With 0
            no sample depends on later ones, and all is as in live use.

    Returns:
        float32 of the same shape.

    Raises:
        SordinoError: see `Denoiser` and `Denoiser.feed`.

    >>> denoise(np.zeros((4410, 2), np.int16), sample_rate=44100).shape
    (4410, 2)
    """
    array: NDArray[Any] = np.asarray(x)
    channels = array.shape[1] if array.ndim == 2 else 1
    if channels > 32 and channels > len(array):
        raise SordinoError(
            f"sound has the shape {array.shape}, which looks like (channels, samples): pass its "
            "transpose, or use Denoiser if it truly has so many channels"
        )
    denoiser = Denoiser(model, sample_rate, channels, strength, attenuation_limit_db)
    denoiser.listen(array[: samples_to_hear(listen, sample_rate)])
    return np.concatenate([denoiser.feed(array), denoiser.flush()])


def _as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    kind = array.dtype.type
    if kind is np.float32:
        return array.astype(np.float32, copy=False)
    if kind is np.int16:
        return from_int16(array)
    if kind is np.float64:
        with np.errstate(over="ignore"):  # what overflows is refused as Inf
            return array.astype(np.float32)
    raise SordinoError(f"sound is of the type {array.dtype}: expected float32, float64 or int16")


def samples_to_hear(seconds: float, sample_rate: int) -> int:
    """Samples that `Denoiser.listen` is given; the rate is in Hz.

    Raises:
        SordinoError: the seconds are out of range.
    """
    if not 0 <= seconds <= MOST_LISTENED:
        raise SordinoError(
            f"{seconds} s are to be heard first: expected 0 (none) to {MOST_LISTENED}"
        )
    return round(seconds * sample_rate)


def _whole(value: int, what: str, lowest: int, highest: int) -> int:
    try:
        number = int(value) if value == int(value) else index(value)
    except (TypeError, ValueError, OverflowError):
        raise SordinoError(f"the {what} is {value!r}: expected a whole number") from None
    if not lowest <= number <= highest:
        raise SordinoError(f"the {what} is {number}: expected {lowest} to {highest}")
    return number


def _valid_strength(value: float) -> float:
    if not 0 <= value <= 1:
        raise SordinoError(f"strength is {value}: expected 0 (nothing is taken) to 1 (all noise)")
    return float(value)


def _valid_limit(value: float | None) -> float | None:
    if value is not None and not value >= 0:
        raise SordinoError(f"the attenuation limit is {value} dB: expected 0 or more, or None")
    return None if value is None else float(value)
