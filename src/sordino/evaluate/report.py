"""One self-contained HTML page of an evaluation: tables, charts, worst clips to see and hear."""

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sordino.benchmark import processor
from sordino.evaluate.charts import clips_chart, groups_chart, means_chart
from sordino.evaluate.clips import Clip
from sordino.evaluate.conditions import CHECKS
from sordino.evaluate.evaluation import Evaluation
from sordino.evaluate.measures import MEASURES
from sordino.evaluate.media import player, spectrograms
from sordino.evaluate.printing import UNPROCESSED, best_systems, cell
from sordino.evaluate.summary import Summary, differences, summarize, worst
from sordino.evaluate.systems import Network, System
from sordino.evaluate.tables import replace
from sordino.evaluate.traits import breakdown_columns, groups
from sordino.evaluate.triples import triple

CHARTED = ("pesq", "estoi", "sisdr", "covl", "sig", "bak", "ovrl", "p808", "nr_db", "att_db")
OVER_GROUPS = ("pesq", "sisdr", "ovrl", "att_db")  # at most so many charts side by side
MOST_CLIPS = 500  # rows of the table of all clips; the CSV has them all
MOST_GROUPS = 40
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
figure { margin: 1.5rem 0 2.5rem; } .players { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; }
small { color: #77737f; }
td b small { color: inherit; }
.players label { display: grid; font-size: .86rem; color: #55515e; } summary { cursor: pointer; }
audio { height: 2.2rem; width: 20rem; max-width: 100%; }
"""


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page, whole or not at all; nothing in it is loaded from elsewhere.

    Pictures and players are those of the first system's worst ten clips, cut to 20 s, so that
    the page stays within some ten megabytes for any set.

    Args:
        path: Where to.
        evaluation: What was measured.

    Raises:
        SordinoError: Matplotlib is missing, a clip cannot be read, or the page not be written.
    """
    page = "".join(_page(evaluation))
    replace(path, lambda partial: partial.write_text(page, encoding="utf-8"))


def _page(evaluation: Evaluation) -> Iterable[str]:
    subject, systems = evaluation.subject, evaluation.summaries()
    metrics = evaluation.conditions[0].metrics
    title = html.escape(f"{subject} on {Path(evaluation.title).resolve().name}")
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    yield '<meta name=viewport content="width=device-width">'
    yield f"<style>{STYLE}</style><h1>{title}</h1>"
    yield f"<p>{_about(evaluation)}</p>"
    yield "<h2>Summary</h2>"
    brief = [each for each in metrics if not MEASURES[each].detail] or list(metrics)
    yield _summary_table("system", systems, brief)
    yield "<p>Means over the clips, ± half of their bootstrap 95 % interval; best in bold.</p>"
    charted = [each for each in CHARTED if each in metrics]
    if charted and systems:
        yield f"<figure>{means_chart(systems, charted, subject)}"
        yield "<figcaption>Means with their 95 % intervals.</figcaption></figure>"
    yield from _clips_chart(evaluation, metrics)
    yield from _differences(evaluation, brief)
    yield from _checks(evaluation)
    yield from _breakdowns(evaluation, brief)
    yield from _worst(evaluation)
    yield from _all_clips(evaluation, brief)
    yield "</html>"


def _about(evaluation: Evaluation) -> str:
    heard = evaluation.conditions[0].name
    models = [
        f"{each.name} sha256 {each.model.sha256[:12]}"
        for each in evaluation.systems
        if isinstance(each, Network)
    ]
    facts = [
        f"{len(evaluation.clips)} clips of {evaluation.title}",
        f"heard {heard}" if heard else "",
        *models,
        f"Sordino {version('sordino')}",
        processor(),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    ]
    return html.escape(" · ".join(filter(None, facts)))


def _summary_table(
    heading: str, rows: Mapping[str, Summary], metrics: Sequence[str], rank: bool = True
) -> str:
    shown = [name for name in metrics if any(name in each for each in rows.values())]
    best = {name: best_systems(name, rows) if rank else set[str]() for name in shown}
    body = (
        [html.escape(label), *(_cell(name, each, label in best[name]) for name in shown)]
        for label, each in rows.items()
    )
    return _table([heading, *(MEASURES[name].title for name in shown)], body)


def _cell(name: str, summary: Summary, bold: bool) -> str:
    text = cell(name, summary.get(name)).replace(" ±", "<br><small>±") + "</small>"
    return f"<b>{text}</b>" if bold else text


def _table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    words = (html.escape(each).replace("-", "\u2011") for each in head)  # no break at a hyphen
    top = "".join(f"<th>{each}</th>" for each in words)
    rows = "".join("<tr>" + "".join(f"<td>{each}</td>" for each in row) for row in body)
    return f"<div class=wide><table><thead><tr>{top}</thead><tbody>{rows}</tbody></table></div>"


def _clips_chart(evaluation: Evaluation, metrics: Sequence[str]) -> Iterable[str]:
    before, after = evaluation.rows(UNPROCESSED), evaluation.rows(evaluation.subject)
    shown = [each for each in ("pesq", "sisdr", "ovrl") if each in metrics]
    if shown and before and after:
        yield f"<figure>{clips_chart(before, after, shown)}"
        yield "<figcaption>Every clip before and after; what lies above the line became "
        yield "better.</figcaption></figure>"


def _differences(evaluation: Evaluation, metrics: Sequence[str]) -> Iterable[str]:
    ours = evaluation.rows(evaluation.subject)
    rows = {
        name: differences(ours, evaluation.rows(name))
        for name in evaluation.names
        if name != evaluation.subject
    }
    shown = [name for name in metrics if MEASURES[name].better]
    shown = [name for name in shown if any(name in each for each in rows.values())]
    body = [
        [
            html.escape(f"less {label}"),
            *(_cell(name, each, name in each and each[name].significant) for name in shown),
        ]
        for label, each in rows.items()
        if each
    ]
    if body:
        yield f"<h2>{html.escape(evaluation.subject)}, difference clip by clip</h2>"
        yield _table(["", *(MEASURES[name].title for name in shown)], body)
        yield "<p>Bold where the 95 % interval of the mean difference leaves out zero.</p>"


def _checks(evaluation: Evaluation) -> Iterable[str]:
    systems = [each.name for each in evaluation.systems if each.runs]
    body: list[list[str]] = []
    for check in CHECKS:
        results = [check.result(evaluation.records, name) for name in systems]
        if any(results):
            cells = (
                f"<span class={'yes' if each and check.holds(each.mean) else 'no'}>"
                f"{cell(check.measure, each)}</span>"
                for each in results
            )
            body.append([html.escape(check.condition.name), check.title, check.goal, *cells])
    if body:
        yield "<h2>Under other conditions</h2>"
        yield _table(["input", "figure", "goal", *systems], body)


def _breakdowns(evaluation: Evaluation, metrics: Sequence[str]) -> Iterable[str]:
    traits, subject = evaluation.traits, evaluation.subject
    for column in breakdown_columns(list(traits.values())):
        found = groups(traits, column)
        ours = {
            label: summarize(evaluation.rows(subject, each).values())
            for label, each in found.items()
        }
        ranked = dict(list(ours.items())[:MOST_GROUPS])
        shown = [name for name in OVER_GROUPS if any(name in each for each in ours.values())]
        yield f"<h2>{html.escape(subject)} by {html.escape(column)}</h2>"
        if shown and column.startswith("snr"):
            systems = {
                name: {
                    label: summarize(evaluation.rows(name, each).values())
                    for label, each in found.items()
                }
                for name in evaluation.names
            }
            yield f"<figure>{groups_chart(systems, shown, column, subject)}</figure>"
        figures = [name for name in metrics if MEASURES[name].better]
        body = _summary_table(column, ranked, figures, rank=False)
        open_ = "open" if len(ranked) <= 8 else ""
        yield f"<details {open_}><summary>{len(found)} groups</summary>{body}</details>"


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
        figures = ", ".join(
            f"{MEASURES[each].title} {row[each]:.{MEASURES[each].decimals}f}" for each in shown
        )
        yield from _triple(evaluation, systems[evaluation.subject], clips[name], figures)


def _triple(evaluation: Evaluation, system: System, clip: Clip, figures: str) -> Iterable[str]:
    sounds, rate = triple(system, clip, evaluation.conditions[0])
    traits = ", ".join(
        clip.traits[each] + (" dB" if each.startswith("snr") else "")
        for each in breakdown_columns(list(evaluation.traits.values()))
        if clip.traits.get(each)
    )
    yield f"<figure><figcaption>{html.escape(figures)}</figcaption>"
    yield spectrograms(sounds, rate, clip.name, traits)
    players = (f"<label>{html.escape(k)}{player(x, rate)}</label>" for k, x in sounds.items())
    yield f"<div class=players>{''.join(players)}</div></figure>"


def _all_clips(evaluation: Evaluation, metrics: Sequence[str]) -> Iterable[str]:
    rows = evaluation.rows(evaluation.subject)
    columns = breakdown_columns(list(evaluation.traits.values()))
    shown = [name for name in metrics if any(name in row for row in rows.values())]
    body = (
        [
            html.escape(clip),
            *(html.escape(evaluation.traits[clip].get(column, "")) for column in columns),
            *(
                f"{row[name]:.{MEASURES[name].decimals}f}"
                if row.get(name) == row.get(name)
                else "–"
                for name in shown
            ),
        ]
        for clip, row in list(rows.items())[:MOST_CLIPS]
    )
    table = _table(["clip", *columns, *(MEASURES[name].title for name in shown)], body)
    yield f"<h2>Every clip</h2><details><summary>{len(rows)} clips</summary>{table}</details>"
