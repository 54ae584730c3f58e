"""One self-contained HTML page of an evaluation: tables, charts, and players of the worst clips."""

# No types: soundfile.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf

from sordino.arrays import Mono
from sordino.benchmark import processor
from sordino.evaluate.dataset import Clip, group_columns, groups
from sordino.evaluate.metrics import resample
from sordino.evaluate.parts import compared
from sordino.evaluate.plots import clips_chart, comparison, groups_chart, means_chart
from sordino.evaluate.results import replace
from sordino.evaluate.runner import Evaluation
from sordino.evaluate.scores import MEASURES
from sordino.evaluate.statistics import summarize, worst
from sordino.evaluate.systems import UNPROCESSED, Network, System
from sordino.evaluate.tables import (
    MEANS_NOTE,
    Cell,
    Table,
    breakdown_table,
    checks_table,
    clips_table,
    comparison_table,
    differences_table,
    number,
    summary_table,
)
from sordino.spectrogram import Spectrogram, draw

CHARTED = ("pesq", "estoi", "sisdr", "covl", "sig", "bak", "ovrl", "p808", "nr_db", "att_db")
OVER_GROUPS = ("pesq", "sisdr", "ovrl", "att_db")  # charts side by side
MAX_CLIPS = 500  # rows of the table of all clips; the CSV has every clip
OPEN_GROUPS = 8  # a longer breakdown is folded
MAX_PLAYER_SECONDS = 20
FLAC_SECONDS = 8  # longer players are Opus: a tenth of the size, slightly changed
OPUS_RATE = 48000  # Hz
PICTURE_WIDTH = 1000  # pixels
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #211f2b; background: #fff;
  max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; font-size: 1.2rem; }
p, figcaption { color: #55515e; max-width: 75ch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e4e2e8; }
th { font-weight: 500; color: #55515e; vertical-align: bottom; } td b { color: #b3325b; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; position: sticky; left: 0;
  background: #fff; }
.wide { overflow-x: auto; } .no { color: #b3325b; font-weight: 600; }
svg, img { max-width: 100%; height: auto; display: block; }
tbody th { text-align: left; padding-top: .9rem; }
figure { margin: 1.5rem 0 2.5rem; } .players { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; }
small { color: #77737f; }
td b small { color: inherit; }
.players label { display: grid; font-size: .86rem; color: #55515e; } summary { cursor: pointer; }
audio { height: 2.2rem; width: 20rem; max-width: 100%; }
"""


def write_report(path: Path, evaluation: Evaluation, versus: str | None = None) -> None:
    """Write the page atomically; it loads nothing from elsewhere.

    Pictures and players show the first system's ten worst clips, cut to 20 s, so that the
    page stays around ten megabytes for any set.

    Args:
        path: Output file.
        evaluation: What was measured.
        versus: The system that the subject is compared with; the best other one by default.

    Raises:
        SordinoError: Matplotlib is missing, a clip cannot be read, or the page not be written.
    """
    page = "".join(_page(evaluation, versus))
    replace(path, lambda partial: partial.write_text(page, encoding="utf-8"))


def player(x: Mono, rate: int) -> str:
    """Return an HTML audio element with the first 20 s of a mono signal.

    FLAC is lossless; signals above 8 s are Ogg Opus.
    """
    cut = np.clip(x[: MAX_PLAYER_SECONDS * rate], -1, 1).astype(np.float32)
    data = io.BytesIO()
    if len(cut) <= FLAC_SECONDS * rate:
        sf.write(data, cut, rate, format="FLAC", subtype="PCM_16")
        kind = "audio/flac"
    else:
        sf.write(data, resample(cut, rate, OPUS_RATE), OPUS_RATE, format="OGG", subtype="OPUS")
        kind = "audio/ogg"
    return f'<audio controls preload="none" src="{_uri(kind, data.getvalue())}"></audio>'


def _page(evaluation: Evaluation, versus: str | None) -> Iterable[str]:
    subject, systems = evaluation.subject, evaluation.summaries()
    metrics = evaluation.conditions[0].metrics
    title = html.escape(f"{subject} on {Path(evaluation.title).resolve().name}")
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    yield '<meta name=viewport content="width=device-width">'
    yield f"<style>{STYLE}</style><h1>{title}</h1>"
    yield f"<p>{_about(evaluation)}</p>"
    brief = [each for each in metrics if not MEASURES[each].detail] or list(metrics)
    yield _section(summary_table("Summary", "system", systems, brief, MEANS_NOTE, best=True))
    charted = [each for each in CHARTED if each in metrics]
    if charted and systems:
        yield f"<figure>{means_chart(systems, charted, subject)}"
        yield "<figcaption>Means with their 95 % intervals.</figcaption></figure>"
    yield from _clips_chart(evaluation, metrics)
    yield _section(differences_table(evaluation, [n for n in brief if MEASURES[n].better]))
    yield _section(comparison_table(subject, evaluation.names, compared(evaluation, versus)))
    yield _section(checks_table(evaluation, evaluation.checked))
    yield from _breakdowns(evaluation, brief)
    yield from _worst(evaluation)
    every = clips_table(evaluation, brief, MAX_CLIPS)
    yield f"<h2>{every.title}</h2><details><summary>{len(every.rows)} clips</summary>"
    yield f"{_table(every)}</details></html>"


def _about(evaluation: Evaluation) -> str:
    models = [
        f"{each.name} sha256 {each.model.sha256[:12]}"
        for each in evaluation.systems
        if isinstance(each, Network)
    ]
    facts = [
        f"{len(evaluation.clips)} clips of {evaluation.title}",
        evaluation.conditions[0].name,
        *models,
        f"Sordino {version('sordino')}",
        processor(),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    ]
    return html.escape(" · ".join(filter(None, facts)))


def _section(table: Table) -> str:
    """Return a table with its heading and its note; nothing for an empty one."""
    if not table.rows:
        return ""
    note = f"<p>{html.escape(table.note[:1].upper() + table.note[1:])}.</p>" if table.note else ""
    return f"<h2>{html.escape(table.title)}</h2>{_table(table)}{note}"


def _table(table: Table) -> str:
    titles = (html.escape(each.title).replace("-", "\u2011") for each in table.columns)
    head = "".join(f"<th>{each}</th>" for each in titles)  # no line break at a hyphen
    rows: list[str] = []
    for index, row in enumerate(table.rows):
        if index in table.sections:
            heading = html.escape(table.sections[index])
            rows.append(f"<tr><th colspan={len(table.columns)}>{heading}</th></tr>")
        rows.append("<tr>" + "".join(f"<td>{_cell(each)}</td>" for each in row) + "</tr>")
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    mean, plus_minus, interval = html.escape(cell.text).partition(" ±")
    text = f"{mean}<br><small>±{interval}</small>" if plus_minus else mean
    if cell.mark == "bad":
        return f"<span class=no>{text}</span>"
    return f"<b>{text}</b>" if cell.mark else text


def _clips_chart(evaluation: Evaluation, metrics: Sequence[str]) -> Iterable[str]:
    before, after = evaluation.rows(UNPROCESSED), evaluation.rows(evaluation.subject)
    shown = [each for each in ("pesq", "sisdr", "ovrl") if each in metrics]
    if shown and before and after:
        yield f"<figure>{clips_chart(before, after, shown)}"
        yield "<figcaption>Every clip before and after; clips above the line improved."
        yield "</figcaption></figure>"


def _breakdowns(evaluation: Evaluation, metrics: Sequence[str]) -> Iterable[str]:
    traits = {clip.name: clip.traits for clip in evaluation.summarized}
    for column in group_columns(list(traits.values())):
        table = breakdown_table(
            evaluation, column, [name for name in metrics if MEASURES[name].better]
        )
        yield f"<h2>{html.escape(table.title)}</h2>"
        shown = [name for name in OVER_GROUPS if name in {each.key for each in table.columns}]
        if shown and column.startswith("snr"):
            systems = {
                name: {
                    label: summarize(evaluation.rows(name, clips).values())
                    for label, clips in groups(traits, column).items()
                }
                for name in evaluation.names
            }
            chart = groups_chart(systems, shown, column, evaluation.subject)
            yield f"<figure>{chart}</figure>"
        open_ = "open" if len(table.rows) <= OPEN_GROUPS else ""
        yield f"<details {open_}><summary>{len(table.rows)} groups</summary>"
        yield f"{_table(table)}</details>"


def _worst(evaluation: Evaluation) -> Iterable[str]:
    rows, systems = evaluation.rows(evaluation.subject), {s.name: s for s in evaluation.systems}
    measure, names = worst(rows)
    if not names or evaluation.subject not in systems:
        return
    clips = {clip.name: clip for clip in evaluation.clips}
    yield f"<h2>Worst clips by {MEASURES[measure].title}</h2>"
    for name in names:
        row = rows[name]
        shown = [each for each in ("pesq", "sisdr", "ovrl", "nr_db", "att_db") if each in row]
        figures = ", ".join(f"{MEASURES[each].title} {number(each, row[each])}" for each in shown)
        yield from _listening(evaluation, systems[evaluation.subject], clips[name], figures)


def _listening(evaluation: Evaluation, system: System, clip: Clip, figures: str) -> Iterable[str]:
    """Yield spectrograms and players of a clip."""
    sounds, rate = comparison(system, clip, evaluation.conditions[0])
    traits = ", ".join(
        clip.traits[each] + (" dB" if each.startswith("snr") else "")
        for each in group_columns(list(evaluation.traits.values()))
        if clip.traits.get(each)
    )
    yield f"<figure><figcaption>{html.escape(figures)}</figcaption>"
    yield _spectrograms(sounds, rate, clip.name, traits)
    players = (f"<label>{html.escape(k)}{player(x, rate)}</label>" for k, x in sounds.items())
    yield f"<div class=players>{''.join(players)}</div></figure>"


def _spectrograms(sounds: Mapping[str, Mono], rate: int, title: str, about: str) -> str:
    """Return an HTML image of spectrograms one above the other."""
    from PIL import Image

    panels: dict[str, Spectrogram] = {}
    for name, x in sounds.items():
        panels[name] = Spectrogram(rate)
        panels[name].feed(x[: MAX_PLAYER_SECONDS * rate, None].astype(np.float32))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path, panels, title, about)
        with Image.open(path) as whole:
            height = round(whole.height * PICTURE_WIDTH / whole.width)
            small = whole.convert("RGB").resize((PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "WEBP", quality=80)
    return f'<img loading="lazy" alt="" src="{_uri("image/webp", data.getvalue())}">'


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
