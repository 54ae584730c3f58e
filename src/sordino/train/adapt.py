"""Fine-tuning for a user's own noise, on a CPU, with early stopping on sound that is held out.

The sounds are cut into three parts: one to learn from, one that says when to stop, and one that the
result is judged by.  The package's own clips are mixed in, so that what the network knows is not
forgotten.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
import torch
from torch.utils.data import default_convert

from sordino.errors import SordinoError
from sordino.evaluate.conditions import Condition
from sordino.evaluate.dataset import find_clips
from sordino.evaluate.html import write_report
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.statistics import Summary, differences
from sordino.evaluate.systems import Network, Unprocessed
from sordino.examples import FOLDER
from sordino.model import Model, user_models
from sordino.train.checkpoint import Checkpoint, Progress, gentle, load_pretrained
from sordino.train.data.corpus import Corpus, CorpusConfig, CorpusSource
from sordino.train.data.decode import UNREADABLE, audio_files, decode, warn_skipped
from sordino.train.data.mixing import MixConfig, Mixer
from sordino.train.export import register
from sordino.train.loop import train
from sordino.train.objective import TensorBatch, make_objective
from sordino.train.optim import AveragedWeights
from sordino.train.recipe import Recipe

# soundfile and the conversion of batches have no types.
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false

TRAIN, STOP, JUDGE = "train", "stop", "judge"  # the parts of the user's sounds
OURS = "speech-of-the-package"  # a file that says where the speech comes from
SHARES = {TRAIN: 0.7, STOP: 0.15, JUDGE: 0.15}
TURNS = (TRAIN, TRAIN, STOP, TRAIN, JUDGE, TRAIN, TRAIN)  # of whole files, where there are many
MANY = 10  # files
MIN_SECONDS = 30.0  # of noise, and of speech
RATE = 16000  # Hz, of the mixtures that are held out
SECONDS = 4.0  # of each
STOP_BATCHES, JUDGE_CLIPS = 3, 20
BATCH = 4  # examples: a step takes about a second on a laptop
OWN_NOISE = 3.0  # the user's noise is drawn this many times as often as the package's
# Of what is mixed: all but speech in recorded noise.
LEFT_OUT = (
    *("babble", "coloured", "fan", "hum", "clicks", "tones", "wind", "handling", "keyboard"),
    *("engine", "bursts", "impacts", "animals", "echo", "imprint", "switch", "raised"),
    *("speech_only", "noise_only", "silence", "mute", "offset", "codec", "packet_loss", "agc"),
    *("clipping", "band_limit", "room"),
)
METRICS = ("pesq", "estoi", "sisdr")
# Fall of a mean on the package's recordings of other noise, which must not be forgotten.
MAX_FALL = {"pesq": 0.1, "estoi": 0.01, "sisdr": 0.5}
TITLES = {"pesq": "PESQ", "estoi": "ESTOI", "sisdr": "SI-SDR, dB"}
MIN_GAIN = 1e-3  # relative fall of the held-out loss that counts as better


@dataclass(frozen=True)
class Budget:
    """When training ends.

    Attributes:
        minutes: of training.
        check_every: updates between two looks at the held-out loss.
        patience: looks without a better loss, after which it ends.
        max_steps: updates.
    """

    minutes: float = 20.0
    check_every: int = 20
    patience: int = 5
    max_steps: int = 20_000


class Adapted(NamedTuple):
    """What came of it: the best weights, and the held-out loss before and at the best."""

    checkpoint: Checkpoint
    before: float
    after: float


class Sounds(NamedTuple):
    """Sounds of one kind: label and samples at their rate in Hz."""

    label: str
    samples: np.ndarray
    rate: int


def adapt(
    base: str | Path,
    name: str,
    data: Path,
    work: Path,
    budget: Budget,
    report: Callable[[int, float, float], None],
    learning_rate: float | None = None,
) -> Adapted:
    """Fine-tune a network on sounds that `split_sounds` has laid out.

    Args:
        base: what to start from, see `load_pretrained`.
        name: of the model that comes out.
        data: folder of the parts.
        work: folder for the run.
        budget: when it ends.
        report: called after each look with the updates, the held-out loss and the best so far.
        learning_rate: at its height; None takes a tenth of what the network was trained with.

    Raises:
        SordinoError: the weights or the data cannot be used.
    """
    saved = load_pretrained(base)
    recipe = _recipe(saved.recipe, name, data, work, budget, learning_rate)
    watch = _EarlyStop(recipe, data / STOP, work, budget, report)
    watch.look(saved.part("average"), 0)
    before = watch.best
    if not watch.weights:
        raise SordinoError(f"{base}: what it makes of the held-out sounds is not a number")
    path = train(recipe, work / "run", base, watch)
    best = load_pretrained(path)
    tensors = {f"average.{key}": tensor for key, tensor in watch.weights.items()}
    progress = Progress(watch.step, best.progress.hours)
    return Adapted(Checkpoint(recipe, progress, tensors), before, watch.best)


def _recipe(
    recipe: Recipe,
    name: str,
    data: Path,
    work: Path,
    budget: Budget,
    learning_rate: float | None,
) -> Recipe:
    own, general = data / TRAIN, FOLDER / "train"
    speech = [own / "speech"] if (data / OURS).exists() else [own / "speech", general / "speech"]
    corpus = CorpusConfig(
        speech=tuple(CorpusSource(str(folder)) for folder in speech),
        noise=(CorpusSource(str(own / "noise"), OWN_NOISE), CorpusSource(str(general / "noise"))),
        rirs=(CorpusSource(str(general / "rir")),),
        cache=str(work / "cache"),
    )
    tuned = gentle(recipe)
    loop = replace(
        tuned.train,
        learning_rate=learning_rate or tuned.train.learning_rate,
        steps=budget.max_steps,
        warmup=min(20, budget.max_steps),
        final_rate=1.0,  # when it ends is not known beforehand
        batch=BATCH,
        chain=1,
        ema=0.97,
        threads=0,
        workers=0,
        compile=False,
        save_every=60.0,
    )
    # DNSMOS would take a large part of the time.
    loss = replace(recipe.loss, dnsmos=0.0)
    return replace(tuned, name=name, data=corpus, loss=loss, train=loop)


class _EarlyStop:
    """Ends a run when the held-out loss falls no more, or when its time is up."""

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        work: Path,
        budget: Budget,
        report: Callable[[int, float, float], None],
    ) -> None:
        self.budget, self.report = budget, report
        self.objective = make_objective(recipe).eval()
        mixer = Mixer(held_out_mix(recipe.mix), open_part(data, work))
        raw: list[Any] = [default_convert(mixer.batch(7, i, BATCH)) for i in range(STOP_BATCHES)]
        self.batches = [TensorBatch(*each) for each in raw]
        self.best, self.step = float("inf"), 0
        self.weights: dict[str, torch.Tensor] = {}
        self.misses = 0
        self.end = time.monotonic() + 60 * budget.minutes

    def __call__(self, average: AveragedWeights, step: int) -> bool:
        """Look at the loss now and then; tell whether training is over."""
        over = time.monotonic() >= self.end or step >= self.budget.max_steps
        if step % self.budget.check_every == 0 or over:
            self.look(average.network.state_dict(), step)
        return over or self.misses >= self.budget.patience

    @torch.no_grad()
    def look(self, weights: dict[str, torch.Tensor], step: int) -> None:
        """Measure the held-out loss, and keep the weights if it is the best so far."""
        self.objective.network.load_state_dict(weights, strict=False)
        loss = float(np.mean([float(self.objective(batch).loss) for batch in self.batches]))
        if loss < self.best * (1 - MIN_GAIN):
            self.best, self.step, self.misses = loss, step, 0
            self.weights = {k: v.detach().clone() for k, v in weights.items()}
        else:
            self.misses += 1
        self.report(step, loss, self.best)


def held_out_mix(config: MixConfig) -> MixConfig:
    """How sounds that are held out are mixed: speech in the user's noise, and nothing else."""
    only = dict.fromkeys(LEFT_OUT, 0.0)
    return replace(config, seconds=SECONDS, rates={RATE: 1.0}, snr_mean_db=5.0, **only)


def open_part(folder: Path, work: Path) -> Corpus:
    """Open the sounds of a part."""
    config = CorpusConfig(
        speech=(CorpusSource(str(folder / "speech")),),
        noise=(CorpusSource(str(folder / "noise")),),
        cache=str(work / "cache"),
    )
    return Corpus.open(config, progress=False)


def split_sounds(noise: Path, speech: Path | None, data: Path) -> None:
    """Lay the user's sounds out in three parts, as folders of audio.

    Many files are dealt out whole; of few, each is cut in time.

    Args:
        noise: folder or file of noise without speech.
        speech: the same of clean speech; None takes the package's clips.
        data: folder for the parts.

    Raises:
        SordinoError: there is too little sound.
    """
    if speech is None:  # noted: in training, too, only a part of the package's clips is heard
        data.mkdir(parents=True, exist_ok=True)
        (data / OURS).touch()
    for kind, source in (("noise", noise), ("speech", speech or FOLDER / "train" / "speech")):
        sounds = list(_read(source))
        seconds = sum(len(sound.samples) / sound.rate for sound in sounds)
        if seconds < MIN_SECONDS:
            raise SordinoError(
                f"{source}: holds {seconds:.0f} s of {kind}: at least {MIN_SECONDS:.0f} s are "
                "needed, and some minutes are better"
            )
        for number, sound in enumerate(sounds):
            for part, piece in _parts(sound, number, len(sounds)):
                path = data / part / kind / f"{sound.label}-{number:04d}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                sf.write(path, np.clip(piece, -1, 1), sound.rate)


def _read(source: Path) -> Iterator[Sounds]:
    if not source.exists():
        raise SordinoError(f"{source}: no such file or folder")
    for path in audio_files(source) if source.is_dir() else [source]:
        try:
            samples, rate = decode(path)
        except UNREADABLE as error:
            warn_skipped(path, error)
        else:
            yield Sounds(path.stem.rpartition("-")[0] or path.stem, samples, rate)


def _parts(sound: Sounds, number: int, count: int) -> Sequence[tuple[str, np.ndarray]]:
    if count >= MANY:
        return [(TURNS[number % len(TURNS)], sound.samples)]
    edges = np.cumsum([0, *SHARES.values()]) * len(sound.samples)
    spans = zip(SHARES, edges[:-1].astype(int), edges[1:].astype(int), strict=True)
    return [(part, sound.samples[a:b]) for part, a, b in spans]


def write_judged(recipe: Recipe, data: Path, work: Path, folder: Path) -> None:
    """Write the mixtures that the result is judged by: `noisy/` and `clean/` of equal names.

    Args:
        recipe: of the network.
        data: folder of the parts.
        work: folder of the run.
        folder: for the mixtures.
    """
    mixer = Mixer(held_out_mix(recipe.mix), open_part(data / JUDGE, work))
    batch = mixer.batch(11, 0, JUDGE_CLIPS)
    for half, sounds in (("noisy", batch.noisy), ("clean", batch.clean)):
        (folder / half).mkdir(parents=True, exist_ok=True)
        for number, sound in enumerate(sounds):
            sf.write(folder / half / f"{number:02d}.wav", sound, batch.sample_rate, "FLOAT")


@dataclass(frozen=True)
class Verdict:
    """Figures before and after, and what they mean.

    Attributes:
        before, after: means with their intervals on the user's held-out noise.
        gain: paired differences there.
        elsewhere: differences of means on the package's recordings.
        objections: why the model is not better; empty where it is.
    """

    before: Summary
    after: Summary
    gain: Summary
    elsewhere: dict[str, float]
    objections: tuple[str, ...]


def judge(base: Model, base_name: str, adapted: Model, name: str, folder: Path) -> Verdict:
    """Compare two models on held-out mixtures, and on the package's recordings.

    A model is better if PESQ or SI-SDR rises on the user's noise with 95 % certainty, nothing
    falls there with that certainty, and nothing falls much elsewhere.

    Args:
        base: the model before.
        base_name: of it.
        adapted: the model after.
        name: of it.
        folder: with the mixtures; `report.html` is written beside them.
    """
    own = _measured(folder, base, base_name, adapted, name)
    write_report(folder.parent / "report.html", own, base_name)
    other = _measured(FOLDER, base, base_name, adapted, name)
    gain = differences(own.rows(name), own.rows(base_name))
    means = other.summaries()
    elsewhere = {m: means[name][m].mean - means[base_name][m].mean for m in METRICS}
    objections = [
        f"{TITLES[m]} falls on your noise by {-gain[m].mean:.3g}"
        for m in METRICS
        if gain[m].high < 0
    ]
    objections += [
        f"{TITLES[m]} falls on other noise by {-elsewhere[m]:.3g}"
        for m in METRICS
        if elsewhere[m] < -MAX_FALL[m]
    ]
    if not any(gain[m].low > 0 for m in ("pesq", "sisdr")):
        objections.append("neither PESQ nor SI-SDR rises on your noise for certain")
    summaries = own.summaries()
    return Verdict(summaries[base_name], summaries[name], gain, elsewhere, tuple(objections))


def _measured(folder: Path, base: Model, base_name: str, adapted: Model, name: str) -> Evaluation:
    systems = [Unprocessed(), Network(name, adapted), Network(base_name, base)]
    condition = Condition(metrics=METRICS)
    evaluation = Evaluation(str(folder), find_clips(folder), systems, [condition])
    evaluation.run(1)
    return evaluation


def install(path: Path, verdict: Verdict, base_name: str, noise: Path) -> Path:
    """Make an exported model one of the user's: `--model NAME` finds it from then on.

    Args:
        path: of the ONNX file; its .safetensors file is beside it.
        verdict: for its card.
        base_name: of the model that it came from.
        noise: that it was adapted to.

    Returns:
        The installed ONNX file.
    """
    target = user_models() / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".onnx", ".safetensors"):
        shutil.copyfile(path.with_suffix(suffix), target.with_suffix(suffix))
    lines = [f"| {TITLES[m]} | {_row(verdict, m)} |" for m in METRICS]
    card = [
        f"# {path.stem}",
        f"`{base_name}`, adapted to the noise in {noise.name} by `sordino adapt`.",
        f"Means over {next(iter(verdict.after.values())).files} mixtures with noise that was held "
        "out:",
        "| | before | after |\n|---|---|---|\n" + "\n".join(lines),
    ]
    target.with_suffix(".md").write_text("\n\n".join(card) + "\n", encoding="utf-8")
    register(target, f"{base_name}, adapted to {noise.name}")
    return target


def _row(verdict: Verdict, metric: str) -> str:
    return f"{verdict.before[metric].mean:.3g} | {verdict.after[metric].mean:.3g}"
