"""Whether an adapted model is better than the one it came from: measured, reported, installed."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sordino.evaluate.conditions import Condition
from sordino.evaluate.dataset import find_clips
from sordino.evaluate.html import write_report
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.statistics import Summary, differences
from sordino.evaluate.systems import Network, Unprocessed
from sordino.examples import FOLDER
from sordino.model import Model, user_models
from sordino.train.export import register

METRICS = ("pesq", "estoi", "sisdr")
# Fall of a mean on the package's recordings of other noise, which must not be forgotten.
MAX_FALL = {"pesq": 0.1, "estoi": 0.01, "sisdr": 0.5}
TITLES = {"pesq": "PESQ", "estoi": "ESTOI", "sisdr": "SI-SDR, dB"}


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
    """Compare two models on mixtures that neither has heard, and on the package's recordings.

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
