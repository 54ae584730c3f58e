"""One track of sound while it is denoised: what is taken, measured, drawn and kept."""

from collections.abc import Callable

import numpy as np

from sordino.audio import Sink
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.meter import NoiseMeter
from sordino.plot import Spectrogram
from sordino.tracks import Samples


class Cleaning:
    """Denoises a track and watches what happens to it.

    Args:
        denoiser: for this track alone.
        noise: where what is taken goes, or None.
        has_picture: whether spectrograms are made.
        report: called after each block with the seconds that are done; it may raise to stop.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        noise: Sink | None,
        has_picture: bool,
        report: Callable[[float], None],
    ) -> None:
        self.sample_rate = denoiser.sample_rate
        self.meter = NoiseMeter(self.sample_rate)
        names = ("Noisy", "Noise taken", "Speech left") if has_picture else ()
        self.spectrograms = {name: Spectrogram(self.sample_rate) for name in names}
        self._denoiser = denoiser
        self._noise = noise
        self._report = report
        self._waiting = np.zeros((0, denoiser.channels), np.float32)  # noisy, clean not yet there
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
        if not np.isfinite(block).all():
            bad = int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise SordinoError(
                f"the sample at {(self._samples + bad) / self.sample_rate:.3f} s is not a number "
                "(NaN or Inf): export the sound again, for instance as 24 bit"
            )
        self._samples += len(block)
        self._waiting = np.concatenate([self._waiting, block])
        return self._watched(self._denoiser.feed(block))

    def flush(self) -> Samples:
        """Return the samples that are still inside."""
        return self._watched(self._denoiser.flush())

    def _watched(self, clean: Samples) -> Samples:
        clean = clean.reshape(-1, self._denoiser.channels)
        noisy, self._waiting = self._waiting[: len(clean)], self._waiting[len(clean) :]
        if len(clean):
            self.meter.feed(noisy, clean)
            taken = noisy - clean
            for sound, drawing in zip(
                (noisy, taken, clean), self.spectrograms.values(), strict=False
            ):
                drawing.feed(sound)
            if self._noise is not None:
                self._noise.write(taken)
        self._report(self.seconds)
        return clean
