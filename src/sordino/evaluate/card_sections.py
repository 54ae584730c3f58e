"""Generated sections of a model card: facts, figures and pictures, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sordino.benchmark import processor
from sordino.denoiser import Denoiser
from sordino.evaluate.conditions import CHECKS
from sordino.evaluate.dataset import MIXTURE, ROOM, Traits, group_columns, groups
from sordino.evaluate.parts import compared
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import MEASURES, Row
from sordino.evaluate.statistics import Interval, Summary, differences, summarize, worst
from sordino.evaluate.systems import UNPROCESSED, Network
from sordino.evaluate.tables import Cell, Column, Table, figure_cell, markdown
from sordino.model import ModelInfo

# Few and short columns: cards are read in terminals too.
BESIDE = ("pesq", "estoi", "sisdr", "covl", "sig", "ovrl", "p808", "nr_db", "att_db")
UNREFERENCED = ("sig", "bak", "ovrl", "p808", "pause_db")
GROUPED = ("pesq", "sisdr", "ovrl", "nr_db", "att_db")
SINGLE = ("pesq", "sisdr", "ovrl", "att_db")  # of one clip
# Terms of a loss, their meaning, and the measures that are biased by them.
IN_LOSS = {
    "dnsmos": ("DNSMOS P.835", ("sig", "bak", "ovrl")),
    "pesq": ("A model near PESQ", ("pesq", "csig", "cbak", "covl")),
    "estoi": ("ESTOI", ("stoi", "estoi")),
    "llr": ("The log-likelihood ratio", ("llr", "csig", "covl")),
}
COLUMNS = {"snr_db": "SNR", "snr": "SNR", "noise_category": "noise", "category": "noise"}
SHORT = {"pesq": "PESQ", "nr_db": "NR dB"}
BY_SNR = "by SNR"
TIMES = ("rtf", "rtf_live")
MIN_CLIPS = 5  # of a group, for an interval
MIN_PER_GROUP = 3  # clips on average, for a breakdown to be meaningful


def facts(network: Network) -> str:
    """Return size, cost, latency and training of a model, from its ONNX file."""
    info = network.model.info
    rates = ", ".join(f"{rate / 1000:g}" for rate in info.native_rates)
    latency = Denoiser(network.model, info.native_rates[0]).latency
    rows = {
        "parameters": f"{info.parameters:,}",
        "multiply-accumulates": f"{info.macs_per_second / 1e6:,.0f} million per second of audio",
        "sample rates": f"{rates} kHz; others are resampled",
        "latency": f"{1000 * latency:.0f} ms" if latency < 1 else f"{latency:.2f} s",
        "audio in training": _training(info),
        "licence": info.licence,
        "version": f"{info.version}, SHA-256 {network.model.sha256[:12]}…",
    }
    return _table(["", ""], [[name, text] for name, text in rows.items() if text])


def figures(evaluation: Evaluation) -> str:
    """Return the tables of a set: means, other systems, conditions, breakdowns, worst clips."""
    return "\n\n".join(
        part
        for part in (
            _about(evaluation),
            _means(evaluation),
            _others(evaluation),
            _by_part(evaluation),
            _checks(evaluation),
            *_breakdowns(evaluation),
            _worst(evaluation),
        )
        if part
    )


def pictures(evaluation: Evaluation, links: Mapping[str, str]) -> str:
    """Return the text with pictures of clips.

    Args:
        evaluation: What was measured.
        links: Path of the picture by clip, relative to the card.
    """
    rows, before = evaluation.rows(evaluation.subject), evaluation.rows(UNPROCESSED)
    shown = [name for name in SINGLE if any(name in row for row in rows.values())]
    parts: list[str] = []
    for clip, link in links.items():
        traits = _described(evaluation.traits[clip])
        change = ", ".join(
            f"{MEASURES[name].title} {_change(name, before.get(clip, {}), rows[clip])}"
            for name in shown
        )
        about = f"{clip}: {traits}" if traits else clip
        parts.append(f"**{about}.** {change}.\n\n![{about}]({link})")
    return "\n\n".join(parts)


def _about(evaluation: Evaluation) -> str:
    sets, model = Path(evaluation.title).resolve().name, evaluation.versions[evaluation.subject]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    text = (
        f"{len(evaluation.clips)} clips of `{sets}`, by `sordino evaluate` {version('sordino')} "
        f"with the weights {model}… on {day}."
    )
    network = next(each for each in evaluation.systems if each.name == evaluation.subject)
    if isinstance(network, Network):
        for term, (what, measures) in IN_LOSS.items():
            if _weight(network.model.info, term):
                names = ", ".join(MEASURES[name].title for name in measures)
                text += f" {what} was in its loss: its {names} are no independent measure."
    return text


def _means(evaluation: Evaluation) -> str:
    subject = evaluation.subject
    systems = evaluation.summaries()
    gained = differences(evaluation.rows(subject), evaluation.rows(UNPROCESSED))
    before, after = systems.get(UNPROCESSED, {}), systems.get(subject, {})
    brief = _referenced(evaluation)
    shown = [
        name
        for name in evaluation.conditions[0].metrics
        if name in after and MEASURES[name].better and not (brief and MEASURES[name].detail)
    ]
    body = [
        [
            MEASURES[name].title,
            "" if name in TIMES else _mean(name, before.get(name)),
            f"**{_mean(name, after[name])}**",
            _between(name, after[name]),
            "" if name in TIMES else _cell(name, gained.get(name)),
        ]
        for name in shown
    ]
    means = _table(["mean over the clips", "noisy", subject, "95 % interval", "change"], body)
    if not set(TIMES) & set(shown):
        return means
    return f"{means}\n\nReal-time factors are processor time on one thread of {processor()}."


def _others(evaluation: Evaluation) -> str:
    """Return the means of all systems, best first; bold where better than the subject."""
    subject, systems = evaluation.subject, evaluation.summaries()
    ours = evaluation.rows(subject)
    columns = BESIDE if _referenced(evaluation) else UNREFERENCED
    shown = [name for name in columns if name in systems.get(subject, {})]
    if len(systems) < 3 or not shown:
        return ""
    first = shown[0]
    body: list[list[str]] = []
    for system in sorted(systems, key=lambda each: -_figure(first, systems[each])):
        gain = differences(evaluation.rows(system), ours)
        cells = [
            f"**{text}**" if _better(name, gain.get(name)) else text
            for name in shown
            for text in [_mean(name, systems[system].get(name))]
        ]
        body.append([f"*{system}*" if system == subject else system, *cells])
    notes = [
        "NR: noise reduction." if "nr_db" in shown else "",
        f"Bold: better than `{subject}` in paired comparison: the 95 % interval of the mean "
        "difference excludes zero; other differences are no gain.",
        _origin(evaluation),
    ]
    return f"{_table(['', *map(_short, shown)], body)}\n\n{' '.join(filter(None, notes))}"


def _origin(evaluation: Evaluation) -> str:
    beside = evaluation.beside
    if not beside:
        return ""
    return f"{', '.join(beside)}: measured earlier on the same clips with the same definitions."


def _by_part(evaluation: Evaluation) -> str:
    """Return the comparison on each part of a set that has several, with the best other system."""
    if all(clip.part == MIXTURE for clip in evaluation.clips):
        return ""
    body: list[list[str]] = []
    for row in compared(evaluation):
        ours, theirs = row.systems[evaluation.subject], row.systems.get(row.against)
        places = MEASURES[row.measure].decimals
        body.append(
            [
                f"{row.part}, {row.start}",
                str(ours.files),
                _short(row.measure),
                f"{ours.mean:z.{places}f}",
                f"{row.against} {theirs.mean:z.{places}f}" if theirs else "",
                _between(row.measure, row.difference),
                row.verdict,
            ]
        )
    head = ["part", "clips", "figure", evaluation.subject, "best other", "difference", "verdict"]
    return _table(head, body) + "\n\nDifference: 95 % interval of a paired bootstrap over clips."


def _checks(evaluation: Evaluation) -> str:
    body: list[list[str]] = []
    for check in CHECKS:
        result = evaluation.check(check, evaluation.subject)
        if result:
            kept = "yes" if check.holds(result.mean) else "**no**"
            value = _cell(check.measure, result)
            body.append([check.condition.name, check.title, check.goal, value, kept])
    if not body:
        return ""
    return _table(["under other conditions", "figure", "goal", evaluation.subject, "kept"], body)


def _breakdowns(evaluation: Evaluation) -> Iterable[str]:
    traits = {clip.name: clip.traits for clip in evaluation.summarized}
    found = {
        f"by {COLUMNS.get(column, column)}": groups(traits, column)
        for column in group_columns(list(traits.values()))
    }
    rooms = {
        "dry": [clip for clip, each in traits.items() if not each.get(ROOM)],
        "in rooms": [clip for clip, each in traits.items() if each.get(ROOM)],
    }
    if all(rooms.values()):
        found["by room"] = rooms
    for title, clips in found.items():
        if len(evaluation.clips) >= MIN_PER_GROUP * len(clips):
            yield _breakdown(evaluation, title, clips)


def _breakdown(evaluation: Evaluation, title: str, clips: Mapping[str, Sequence[str]]) -> str:
    summaries = {
        label: summarize(evaluation.rows(evaluation.subject, each).values())
        for label, each in clips.items()
    }
    shown = [name for name in GROUPED if any(name in each for each in summaries.values())]
    body = [
        [
            f"{label} dB" if title == BY_SNR else label.replace("_", " "),
            str(len(clips[label])),
            *(
                (_cell if len(clips[label]) >= MIN_CLIPS else _mean)(name, each.get(name))
                for name in shown
            ),
        ]
        for label, each in summaries.items()
    ]
    return _table([title, "clips", *map(_short, shown)], body)


def _worst(evaluation: Evaluation) -> str:
    rows, before = evaluation.rows(evaluation.subject), evaluation.rows(UNPROCESSED)
    measure, clips = worst(rows)
    shown = [name for name in SINGLE if any(name in row for row in rows.values())]
    if not shown or len(clips) == len(rows):
        return ""
    body = [
        [
            clip,
            _described(evaluation.traits[clip]),
            *(_change(name, before.get(clip, {}), rows[clip]) for name in shown),
        ]
        for clip in clips
    ]
    head = [f"worst by {MEASURES[measure].title}", "recording"]
    return _table([*head, *(MEASURES[name].title for name in shown)], body)


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    columns = [Column(title, title) for title in head]
    return markdown(Table("", columns, [[Cell(text) for text in row] for row in body]))


def _referenced(evaluation: Evaluation) -> bool:
    return any(clip.clean is not None for clip in evaluation.clips)


def _described(traits: Traits) -> str:
    """Return SNR, noise and room of a clip, as far as known."""
    snr = traits.get("snr_db") or traits.get("snr") or ""
    noise = traits.get("noise") or traits.get("noise_category") or traits.get("category") or ""
    room = "in a room" if traits.get(ROOM) else ""
    parts = (f"{float(snr):g} dB" if snr else "", noise.replace("_", " "), room)
    return ", ".join(filter(None, parts))


def _short(name: str) -> str:
    return SHORT.get(name, MEASURES[name].title)


def _change(name: str, before: Row, after: Row) -> str:
    numbers = [before.get(name), after.get(name)]
    if name == "att_db":
        del numbers[0]  # the input has none
    places = MEASURES[name].decimals
    return " → ".join("–" if x is None else f"{x:z.{places}f}" for x in numbers)


def _mean(name: str, interval: Interval | None) -> str:
    return f"{interval.mean:z.{MEASURES[name].decimals}f}" if interval else ""


def _cell(name: str, interval: Interval | None) -> str:
    return figure_cell(name, interval).text if interval else ""


def _between(name: str, interval: Interval) -> str:
    places = MEASURES[name].decimals
    low, high = interval.low, interval.high
    return f"{low:z.{places}f} to {high:z.{places}f}" if low == low else ""


def _figure(name: str, summary: Summary) -> float:
    return summary[name].mean if name in summary else float("-inf")


def _better(name: str, gain: Interval | None) -> bool:
    """Whether a difference is a gain outside its interval."""
    return bool(gain and gain.significant and gain.mean * MEASURES[name].better > 0)


def _training(info: ModelInfo) -> str:
    hours, step = info.training.get("hours"), info.training.get("step")
    if not hours or not step:
        return ""
    return f"{hours:,.0f} hours of mixed audio, {step:,} updates"


_OLD_TERMS = {
    "dnsmos": "opinion",
    "pesq": "disturbance",
    "estoi": "intelligibility",
    "llr": "envelope",
}  # in models exported before 0.12


def _weight(info: ModelInfo, term: str) -> float:
    """Return the weight of a term in the loss that the model was trained with."""
    recipe: Any = info.training.get("recipe", {})
    loss = recipe.get("loss", {})
    return float(loss.get(term, loss.get(_OLD_TERMS[term], 0)))
