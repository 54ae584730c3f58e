"""The engine: noisy sound in blocks of any size -> clean sound.

The noise is estimated at a native rate and subtracted at the sound's own:

    out = delayed input - strength * noise

Sound of any rate goes through a stateful resampler to the next native rate and there through
spectra and the network; the noise that the network finds goes back through another resampler.
What is not noise keeps its own samples.  Arrays, files and microphones use this same stream.
"""

from collections.abc import Sequence
from math import ceil
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sordino.arrays import Planar, as_array, to_float32
from sordino.deprecated import renamed_argument, warn_renamed
from sordino.errors import SordinoError
from sordino.inference import process_batch
from sordino.levels import checked_attenuation_limit, checked_strength, effective_strength
from sordino.model import RECORDING_MODEL, Model, load_model
from sordino.resample import Resampler
from sordino.stft import WINDOW_SECONDS, Spectra, SpectrumStream, native_rate
from sordino.voice import AnyVoices, load_voices, voice_filter, voice_model
from sordino.voice.stream import FALLBACK_SECONDS, VoiceStream

LOWEST_RATE, HIGHEST_RATE = 8000, 192000  # Hz
BLOCK_SECONDS = 1  # longer blocks are cut, so that memory stays constant
MAX_WARM_UP = 60  # seconds; a file holds them in memory
LOUDEST = 1e6  # beyond this, a float sample is no sound at full scale +-1 but a mistake


class Denoiser:
    """Takes the noise out of a stream of sound.

    A new or reset denoiser can be pickled and copied; one in the middle of a sound raises.

    Args:
        model: name of a packaged model, path of an .onnx file, or a loaded model.
        sample_rate: of the sound in Hz, 8000 to 192000.  8, 16, 24 and 48 kHz are native; at
            other rates the network processes resampled sound, which adds latency.  Frequencies
            above 24 kHz, or above half of the model's highest rate, are not changed.
        channels: 1 for mono; the channels are denoised independently of each other.
        strength: share of the noise that is removed, 0 (nothing) to 1 (all of it).
        attenuation_limit_db: the maximum attenuation of any sound, in dB; None is no
            limit.  It is another scale of strength.
        providers: execution providers of ONNX Runtime, see `sordino.model.load_model`; for a
            model that is not loaded yet.
        voice: profile of the only voice to keep, or several for several people at one microphone;
            names or files of profiles can be given, too.  The models "default" and "studio" are
            then replaced by `default-voice`.  None keeps everybody.
        others_db: with a voice, the maximum attenuation of other voices, in dB; None is no limit.
        voice_fallback: with a voice, seconds of speech without it after which everybody is kept
            until it is heard again, so that a wrong profile silences nobody; None is never.

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

    def __init__(
        self,
        model: str | Path | Model = "default",
        sample_rate: int = 48000,
        channels: int = 1,
        strength: float = 1.0,
        attenuation_limit_db: float | None = None,
        providers: str | Sequence[str] | None = None,
        voice: AnyVoices = None,
        others_db: float | None = None,
        voice_fallback: float | None = FALLBACK_SECONDS,
    ) -> None:
        self.sample_rate = _whole(sample_rate, "sample rate", LOWEST_RATE, HIGHEST_RATE)
        self.channels = _whole(channels, "number of channels", 1, 65536)
        self.voices = load_voices(voice)
        """Profiles of the only voices to keep; () keeps everybody."""
        self.model = _loaded(voice_model(model) if self.voices else model, providers)
        self._filter = voice_filter(self.model, self.voices, others_db, voice_fallback)
        self._native = native_rate(self.sample_rate, self.model.info.native_rates)
        self._strength = checked_strength(strength)
        self._limit = checked_attenuation_limit(attenuation_limit_db)
        self.reset()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._begun:
            raise SordinoError(
                "a Denoiser in the middle of a sound cannot be pickled or copied: reset it first, "
                "or make a new one from the same arguments"
            )
        arguments = (self.sample_rate, self.channels, self._strength, self._limit)
        if self._filter is None:
            return type(self), (self.model, *arguments)
        voices = (self.voices, self._filter.others_db, self._filter.fallback_seconds)
        return type(self), (self.model, *arguments, None, *voices)

    def reset(self) -> None:
        """Clear all state; the next block is the start of a new sound."""
        voices = () if self._filter is None else (self._filter,)
        self._network = self.model.open(self.channels, self._effective_strength, *voices)
        self._begun = False
        self._begin()

    def _begin(self) -> None:
        """Begin a sound with the network's present state."""
        channels, rate, native = self.channels, self.sample_rate, self._native
        if isinstance(self._network, VoiceStream):
            self._network.restart_watchdog()
        self._stream = SpectrumStream(self.model.stft(native), channels, self._network)
        self._to_native = Resampler(rate, native, channels) if rate != native else None
        self._from_native = Resampler(native, rate, channels) if rate != native else None
        self._waiting: Planar = np.zeros((channels, 0), np.float32)  # whose noise is not known yet
        self._spectra: Spectra | None = None  # analysed, and not yet through the network
        self._noise: Spectra | None = None  # of frames that are through it
        self._mono = channels == 1

    @property
    def latency(self) -> float:
        """Maximum delay of a sample from input to output in seconds, at any block size."""
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
        return self._network.speech_probability

    @property
    def target_probability(self) -> float | None:
        """Probability, 0..1, that an enrolled voice speaks in the newest frame.

        None without a voice.
        """
        network = self._network
        return network.target_probability if isinstance(network, VoiceStream) else None

    @property
    def voice_missing(self) -> bool:
        """Whether people speak, and no enrolled voice has been heard for some seconds."""
        return isinstance(self._network, VoiceStream) and self._network.voice_missing

    @property
    def voice_missing_seconds(self) -> float:
        """How long the enrolled voices have been missing altogether, in seconds."""
        return self._network.missing_seconds if isinstance(self._network, VoiceStream) else 0.0

    @property
    def keeps_everybody(self) -> bool:
        """Whether all voices are kept: there is no profile, or its voice is missing."""
        return not isinstance(self._network, VoiceStream) or self._network.keeps_everybody

    @property
    def strength(self) -> float:
        """Share of the noise that is removed, 0..1; changes take effect at the next frame."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = checked_strength(value)
        self._network.strength = self._effective_strength

    @property
    def attenuation_limit_db(self) -> float | None:
        """The maximum attenuation of any sound in dB; changes take effect at the next frame."""
        return self._limit

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, value: float | None) -> None:
        self._limit = checked_attenuation_limit(value)
        self._network.strength = self._effective_strength

    def warm_up(self, sound: ArrayLike) -> None:
        """Run sound through the network without returning it, before the first block.

        The network adapts to the noise and the voices, so that the first second or two are
        denoised as well as later ones.  The sound may be the beginning of the same recording,
        or the room before a meeting.

        Args:
            sound: see `feed`; five seconds are enough.

        Raises:
            SordinoError: see `feed`; or a sound has begun already.

        Shape: (samples,) or (samples, channels).
        """
        if self._waiting.shape[1]:
            raise SordinoError("a sound has begun already: warm up first, or flush it before")
        samples = self._checked(sound)
        if not self.model.info.states:
            return  # it remembers nothing
        self._begun = True
        # Until the window has left the sound, and the next begins as after any silence.
        pause = np.zeros((self.channels, round(2 * WINDOW_SECONDS * self.sample_rate)), "f4")
        for part in self._parts(np.concatenate([samples, pause], axis=1)):
            self._analyse(part)
            self._run()
        self._network.flush()
        self._begin()

    def listen(self, sound: ArrayLike) -> None:
        """Old name of `warm_up`.

        Shape: as there.
        """
        warn_renamed("Denoiser.listen", "Denoiser.warm_up")
        self.warm_up(sound)

    def feed(self, block: ArrayLike) -> NDArray[np.float32]:
        """Take a block of noisy sound and return the clean samples that are ready.

        All blocks returned, with the one of `flush`, are as long as all blocks taken, and
        aligned with them sample by sample.

        Args:
            block: any number of samples.  Floats at full scale +-1, or int16, int32 or uint8
                at theirs.  Shape = (samples,) if mono, else (samples, channels).

        Returns:
            float32 in the same layout; it may be empty, and may exceed +-1.

        Raises:
            SordinoError: the block is none of these, or holds NaN or Inf.  It is left out; the
                stream goes on with the next one.
        """
        parts = [self._cleaned(part) for part in self._parts(self._checked(block))]
        return self._returned(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))

    def analyse(self, block: ArrayLike) -> None:
        """Take a block of noisy sound and hold its spectra; the first third of `feed`.

        `run_batch` takes the spectra of many denoisers through the network at once, and then
        `synthesise` returns what `feed` would have.

        Args:
            block: see `feed`.

        Raises:
            SordinoError: see `feed`.

        Shape: (samples,) or (samples, channels).
        """
        self._analyse(self._checked(block))

    @staticmethod
    def run_batch(denoisers: "Sequence[Denoiser]") -> None:
        """Run the network on all frames that some denoisers hold, in as few runs as possible.

        Like channels, streams are the batch axis of the network, each with its own state.
        Those of the same model that hold as many frames of as many bins share a run; each gets
        what it would get alone.

        Args:
            denoisers: at most once each; between `analyse` and `synthesise`.

        >>> first, second = Denoiser(sample_rate=16000), Denoiser(sample_rate=16000)
        >>> for each in (first, second):
        ...     each.analyse(np.zeros(480, np.float32))
        >>> Denoiser.run_batch([first, second])
        >>> first.synthesise().shape, second.synthesise().shape
        ((320,), (320,))
        """
        held = [
            (each, each._network, each._spectra) for each in denoisers if each._spectra is not None
        ]
        noises = process_batch(
            [network for _, network, _ in held], [spectra for *_, spectra in held]
        )
        for (each, network, _), noise in zip(held, noises, strict=True):
            if each._network is network:  # it was not reset meanwhile
                each._keep(noise)

    def synthesise(self) -> NDArray[np.float32]:
        """Return the clean samples that are ready after `run_batch`; the last third of `feed`."""
        return self._returned(self._synthesise())

    def flush(self) -> NDArray[np.float32]:
        """Return the samples that are still inside; then all is as after `reset`."""
        self._run()
        clean = self._synthesise()
        if self._waiting.shape[1]:
            clean = np.concatenate([clean, self._waiting - self._last_noise()], axis=1)
        sound = self._returned(clean)
        self.reset()
        return sound

    def _parts(self, samples: Planar) -> list[Planar]:
        """Cut a block so that memory stays constant; there is at least one part."""
        step = BLOCK_SECONDS * self.sample_rate
        return [samples[:, i : i + step] for i in range(0, max(samples.shape[1], 1), step)]

    def _cleaned(self, samples: Planar) -> Planar:
        self._analyse(samples)
        self._run()
        return self._synthesise()

    def _analyse(self, samples: Planar) -> None:
        self._begun = True
        self._waiting = np.concatenate([self._waiting, samples], axis=1)
        if self._to_native:
            samples = self._to_native.process(samples)
        spectra = self._stream.analyse(samples)
        held = self._spectra
        self._spectra = spectra if held is None else np.concatenate([held, spectra], axis=1)

    def _run(self) -> None:
        """Take the frames that are held through the network."""
        if self._spectra is not None:
            self._keep(self._network.process(self._spectra))

    def _keep(self, noise: Spectra) -> None:
        """Keep the noise of the frames that were held."""
        self._spectra = None
        before = self._noise
        self._noise = noise if before is None else np.concatenate([before, noise], axis=1)

    def _synthesise(self) -> Planar:
        """Subtract the noise from the samples for which it is known."""
        if self._noise is None:
            return self._waiting[:, :0]
        noise = self._stream.synthesise(self._noise)
        self._noise = None
        if self._from_native:
            noise = self._from_native.process(noise)
        count = noise.shape[1]
        clean = self._waiting[:, :count] - noise
        self._waiting = self._waiting[:, count:]
        return clean

    def _last_noise(self) -> Planar:
        """Return the noise of all samples that are still waiting; the sound has ended."""
        if not (self._to_native and self._from_native):
            return self._stream.flush()
        # A little silence makes up for rounding in the two conversions.
        silence = np.zeros((self.channels, 2 + 2 * self.sample_rate // self._native), "f4")
        native = np.concatenate([self._to_native.process(silence), self._to_native.flush()], axis=1)
        noise = np.concatenate([self._stream.process(native), self._stream.flush()], axis=1)
        noise = np.concatenate(
            [self._from_native.process(noise), self._from_native.flush()], axis=1
        )
        return noise[:, : self._waiting.shape[1]]

    def _returned(self, samples: Planar) -> NDArray[np.float32]:
        return samples[0] if self._mono else np.ascontiguousarray(samples.T)

    @property
    def _effective_strength(self) -> float:
        return effective_strength(self._strength, self._limit)

    def _checked(self, block: ArrayLike) -> Planar:
        array = as_array(block)
        _check_shape(array, self.channels)
        samples = to_float32(array)
        # No sample is above the root of their energy, which is the quicker figure.
        if not np.vdot(samples, samples) <= LOUDEST and not np.all(np.abs(samples) <= LOUDEST):
            raise SordinoError(
                "sound holds NaN, Inf or values beyond any scale: repair it first, for instance "
                "with numpy.nan_to_num"
            )
        self._mono = array.ndim == 1
        return samples[None] if self._mono else samples.T


@renamed_argument("listen", "warm_up")
def denoise(
    x: ArrayLike,
    sample_rate: int,
    model: str | Path | Model = RECORDING_MODEL,
    strength: float = 1.0,
    attenuation_limit_db: float | None = None,
    warm_up: float = 0.0,
    providers: str | Sequence[str] | None = None,
    voice: AnyVoices = None,
    others_db: float | None = None,
    voice_fallback: float | None = FALLBACK_SECONDS,
) -> NDArray[np.float32]:
    """Return a whole recording without its noise; `Denoiser` in one call.

    The model for recordings looks ahead.  With the model "default" no output sample depends on
    later input, as in live use.

    Args:
        x: shape = (samples,) or (samples, channels); floats at full scale +-1, or int16, int32 or
            uint8 at theirs.
        sample_rate: in Hz.
        model, strength, attenuation_limit_db, providers: see `Denoiser`.
        voice, others_db, voice_fallback: see `Denoiser`.
        warm_up: seconds of its beginning that the network processes first, see
            `Denoiser.warm_up`.

    Returns:
        float32 of the same shape.

    Raises:
        SordinoError: see `Denoiser` and `Denoiser.feed`.

    >>> denoise(np.zeros((4410, 2), np.int16), sample_rate=44100).shape
    (4410, 2)
    """
    array = as_array(x)
    channels = array.shape[1] if array.ndim == 2 else 1
    if channels > 32 and channels > len(array):
        raise SordinoError(
            f"sound has the shape {array.shape}, which looks like (channels, samples): pass its "
            "transpose, or use Denoiser if it truly has so many channels"
        )
    _check_shape(array, max(channels, 1))
    denoiser = Denoiser(
        model, sample_rate, channels, strength, attenuation_limit_db, providers,
        voice, others_db, voice_fallback,
    )  # fmt: skip
    seconds = warm_up_samples(warm_up, denoiser.sample_rate)
    denoiser.warm_up(array[:seconds])
    return np.concatenate([denoiser.feed(array), denoiser.flush()])


def warm_up_samples(seconds: float, sample_rate: int) -> int:
    """Return the samples that `Denoiser.warm_up` is given; the rate is in Hz.

    Raises:
        SordinoError: the seconds are out of range.
    """
    try:
        valid = 0 <= seconds <= MAX_WARM_UP
    except TypeError:
        valid = False
    if not valid:
        raise SordinoError(f"warm-up is {seconds!r} s: expected 0 (none) to {MAX_WARM_UP}")
    return round(seconds * sample_rate)


def _loaded(model: object, providers: str | Sequence[str] | None) -> Model:
    if isinstance(model, str | Path):
        return load_model(model, providers)
    if not isinstance(model, Model):
        raise SordinoError(
            f"the model is {model!r}: expected a name, the path of an .onnx file, or a Model"
        )
    if providers is not None:
        raise SordinoError(
            "providers are given beside a loaded model: give them to load_model instead"
        )
    return model


def _check_shape(array: NDArray[Any], channels: int) -> None:
    if array.ndim not in (1, 2) or (array.ndim == 1 and channels != 1):
        expected = "(samples,)" if channels == 1 else f"(samples, {channels})"
        raise SordinoError(f"sound has the shape {array.shape}: expected {expected}")
    if array.ndim == 2 and array.shape[1] != channels:
        hint = ": pass its transpose" if array.shape[0] == channels else ""
        raise SordinoError(
            f"sound has the shape {array.shape}: expected (samples, {channels}){hint}"
        )


def _whole(value: int, what: str, lowest: int, highest: int) -> int:
    try:
        number = int(value) if value == int(value) else index(value)
    except (TypeError, ValueError, OverflowError):
        raise SordinoError(f"the {what} is {value!r}: expected a whole number") from None
    if not lowest <= number <= highest:
        raise SordinoError(f"the {what} is {number}: expected {lowest} to {highest}")
    return number
