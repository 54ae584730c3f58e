"""Systems under test: a model, a folder of outputs, any function, the unprocessed input."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sordino.arrays import Mono
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.evaluate.conditions import AS_IS, Condition
from sordino.evaluate.dataset import SUFFIXES, Clip, audio_files, read_mono
from sordino.evaluate.metrics import RATE, resample
from sordino.evaluate.noise_removed import noise_removed
from sordino.model import Model, load_model

Enhancer = Callable[[Mono, int], Mono]  # (noisy, sample rate in Hz) -> estimate
Process = Callable[[Mono], Mono]  # one noisy clip -> estimate
STEP_SECONDS = 0.01  # block of live use
UNPROCESSED = "noisy"  # name of the input itself


@dataclass(frozen=True)
class System(ABC):
    """Something that turns a noisy clip into an estimate of the clean one.

    Args:
        name: Its name in reports.
    """

    name: str

    @property
    def runs(self) -> bool:
        """Whether it processes its input; else its outputs exist already."""
        return True

    @property
    def macs(self) -> float | None:
        """Multiply-accumulates per second of audio; None if unknown."""
        return None

    @property
    def version(self) -> str:
        """What tells it from others of its name; empty if nothing does."""
        return ""

    def supports(self, condition: Condition) -> bool:  # noqa: ARG002
        """Whether it can be measured under a condition."""
        return True

    @abstractmethod
    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:
        """Return a freshly loaded process from a mono clip at `rate` Hz to its estimate."""

    def opened_live(self, clip: Clip, rate: int) -> Process | None:  # noqa: ARG002
        """Return the same in blocks as in live use, for timing; None if it has no such mode."""
        return None

    def noise_removed(self, noisy: Mono, noise: Mono, rate: int) -> float | None:  # noqa: ARG002
        """Return the share of the noise energy that its mask removes; None without a mask."""
        return None


@dataclass(frozen=True)
class Unprocessed(System):
    """The noisy input as it is."""

    name: str = UNPROCESSED

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return the input."""
        return lambda noisy: noisy

    def noise_removed(self, noisy: Mono, noise: Mono, rate: int) -> float | None:  # noqa: ARG002
        """Return 0: nothing is removed."""
        return 0.0


@dataclass(frozen=True)
class Network(System):
    """A model of this project.

    Args:
        name: Its name in reports.
        model: The loaded model.
        strength: As of the Denoiser.
        attenuation_limit_db: As of the Denoiser.
    """

    model: Model
    strength: float = 1.0
    attenuation_limit_db: float | None = None

    @property
    def macs(self) -> float | None:
        """As stored in the model."""
        return self.model.info.macs_per_second or None

    @property
    def version(self) -> str:
        """The first digits of the SHA-256 of its file."""
        return self.model.sha256[:12]

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return a Denoiser that gets the whole clip at once."""
        denoiser = self._denoiser(rate)
        return lambda noisy: np.concatenate([denoiser.feed(noisy), denoiser.flush()])

    def opened_live(self, clip: Clip, rate: int) -> Process:  # noqa: ARG002
        """Return a Denoiser that gets blocks of 10 ms."""
        denoiser, step = self._denoiser(rate), round(STEP_SECONDS * rate)

        def process(noisy: Mono) -> Mono:
            starts = range(0, len(noisy), step)
            blocks = [denoiser.feed(noisy[start : start + step]) for start in starts]
            return np.concatenate([*blocks, denoiser.flush()])

        return process

    def noise_removed(self, noisy: Mono, noise: Mono, rate: int) -> float | None:
        """Apply the mask to the noise alone; see `sordino.evaluate.noise_removed`."""
        limit = self.attenuation_limit_db
        strength = self.strength if limit is None else min(self.strength, 1 - 10 ** (-limit / 20))
        return noise_removed(self.model, noisy, noise, rate, strength)

    def _denoiser(self, rate: int) -> Denoiser:
        return Denoiser(self.model, rate, 1, self.strength, self.attenuation_limit_db)


@dataclass(frozen=True)
class Recorded(System):
    """Outputs of another system, in files with the names of the noisy ones.

    Args:
        name: Its name in reports.
        outputs: By name of the condition: the output file of each clip.
    """

    outputs: Mapping[str, Mapping[str, Path]]

    @property
    def runs(self) -> bool:
        """Return False: it ran elsewhere."""
        return False

    def supports(self, condition: Condition) -> bool:
        """Whether there are outputs for a condition."""
        return condition.name in self.outputs

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:
        """Return the output for a clip, at the clip's rate."""
        files = self.outputs[condition.name]
        if clip.name not in files:
            raise SordinoError(f"there is no output of {self.name} for it")
        estimate = resample(*read_mono(files[clip.name]), rate)
        return lambda _: estimate


@dataclass(frozen=True)
class Function(System):
    """Any callable, for instance a network in training."""

    enhancer: Enhancer

    def opened(self, clip: Clip, rate: int, condition: Condition = AS_IS) -> Process:  # noqa: ARG002
        """Return the callable bound to this rate."""
        return lambda noisy: self.enhancer(noisy, rate)


def networks(
    models: Sequence[str], strength: float = 1.0, attenuation_limit_db: float | None = None
) -> list[Network]:
    """Load models by registry name or path, under distinct names.

    Raises:
        SordinoError: One cannot be loaded, or a value is out of range.
    """
    stems = [Path(each).stem if each.endswith(".onnx") else each for each in models]
    mode = "" if strength == 1 else f" strength {strength:g}"
    mode += "" if attenuation_limit_db is None else f" limit {attenuation_limit_db:g} dB"
    found = [
        Network(
            (stem if stems.count(stem) == 1 else each) + mode,
            load_model(each),
            strength,
            attenuation_limit_db,
        )
        for stem, each in zip(stems, models, strict=True)
    ]
    for network in found:  # values out of range are refused now and not for each clip
        Denoiser(network.model, RATE, 1, strength, attenuation_limit_db)
    return found


def recordings(outputs: Sequence[str], conditions: Mapping[str, Condition]) -> list[Recorded]:
    """Return folders of outputs, each given as FOLDER or NAME=FOLDER, as systems.

    Outputs under other conditions are in subfolders with the name of the condition, for
    instance ``FOLDER/warm/``.

    Args:
        outputs: From the command line.
        conditions: By name of the subfolder.

    Raises:
        SordinoError: One is no folder, or holds no audio.
    """
    systems: list[Recorded] = []
    for each in outputs:
        name, equals, text = each.partition("=")
        folder = Path(text if equals else each)
        found = {
            condition.name: audio_files(folder / key)
            for key, condition in conditions.items()
            if (folder / key).is_dir()
        }
        if not found or any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
            found[AS_IS.name] = audio_files(folder)
        systems.append(Recorded(name if equals else folder.resolve().name, found))
    return systems
