"""What can be evaluated: a model, a folder of outputs, any function, the input itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip, audio_files, read_mono
from sordino.evaluate.metrics import Signal
from sordino.evaluate.resampling import resample
from sordino.evaluate.shadow import noise_removed
from sordino.model import Model, load_model

Enhancer = Callable[[Signal, int], Signal]  # (noisy, sample rate in Hz) -> estimate
Process = Callable[[Signal], Signal]  # one noisy clip -> estimate
STEP_SECONDS = 0.01  # of live use


@dataclass(frozen=True)
class System(ABC):
    """Something that turns a noisy clip into an estimate of the clean one.

    Args:
        name: How reports call it.
    """

    name: str

    @property
    def runs(self) -> bool:
        """Whether it processes what it is given; else its outputs are there already."""
        return True

    @property
    def macs(self) -> float | None:
        """Multiply-accumulates per second of sound; None if unknown."""
        return None

    @property
    def version(self) -> str:
        """What tells it from others of its name; empty if nothing does."""
        return ""

    @abstractmethod
    def opened(self, clip: Clip, rate: int) -> Process:
        """Return what turns a mono clip at `rate` Hz into the estimate, loaded and empty."""

    def opened_live(self, clip: Clip, rate: int) -> Process | None:  # noqa: ARG002
        """Return the same in steps as in live use, to be timed; None if there is none."""
        return None

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:  # noqa: ARG002
        """Return the share of the noise's energy that its mask takes; None if it has none."""
        return None


@dataclass(frozen=True)
class Unprocessed(System):
    """The noisy input as it is."""

    name: str = "noisy"

    def opened(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return the input."""
        return lambda noisy: noisy

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:  # noqa: ARG002
        """Nothing is."""
        return 0.0


@dataclass(frozen=True)
class Network(System):
    """A model of this project, through the engine.

    Args:
        name: How reports call it.
        model: The loaded model.
        strength: As of the Denoiser.
        attenuation_limit_db: As of the Denoiser.
    """

    model: Model
    strength: float = 1.0
    attenuation_limit_db: float | None = None

    @property
    def macs(self) -> float | None:
        """What the model says of itself."""
        return self.model.info.macs_per_second or None

    @property
    def version(self) -> str:
        """The first digits of the SHA-256 of its file."""
        return self.model.sha256[:12]

    def opened(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return the Denoiser, fed with the whole clip."""
        denoiser = self._denoiser(rate)
        return lambda noisy: np.concatenate([denoiser.feed(noisy), denoiser.flush()])

    def opened_live(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return the Denoiser, fed with 10 ms at a time."""
        denoiser, step = self._denoiser(rate), round(STEP_SECONDS * rate)

        def process(noisy: Signal) -> Signal:
            starts = range(0, len(noisy), step)
            blocks = [denoiser.feed(noisy[start : start + step]) for start in starts]
            return np.concatenate([*blocks, denoiser.flush()])

        return process

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:
        """Apply the mask to the noise alone; see `sordino.evaluate.shadow`."""
        limit = self.attenuation_limit_db
        strength = self.strength if limit is None else min(self.strength, 1 - 10 ** (-limit / 20))
        return noise_removed(self.model, noisy, noise, rate, strength)

    def _denoiser(self, rate: int) -> Denoiser:
        return Denoiser(self.model, rate, 1, self.strength, self.attenuation_limit_db)


@dataclass(frozen=True)
class Recorded(System):
    """Another system's outputs, files named like the noisy ones."""

    files: dict[str, Path]

    @property
    def runs(self) -> bool:
        """It ran elsewhere."""
        return False

    def opened(self, clip: Clip, rate: int) -> Process:
        """Return the output for a clip, at the clip's rate."""
        if clip.name not in self.files:
            raise SordinoError(f"there is no output of {self.name} for it")
        estimate = resample(*read_mono(self.files[clip.name]), rate)
        return lambda _: estimate


@dataclass(frozen=True)
class Function(System):
    """Any callable, for instance a network in training."""

    enhancer: Enhancer

    def opened(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return the call for this rate."""
        return lambda noisy: self.enhancer(noisy, rate)


def networks(
    models: Sequence[str], strength: float = 1.0, attenuation_limit_db: float | None = None
) -> list[Network]:
    """Load models by registry name or path, each with a name of its own.

    Raises:
        SordinoError: One cannot be loaded, or is named twice.
    """
    stems = [Path(each).stem if each.endswith(".onnx") else each for each in models]
    mode = "" if strength == 1 else f" strength {strength:g}"
    mode += "" if attenuation_limit_db is None else f" limit {attenuation_limit_db:g} dB"
    return [
        Network(
            (stem if stems.count(stem) == 1 else each) + mode,
            load_model(each),
            strength,
            attenuation_limit_db,
        )
        for stem, each in zip(stems, models, strict=True)
    ]


def recordings(outputs: Sequence[str]) -> list[Recorded]:
    """List folders of outputs, each given as FOLDER or NAME=FOLDER, as systems.

    Raises:
        SordinoError: One is no folder, or holds no audio.
    """
    systems: list[Recorded] = []
    for each in outputs:
        name, equals, folder = each.partition("=")
        path = Path(folder if equals else each)
        systems.append(Recorded(name if equals else path.resolve().name, audio_files(path)))
    return systems
