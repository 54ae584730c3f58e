"""A page of charts about what manifests hold: hours by language, speaker, SNR and bandwidth."""

import html
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sordino.corpora.manifest import Row
from sordino.evaluate.html import STYLE
from sordino.evaluate.plots import FAINT, OTHERS, figure, plain, svg
from sordino.io.atomic import atomic_write

SHOWN = 30  # bars of a chart; the others are added up
SNR_EDGES_DB = np.arange(-10, 85, 5)
BANDWIDTH_EDGES_KHZ = np.arange(0, 25, 1)
DNSMOS_EDGES = np.arange(1, 5.01, 0.25)


def hours_by(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, float]:
    """Add up the hours of rows by a column, the most first.

    Args:
        rows: of manifests.
        key: the column's value of a row.
    """
    hours: dict[str, float] = defaultdict(float)
    for row in rows:
        hours[key(row)] += row.hours
    return dict(sorted(hours.items(), key=lambda each: -each[1]))


def write_stats(path: Path, rows: Sequence[Row]) -> None:
    """Write the page in one piece; it loads nothing from elsewhere.

    Args:
        path: of the HTML file.
        rows: of one or more manifests.
    """
    with atomic_write(path) as part:
        part.write_text("".join(_page(rows)), encoding="utf-8")


def _page(rows: Sequence[Row]) -> Iterator[str]:
    names = ", ".join(dict.fromkeys(row.corpus for row in rows))
    kept = [row for row in rows if row.kept]
    speech = [row for row in kept if row.kind in ("speech", "pair")]
    title = html.escape(f"Training data: {names}")
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    yield f"<meta name=viewport content='width=device-width'><style>{STYLE}</style><h1>{title}</h1>"
    yield f"<p>{len(kept)} of {len(rows)} recordings are kept, {sum(r.hours for r in kept):.2f} h "
    yield "of sound without the silence at their ends.</p>"
    yield _table("Kept", kept, lambda row: f"{row.corpus}: {row.kind}, {row.split}")
    dropped = [row for row in rows if not row.kept]
    if dropped:
        yield _table("Left out", dropped, lambda row: row.reason.partition(":")[0])
    yield _table("Licences", kept, lambda row: row.licence)
    if speech:
        yield _bars("Hours by language", hours_by(speech, lambda row: row.language or "unknown"))
        yield _bars("Hours by speaker", hours_by(speech, lambda row: row.speaker or "unknown"))
        yield _histogram("Hours by SNR, dB", speech, lambda row: row.snr_db, SNR_EDGES_DB)
    yield _histogram(
        "Hours by bandwidth, kHz",
        [row for row in kept if row.kind != "rir"],
        lambda row: row.bandwidth_hz / 1000,
        BANDWIDTH_EDGES_KHZ,
    )
    rated = [row for row in rows if not math.isnan(row.dnsmos)]
    if rated:
        yield _histogram(
            "Hours by DNSMOS, of all that were rated", rated, lambda row: row.dnsmos, DNSMOS_EDGES
        )
    noise = [row for row in kept if row.kind == "noise"]
    if noise:
        yield _bars("Hours of noise by label", hours_by(noise, lambda row: row.label or "none"))


def _table(title: str, rows: Sequence[Row], key: Callable[[Row], str]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[key(row)] += 1
    lines = "".join(
        f"<tr><td>{html.escape(name)}<td>{counts[name]}<td>{hours:.2f}"
        for name, hours in hours_by(rows, key).items()
    )
    head = "<tr><th><th>recordings<th>hours"
    return f"<h2>{title}</h2><div class=wide><table>{head}{lines}</table></div>"


def _bars(title: str, hours: Mapping[str, float]) -> str:
    shown = dict(list(hours.items())[:SHOWN])
    if len(hours) > SHOWN:
        shown[f"{len(hours) - SHOWN} others"] = sum(list(hours.values())[SHOWN:])
    chart = figure(9, 0.5 + 0.2 * len(shown))
    axes = chart.subplots()
    axes.barh(list(shown), list(shown.values()), color=OTHERS)
    axes.invert_yaxis()
    return _drawn(title, chart, axes, "x")


def _histogram(
    title: str, rows: Sequence[Row], value: Callable[[Row], float], edges: np.ndarray
) -> str:
    known = [row for row in rows if not math.isnan(value(row))]
    values = np.clip([value(row) for row in known], edges[0], edges[-1])
    hours, _ = np.histogram(values, edges, weights=[row.hours for row in known])
    chart = figure(9, 2.4)
    axes = chart.subplots()
    axes.bar(edges[:-1], hours, np.diff(edges) * 0.95, align="edge", color=OTHERS)
    return _drawn(title, chart, axes, "y")


def _drawn(title: str, chart: object, axes: object, grid: str) -> str:
    plain(axes, grid_axis=grid)
    getattr(axes, f"set_{grid}label")("h", color=FAINT, size=9)
    return f"<h2>{title}</h2><figure>{svg(chart)}</figure>"
