"""The HTML report: one file that needs nothing else. No network, no inline style, scripts and styles admitted by their hash alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports import svg
from ldznet_bench.reports.gallery import KINDS, Shown, choose_samples, show
from ldznet_bench.reports.measure import slices_of
from ldznet_bench.reports.page import SCRIPT, STYLE
from ldznet_bench.reports.pictures import Dataset
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.table import Column, Row, Table, ranked
from ldznet_bench.reports.text import number, spread
from ldznet_bench.statistics.curves import curves
from ldznet_bench.statistics.samples import Samples, read_samples
from ldznet_bench.statistics.slices import COLUMNS

SHOWN = 8  # per kind and column: a reader looks at a screenful, and thumbnails of 24 samples are about 1 MB
_MOST_MODELS = 8


@dataclass(frozen=True)
class Section:
    """What is shown of one dataset and protocol.

    Attributes:
        title: its heading.
        charts: SVG text.
        gallery: samples.
    """

    title: str
    charts: tuple[str, ...]
    gallery: tuple[Shown, ...]


def report(table: Table, runs: Sequence[Run], datasets: Mapping[str, Dataset], title: str = "ldznet_bench report", count: int = SHOWN) -> str:
    """The whole page.

    Args:
        table: the leaderboard.
        runs: those in it.
        datasets: prepared sets by name, for galleries with pictures; a dataset that is absent has a gallery of words and numbers.
        title: of the page.
        count: samples per kind.

    Raises:
        BenchError: records that cannot be read, or a dataset that is not the runs' own.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.protocol), []).append(run)
    sections = [_section(members, datasets.get(name), count) for (name, _), members in sorted(groups.items())]
    body = [f"<h1>{escape(title)}</h1>", leaderboard(table), *(_section_html(index, section) for index, section in enumerate(sections))]
    return page(title, "\n".join(body))


def page(title: str, body: str) -> str:
    """A page around a body that is safe already; nothing but its own style and script and data images may be used by it."""
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def leaderboard(table: Table) -> str:
    """The table: headers are buttons that sort, a field filters rows; notes below."""
    places = {column: ranked(table, column) for column in table.columns}
    heads = "".join(_head(column) for column in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{_label(row)}</th>'
        + "".join(_cell(row, column, places[column].get(index), table) for column in table.columns)
        + "</tr>\n"
        for index, row in enumerate(table.rows)
    )
    notes = [f"<li>[{index}] {escape(note)}</li>" for index, note in enumerate(table.footnotes, 1)] + [
        f"<li>{escape(note)}</li>" for note in table.notes
    ]
    return (
        '<section aria-labelledby="scores"><h2 id="scores">Scores</h2>\n'
        '<p><label>Filter models <input type="search" id="filter" autocomplete="off"></label> <output id="matches" aria-live="polite"></output></p>\n'
        '<div class="wide" tabindex="0" role="region" aria-label="Scores table">'
        f'<table id="board"><thead><tr><th scope="col" aria-sort="none"><button type="button">model</button></th>{heads}</tr></thead>\n'
        f'<tbody>\n{rows}</tbody></table></div>\n<ul class="notes">{"".join(notes)}</ul></section>'
    )


def _section(runs: Sequence[Run], dataset: Dataset | None, count: int) -> Section:
    first = runs[0]
    if dataset is not None and dataset.fingerprint != first.summary["fingerprint"]:
        what = f"the runs on {first.dataset} were not made from this dataset: their fingerprints differ."
        raise BenchError(what, "Name the release that they were made from, or leave --data-root out for a report without pictures.")
    named = dict(zip(_labels(runs), runs, strict=True))
    shown = dict(list(named.items())[:_MOST_MODELS])
    samples = {name: _samples(run) for name, run in shown.items()}
    gallery = show(choose_samples(samples, shown, count), shown, dataset)
    more = "" if len(named) == len(shown) else f" (the first {len(shown)} of {len(named)} models)"
    return Section(f"{first.dataset} under {first.protocol}{more}", tuple(_charts(samples, shown)), tuple(gallery))


def _samples(run: Run) -> Samples:
    dense = get_protocol(run.protocol).grid is not None and not run.summary.get("binary")
    return read_samples(run.path, histograms="coarse" if dense else "none", columns=COLUMNS)


def _charts(samples: Mapping[str, Samples], runs: Mapping[str, Run]) -> list[str]:
    rules = get_protocol(next(iter(runs.values())).protocol)
    iou = {name: sample_iou(item.counts.intersection, item.counts.union, rules) for name, item in samples.items()}
    charts = []
    for what, heading in (("size", "object size"), ("n_instances", "instances")):
        groups: dict[str, list[float | None]] = {}
        for name, item in samples.items():
            for part, rows in slices_of(runs[name], item, by=what):
                groups.setdefault(part, []).append(float(iou[name][rows].mean()) if rows.any() else None)
        charts.append(svg.bars(groups, list(samples), x=heading, y="mean IoU", title=f"Mean IoU by {heading}"))
    edges = np.linspace(0, 1, 11)
    counted = {name: np.histogram(values, edges)[0] / max(1, len(values)) for name, values in iou.items()}
    bins = {f"{edges[k]:.1f}": [float(counted[name][k]) for name in samples] for k in range(10)}
    charts.append(svg.bars(bins, list(samples), x="IoU of a sample, 0 to 1 in tenths", y="share of samples", title="Histogram of IoU"))
    dense = {name: curves(item, rules) for name, item in samples.items() if item.counts.hist_fg is not None}
    if dense:
        pr = {
            name: [(float(r), float(p)) for r, p in zip(found.recall, found.precision, strict=True) if not np.isnan(p)]
            for name, found in dense.items()
        }
        charts.append(svg.lines(pr, x="recall", y="precision", title="Precision and recall of pixels"))
        at = {name: list(zip(found.thresholds.tolist(), found.mean_iou.tolist(), strict=True)) for name, found in dense.items()}
        charts.append(svg.lines(at, x="threshold", y="mean IoU", title="Mean IoU by threshold"))
    return charts


def _section_html(index: int, section: Section) -> str:
    charts = "".join(f"<figure>{chart}</figure>" for chart in section.charts)
    parts = [f'<section aria-labelledby="s{index}"><h2 id="s{index}">{escape(section.title)}</h2>\n<div class="charts">{charts}</div>']
    for kind in KINDS:
        items = [(place, item) for place, item in enumerate(section.gallery) if item.kind == kind]
        if items:
            cards = "".join(_card(f"d{index}-{place}", item) for place, item in items)
            parts.append(f'<h3>{kind[:1].upper() + kind[1:]}</h3><ul class="gallery">{cards}</ul>')
    return "\n".join(parts) + "</section>"


def _card(ident: str, item: Shown) -> str:
    width, height = item.size
    thumb = f'<img src="{item.image}" alt="" width="{width}" height="{height}">' if item.image else ""
    scores = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{100 * score:.2f}</td></tr>" for name, score in item.scores.items())
    figures = _layers(item) if item.image else ""
    figures += "".join(
        f'<figure><img class="map" src="{uri}" alt=""><figcaption>{escape(name)}: score map</figcaption></figure>' for name, uri in item.maps.items()
    )
    mean = 100 * sum(item.scores.values()) / len(item.scores)
    return (
        f'<li><button type="button" class="card" data-dialog="{ident}">{thumb}<span class="phrase">{escape(item.phrase)}</span>'
        f"<span>mean IoU {mean:.1f}</span></button>\n"
        f'<dialog id="{ident}" aria-labelledby="{ident}-t"><h4 id="{ident}-t">{escape(item.phrase)}</h4>'
        f"<p>sample {escape(item.sample_id)}, image {escape(item.image_id)}</p>"
        f'<div class="layers">{figures}</div><table><thead><tr><th scope="col">model</th><th scope="col">IoU</th></tr></thead>'
        f"<tbody>{scores}</tbody></table>"
        '<p><button type="button" class="close">Close</button></p></dialog></li>'
    )


def _layers(item: Shown) -> str:
    width, height = item.size
    base = f'<img src="{item.image}" alt="" width="{width}" height="{height}">'
    layers = [("image", ""), ("ground truth", item.truth), *item.masks.items()]
    return "".join(
        f'<figure><div class="stack">{base}'
        + (f'<img class="over" src="{uri}" alt="" width="{width}" height="{height}">' if uri else "")
        + f"</div><figcaption>{escape(name)}</figcaption></figure>"
        for name, uri in layers
    )


def _head(column: Column) -> str:
    over = f"{escape(column.over)} " if column.over else ""
    return f'<th scope="col" aria-sort="none"><button type="button">{over}{escape(column.title)}</button></th>'


def _note(note: str) -> str:
    """A note that explains a mark begins with it, raised."""
    mark, _, rest = note.partition(" ")
    return f"<sup>{escape(mark[1:])}</sup> {escape(rest)}" if mark.startswith("^") else escape(note)


def _label(row: Row) -> str:
    return escape(row.label) + (" †" if row.published else "") + "".join(f" [{ref}]" for ref in row.refs)


def _cell(row: Row, column: Column, place: int | None, table: Table) -> str:
    value = row.values.get(column)
    if value is None:
        return "<td></td>"
    shown = escape(number(value, table.decimals))
    shown = f"<strong>{shown}</strong>" if place == 1 else f"<u>{shown}</u>" if place == 2 else shown
    sort = "" if value.score is None else f' data-value="{value.score!r}"'
    marks = f"<sup>{escape(', '.join(value.marks))}</sup>" if value.marks else ""
    return f"<td{sort}>{shown}<small>{escape(spread(value, table.decimals, table.pm))}</small>{marks}</td>"


def _labels(runs: Sequence[Run]) -> list[str]:
    names = [run.model for run in runs]
    return [f"{run.model} [{run.path.name}]" if names.count(run.model) > 1 else run.model for run in runs]


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
