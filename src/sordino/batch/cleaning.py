"""One track of sound while it is denoised: what is taken, measured, drawn and kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sordino.denoiser import Denoiser, warm_up_samples
from sordino.errors import SordinoError
from sordino.io.atomic import explain, written_whole
from sordino.io.audiofile import Sink, open_source
from sordino.io.sound import Samples, SoundInfo
from sordino.levels import NoiseMeter
from sordino.model import Model
from sordino.spectrogram import Spectrogram, check_plotting, draw

LISTENED = 5.0  # seconds; scores rise with up to three
PANELS = ("Noisy", "Noise taken", "Speech left")


@dataclass(frozen=True)
class Settings:
    """How to denoise a recording.

    Args:
        model, strength, attenuation_limit_db: see `sordino.denoiser.Denoiser`.
        listen: seconds of a track that are heard first, so that its first words come out as
            clean as later ones; 0 is as in live use.
    """

    model: str | Path | Model = "default"
    strength: float = 1.0
    attenuation_limit_db: float | None = None
    listen: float = LISTENED

    def denoiser(self, sample_rate: int, channels: int) -> Denoiser:
        """Make a denoiser for a track, with the rate in Hz."""
        limit = self.attenuation_limit_db
        return Denoiser(self.model, sample_rate, channels, self.strength, limit)


class Cleaning:
    """Denoises a track and watches what happens to it.

    Args:
        info: of the track.
        settings: model and strength.
        noise: where what is taken goes, or None.
        has_picture: whether `draw` will be called.
        report: called after each block with the seconds that are done; it may raise to stop.
    """

    def __init__(
        self,
        info: SoundInfo,
        settings: Settings,
        noise: Sink | None = None,
        has_picture: bool = False,
        report: Callable[[float], None] | None = None,
    ) -> None:
        self.sample_rate = info.sample_rate
        self.meter = NoiseMeter(info.sample_rate)
        self._denoiser = settings.denoiser(info.sample_rate, info.channels)
        self._noise = noise
        panels = PANELS if has_picture else ()
        self._spectrograms = {name: Spectrogram(info.sample_rate) for name in panels}
        self._report = report
        self._waiting = np.zeros((0, info.channels), np.float32)  # noisy, clean not yet there
        self._to_hear = warm_up_samples(settings.listen, info.sample_rate)
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Length of the sound so far."""
        return self._samples / self.sample_rate

    def feed(self, block: Samples) -> Samples:
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
        if self._samples < self._to_hear:
            return self._watched(block[:0])
        return self._watched(self._denoiser.feed(self._listened(block)))

    def flush(self) -> Samples:
        """Return the samples that are still inside."""
        held = self._denoiser.feed(self._listened(self._waiting[:0]))
        return self._watched(np.concatenate([held, self._denoiser.flush()]))

    def draw(self, path: Path, title: str) -> None:
        """Draw what was noisy, what was taken and what is left into a PNG file."""
        facts = [f"{self.sample_rate / 1000:g} kHz", f"model {self._denoiser.model.info.name}"]
        if self.meter.taken_db is not None:
            facts.append(f"pauses {self.meter.taken_db:.0f} dB quieter")
        draw(path, self._spectrograms, title, " · ".join(facts))

    def _listened(self, block: Samples) -> Samples:
        """What to feed after a block: all that was held to be heard first, else the block."""
        if not self._to_hear:
            return block
        self._denoiser.warm_up(self._waiting[: self._to_hear])
        self._to_hear = 0
        return self._waiting

    def _watched(self, clean: Samples) -> Samples:
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
        return clean


def draw_file(source: Path, picture: Path, settings: Settings | None) -> None:
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
        with written_whole(picture) as part, open_source(source) as sound:
            if settings is None:
                spectrogram = Spectrogram(sound.info.sample_rate)
                for block in sound.blocks():
                    spectrogram.feed(block)
                about = f"{sound.info.sample_rate / 1000:g} kHz"
                draw(part, {"Sound": spectrogram}, source.name, about)
            else:
                track = Cleaning(sound.info, settings, has_picture=True)
                for block in sound.blocks():
                    track.feed(block)
                track.flush()
                track.draw(part, source.name)
    except Exception as error:
        raise SordinoError(explain(error, source, picture)) from error
