"""One track of sound while it is denoised: what is taken, measured, drawn and kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sordino.arrays import Interleaved
from sordino.denoiser import Denoiser, warm_up_samples
from sordino.deprecated import renamed_names
from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.io.audiofile import AudioSink, explain, open_source
from sordino.io.formats import SoundInfo
from sordino.io.loudness import check_loudness
from sordino.levels import NoiseMeter, noise_taken
from sordino.model import RECORDING_MODEL, Model, load_model
from sordino.spectrogram import Spectrogram, check_plotting, draw
from sordino.voice import AnyVoices, load_voice_model, load_voices
from sordino.voice.stream import FALLBACK_SECONDS

WARM_UP = 5.0  # seconds; scores rise with up to three
PANELS = ("Noisy", "Noise taken", "Speech left")
__getattr__ = renamed_names(__name__, {"Settings": "DenoiseSettings"})


class StreamDenoiser(Protocol):
    """What a track is denoised by; see `sordino.denoiser.Denoiser`, also for shapes."""

    channels: int
    model: Model

    @property
    def voice_missing_seconds(self) -> float: ...  # noqa: D102
    def warm_up(self, sound: ArrayLike) -> None: ...  # noqa: D102
    def feed(self, block: ArrayLike) -> NDArray[np.float32]: ...  # noqa: D102
    def flush(self) -> NDArray[np.float32]: ...  # noqa: D102


@dataclass(frozen=True)
class DenoiseSettings:
    """How to denoise a recording.

    Args:
        model, strength, attenuation_limit_db: see `sordino.denoiser.Denoiser`.
        warm_up: seconds of a track that the network processes first, so that its first words
            come out as clean as later ones; 0 is a cold start.
        loudness: integrated loudness of the output in LUFS (EBU R 128), with the true peak held
            below -1 dBTP; None leaves the level alone.
        begin, end: the section to take, in seconds; an end of None is that of the recording.
        channel: the only channel to take, from 1; None is all.
        track: the only audio track to denoise, from 1; None is the first one, and of videos all.
        voice, others_db, voice_fallback, providers: see `sordino.denoiser.Denoiser`.
    """

    model: str | Path | Model = RECORDING_MODEL
    strength: float = 1.0
    attenuation_limit_db: float | None = None
    warm_up: float = WARM_UP
    loudness: float | None = None
    begin: float = 0.0
    end: float | None = None
    channel: int | None = None
    track: int | None = None
    voice: AnyVoices = None
    others_db: float | None = None
    voice_fallback: float | None = FALLBACK_SECONDS
    providers: str | Sequence[str] | None = None

    @property
    def takes_part(self) -> bool:
        """Whether only a section or one channel is taken."""
        return self.begin > 0 or self.end is not None or self.channel is not None

    def loaded(self) -> Self:
        """Return these settings with the model and the voices loaded.

        Raises:
            SordinoError: one cannot be loaded.
        """
        voices = load_voices(self.voice)
        if voices:
            model = load_voice_model(self.model)
        else:
            model = self.model if isinstance(self.model, Model) else load_model(self.model)
        if self.providers:
            model = model.on(self.providers)
        return replace(self, model=model, voice=voices)

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            SordinoError: the message says which.
        """
        self.denoiser(48000, 1)
        warm_up_samples(self.warm_up, 48000)
        if self.loudness is not None:
            check_loudness(self.loudness)
        if not 0 <= self.begin < (inf if self.end is None else self.end):
            end = "the end" if self.end is None else f"{self.end:g} s"
            raise SordinoError(f"there is no section from {self.begin:g} s to {end}")

    def part_of(self, info: SoundInfo) -> SoundInfo:
        """Return what is known of the part that is taken of a sound.

        Raises:
            SordinoError: there is no such channel.
        """
        if self.channel is not None and not 1 <= self.channel <= info.channels:
            raise SordinoError(f"there is no channel {self.channel}: it has {info.channels}")
        if self.channel is not None:
            info = replace(info, channels=1, layout="mono")
        if info.seconds is not None:
            end = info.seconds if self.end is None else min(self.end, info.seconds)
            info = replace(info, seconds=max(0.0, end - self.begin))
        return info

    def parts(self, blocks: Iterator[Interleaved], sample_rate: int) -> Iterator[Interleaved]:
        """Yield the part of some blocks that is taken."""
        begin = round(self.begin * sample_rate)
        end = None if self.end is None else round(self.end * sample_rate)
        position = 0
        for block in blocks:
            last = None if end is None else max(0, end - position)
            part = block[max(0, begin - position) : last]
            position += len(block)
            if len(part):
                yield part if self.channel is None else part[:, [self.channel - 1]]
            if end is not None and position >= end:
                return

    def denoiser(self, sample_rate: int, channels: int) -> StreamDenoiser:
        """Make a denoiser for a track, with the rate in Hz."""
        return Denoiser(
            self.model,
            sample_rate,
            channels,
            self.strength,
            self.attenuation_limit_db,
            voice=self.voice,
            others_db=self.others_db,
            voice_fallback=self.voice_fallback,
        )


class TrackDenoiser:
    """Denoises a track and watches what happens to it.

    Args:
        info: of the track.
        settings: model and strength.
        noise: where what is taken goes, or None.
        gain: of the clean sound.
        has_picture: whether `draw` will be called.
        report: called after each block with the seconds that are done; it may raise to stop.
    """

    def __init__(
        self,
        info: SoundInfo,
        settings: DenoiseSettings,
        noise: AudioSink | None = None,
        gain: float = 1.0,
        has_picture: bool = False,
        report: Callable[[float], None] | None = None,
    ) -> None:
        self.sample_rate = info.sample_rate
        self.meter = NoiseMeter(info.sample_rate)
        self._settings = settings
        self._denoiser = settings.denoiser(info.sample_rate, info.channels)
        self._noise = noise
        self._gain = np.float32(gain)
        panels = PANELS if has_picture else ()
        self._spectrograms = {name: Spectrogram(info.sample_rate) for name in panels}
        self._report = report
        self._waiting = np.zeros((0, info.channels), np.float32)  # noisy, clean not yet there
        self._to_warm_up = warm_up_samples(settings.warm_up, info.sample_rate)
        self._samples = 0
        self._missing_seconds = 0.0  # of the enrolled voice

    @property
    def notes(self) -> list[str]:
        """What the user should know of the sound, after `flush`."""
        seconds = self._missing_seconds
        if seconds < 1:
            return []
        note = f"people spoke for {seconds:.0f} s without the enrolled voice"
        return [
            note
            if self._settings.voice_fallback is None
            else f"{note}, and everybody was kept there"
        ]

    @property
    def seconds(self) -> float:
        """Length of the sound so far."""
        return self._samples / self.sample_rate

    def feed(self, block: Interleaved) -> Interleaved:
        """Denoise a block, shape = (samples, channels); some samples come out later.

        Raises:
            SordinoError: a sample is NaN or Inf.
        """
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            seconds = (self._samples + int(finite.argmin())) / self.sample_rate
            raise SordinoError(
                f"the sample at {seconds:.3f} s is not a number (NaN or Inf): export the sound "
                "again, for instance as 24 bit"
            )
        self._samples += len(block)
        self._waiting = np.concatenate([self._waiting, block])
        if self._samples < self._to_warm_up:
            return self._watched(block[:0])
        return self._watched(self._denoiser.feed(self._warmed_up(block)))

    def flush(self) -> Interleaved:
        """Return the samples that are still inside."""
        held = self._denoiser.feed(self._warmed_up(self._waiting[:0]))
        self._missing_seconds = self._denoiser.voice_missing_seconds
        return self._watched(np.concatenate([held, self._denoiser.flush()]))

    def draw(self, path: Path, title: str) -> None:
        """Draw what was noisy, what was taken and what is left into a PNG file."""
        facts = [f"{self.sample_rate / 1000:g} kHz", f"model {self._denoiser.model.info.name}"]
        if self.meter.taken_db is not None:
            facts.append(f"noise taken {noise_taken(self.meter.taken_db)}")
        draw(path, self._spectrograms, title, " · ".join(facts))

    def _warmed_up(self, block: Interleaved) -> Interleaved:
        """What to feed after a block: all that was held for the warm-up, else the block."""
        if not self._to_warm_up:
            return block
        self._denoiser.warm_up(self._waiting[: self._to_warm_up])
        self._to_warm_up = 0
        return self._waiting

    def _watched(self, clean: Interleaved) -> Interleaved:
        clean = clean.reshape(-1, self._denoiser.channels)
        noisy, self._waiting = self._waiting[: len(clean)], self._waiting[len(clean) :]
        if len(clean):
            self.meter.feed(noisy, clean)
            taken = noisy - clean
            if self._spectrograms:
                for name, sound in zip(PANELS, (noisy, taken, clean), strict=True):
                    self._spectrograms[name].feed(sound)
            if self._noise is not None:
                self._noise.write(taken)
        if self._report is not None:
            self._report(self.seconds)
        return clean if self._gain == 1 else clean * self._gain


def draw_file(source: Path, picture: Path, settings: DenoiseSettings | None) -> None:
    """Draw spectrograms of a file.

    Args:
        source: audio or video file.
        picture: PNG file to write.
        settings: how to denoise it, for a picture of what is noisy, noise taken and speech
            left; None draws the sound as it is.

    Raises:
        SordinoError: it failed; the message says why.
    """
    check_plotting()
    try:
        with atomic_write(picture) as part, open_source(source) as sound:
            if settings is None:
                spectrogram = Spectrogram(sound.info.sample_rate)
                for block in sound.blocks():
                    spectrogram.feed(block)
                about = f"{sound.info.sample_rate / 1000:g} kHz"
                draw(part, {"Sound": spectrogram}, source.name, about)
            else:
                track = TrackDenoiser(sound.info, settings, has_picture=True)
                for block in sound.blocks():
                    track.feed(block)
                track.flush()
                track.draw(part, source.name)
    except Exception as error:
        raise SordinoError(explain(error, source, picture)) from error
