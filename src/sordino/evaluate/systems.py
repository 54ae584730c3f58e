"""What can be evaluated: a model, a folder of outputs, any function, the input itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sordino.denoiser import denoise
from sordino.errors import SordinoError
from sordino.evaluate.clips import Clip, audio_files, read_mono
from sordino.evaluate.metrics import Signal
from sordino.evaluate.resampling import resample
from sordino.evaluate.shadow import noise_removed
from sordino.model import Model, load_model

Enhancer = Callable[[Signal, int], Signal]  # (noisy, sample rate in Hz) -> estimate


class System(Protocol):
    """Something that turns a noisy clip into an estimate of the clean one."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def estimate(self, clip: Clip, noisy: Signal, rate: int) -> Signal:
        """Return its output for a mono clip at `rate` Hz."""
        ...

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:
        """Return the share of the noise's energy that its mask takes; None if it has none."""
        ...


@dataclass(frozen=True)
class Unprocessed:
    """The noisy input as it is."""

    name: str = "noisy"

    def estimate(self, clip: Clip, noisy: Signal, rate: int) -> Signal:  # noqa: ARG002
        """Return the input."""
        return noisy

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:  # noqa: ARG002
        """Nothing is."""
        return 0.0


@dataclass(frozen=True)
class Network:
    """A model of this project, through the engine.

    Args:
        name: How reports call it.
        model: The loaded model.
        strength: As of the Denoiser.
        attenuation_limit_db: As of the Denoiser.
    """

    name: str
    model: Model
    strength: float = 1.0
    attenuation_limit_db: float | None = None

    def estimate(self, clip: Clip, noisy: Signal, rate: int) -> Signal:  # noqa: ARG002
        """Return the Denoiser's output."""
        return denoise(noisy, rate, self.model, self.strength, self.attenuation_limit_db)

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:
        """Apply the mask to the noise alone; see `sordino.evaluate.shadow`."""
        limit = self.attenuation_limit_db
        strength = self.strength if limit is None else min(self.strength, 1 - 10 ** (-limit / 20))
        return noise_removed(self.model, noisy, noise, rate, strength)


@dataclass(frozen=True)
class Recorded:
    """Another system's outputs, files named like the noisy ones."""

    name: str
    files: dict[str, Path]

    def estimate(self, clip: Clip, noisy: Signal, rate: int) -> Signal:  # noqa: ARG002
        """Read the output for a clip, at the clip's rate."""
        if clip.name not in self.files:
            raise SordinoError(f"there is no output of {self.name} for it")
        estimate, own_rate = read_mono(self.files[clip.name])
        return resample(estimate, own_rate, rate)

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:  # noqa: ARG002
        """Its mask is unknown."""
        return None


@dataclass(frozen=True)
class Function:
    """Any callable, for instance a network in training."""

    name: str
    enhancer: Enhancer

    def estimate(self, clip: Clip, noisy: Signal, rate: int) -> Signal:  # noqa: ARG002
        """Call it."""
        return self.enhancer(noisy, rate)

    def noise_removed(self, noisy: Signal, noise: Signal, rate: int) -> float | None:  # noqa: ARG002
        """Its mask is unknown."""
        return None


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


def recordings(folders: Sequence[Path]) -> list[Recorded]:
    """List folders of outputs as systems called by their folder's name."""
    names = [folder.resolve().name for folder in folders]
    return [
        Recorded(name if names.count(name) == 1 else str(folder), audio_files(folder))
        for name, folder in zip(names, folders, strict=True)
    ]
