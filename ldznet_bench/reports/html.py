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
from ldznet_bench.reports.explorer import explorer, section_data, viewer
from ldznet_bench.reports.gallery import KINDS, Shown, choose_samples, judges_of, show
from ldznet_bench.reports.grid import Column, Row, Table, ranked
from ldznet_bench.reports.measure import slices_of
from ldznet_bench.reports.page import SCRIPT, STYLE
from ldznet_bench.reports.pictures import Dataset
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.slice_tables import SliceTable, slice_tables, slices_html
from ldznet_bench.reports.text import number, spread
from ldznet_bench.statistics.curves import Calibration, Curves, calibration, curves
from ldznet_bench.statistics.estimators import Float64Array
from ldznet_bench.statistics.samples import Samples, read_samples
from ldznet_bench.statistics.slices import COLUMNS

SHOWN = 8  # per kind and column: a reader looks at a screenful, and pictures of 24 samples are about 1 MB
_MOST_MODELS = 8


@dataclass(frozen=True)
class Section:
    """What is shown of one dataset and protocol.

    Attributes:
        title: its heading.
        charts: title and SVG text.
        slices: scores per tag and category.
        gallery: samples with their pictures.
        models: labels, in order.
        data: every sample, as JSON for the script.
        rows: place of each sample in it.
    """

    title: str
    charts: tuple[tuple[str, str], ...]
    slices: tuple[SliceTable, ...]
    gallery: tuple[Shown, ...]
    models: tuple[str, ...]
    data: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class _Pixels:
    """What the histograms of a run say."""

    curves: Curves
    calibration: Calibration


def report(
    table: Table,
    runs: Sequence[Run],
    datasets: Mapping[str, Dataset],
    title: str = "ldznet_bench report",
    count: int = SHOWN,
    asked: Sequence[str] = (),
) -> str:
    """The whole page.

    Args:
        table: the leaderboard.
        runs: those in it.
        datasets: prepared sets by name, for galleries with pictures; a dataset that is absent has a gallery of words and numbers.
        title: of the page.
        count: samples per kind.
        asked: ids of samples whose pictures are wanted as well.

    Raises:
        BenchError: records that cannot be read, a dataset that is not the runs' own, or an asked sample that no run has.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.protocol), []).append(run)
    sections = [_section(members, datasets.get(name), count, asked) for (name, _), members in sorted(groups.items())]
    unknown = [ident for ident in asked if not any(ident in section.rows for section in sections)]
    if unknown:
        raise BenchError(f"no run has the sample {unknown[0]!r}.", "Sample ids are the source's own: PhraseCut's task_id, REFER's sent_id.")
    links = "".join(f'<li><a href="#s{index}">{escape(section.title)}</a></li>' for index, section in enumerate(sections))
    contents = f'<nav aria-label="Sections"><ul>{links}</ul></nav>' if len(sections) > 1 else ""
    body = [
        f"<h1>{escape(title)}</h1>",
        contents,
        leaderboard(table),
        *(_section_html(index, section) for index, section in enumerate(sections)),
        viewer(),
    ]
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
        f"<li>{_note(note)}</li>" for note in table.notes
    ]
    return (
        '<section aria-labelledby="scores"><h2 id="scores">Scores</h2>\n'
        '<p><label>Filter models <input type="search" id="filter" autocomplete="off"></label> <output id="matches" aria-live="polite"></output></p>\n'
        '<div class="wide" tabindex="0" role="region" aria-label="Scores table">'
        f'<table id="board"><thead><tr><th scope="col" aria-sort="none"><button type="button">model</button></th>{heads}</tr></thead>\n'
        f'<tbody>\n{rows}</tbody></table></div>\n<ul class="notes">{"".join(notes)}</ul></section>'
    )


def _section(runs: Sequence[Run], dataset: Dataset | None, count: int, asked: Sequence[str]) -> Section:
    first = runs[0]
    if dataset is not None and dataset.fingerprint != first.summary["fingerprint"]:
        what = f"the runs on {first.dataset} were not made from this dataset: their fingerprints differ."
        raise BenchError(what, "Name the release that they were made from, or leave --data-root out for a report without pictures.")
    named = dict(zip(_labels(runs), runs, strict=True))
    shown = dict(list(named.items())[:_MOST_MODELS])
    read = {name: _read(run) for name, run in shown.items()}
    samples = {name: item for name, (item, _) in read.items()}
    pixels = {name: found for name, (_, found) in read.items() if found is not None}
    gallery = show(choose_samples(samples, shown, count, asked), shown, dataset)
    more = "" if len(named) == len(shown) else f" (the first {len(shown)} of {len(named)} models)"
    rules = get_protocol(first.protocol)
    iou = {name: sample_iou(item.counts.intersection, item.counts.union, rules) for name, item in samples.items()}
    data, rows = section_data(samples, rules, gallery, judges_of(shown))
    return Section(
        title=f"{first.dataset} under {first.protocol}{more}",
        charts=(*_charts(samples, shown, iou), *_pixel_charts(pixels, list(samples))),
        slices=tuple(slice_tables(samples, shown, iou)),
        gallery=tuple(gallery),
        models=tuple(shown),
        data=data,
        rows=rows,
    )


def _read(run: Run) -> tuple[Samples, _Pixels | None]:
    """The samples, and what their histograms say; histograms themselves are let go of before the next run is read."""
    rules = get_protocol(run.protocol)
    dense = rules.grid is not None and not run.summary.get("binary")
    samples = read_samples(run.path, histograms="coarse" if dense else "none", columns=COLUMNS)
    found = None if samples.counts.hist_fg is None else _Pixels(curves(samples, rules), calibration(samples, rules))
    return samples.without_histograms(), found


def _charts(samples: Mapping[str, Samples], runs: Mapping[str, Run], iou: Mapping[str, Float64Array]) -> list[tuple[str, str]]:
    charts = []
    for what, heading in (("size", "object size"), ("n_instances", "instances"), ("words", "words of the phrase")):
        groups: dict[str, list[float | None]] = {}
        for name, item in samples.items():
            for part, rows in slices_of(runs[name], item, by=what):
                groups.setdefault(part, []).append(float(iou[name][rows].mean()) if rows.any() else None)
        title = f"Mean IoU by {heading}"
        charts.append((title, svg.bars(groups, list(samples), x=heading, y="mean IoU", title=title)))
    charts.append(("Histogram of IoU", svg.lines(_histograms(iou), x="IoU of a sample", y="share of samples", title="Histogram of IoU")))
    return charts


def _pixel_charts(found: Mapping[str, _Pixels], models: list[str]) -> list[tuple[str, str]]:
    if not found:
        return []
    pr = {
        name: [(float(r), float(p)) for r, p in zip(item.curves.recall, item.curves.precision, strict=True) if not np.isnan(p)]
        for name, item in found.items()
    }
    at = {name: list(zip(item.curves.thresholds.tolist(), item.curves.mean_iou.tolist(), strict=True)) for name, item in found.items()}
    bins = {name: [point[:2] for point in item.calibration.bins] for name, item in found.items()}
    charts = (
        ("Precision and recall of pixels", pr, "recall", "precision"),
        ("Mean IoU by threshold", at, "threshold", "mean IoU"),
        ("Reliability of pixel scores", bins, "mean score of pixels", "share that is true"),
    )
    return [(title, svg.lines(points, x=x, y=y, title=title, names=models)) for title, points, x, y in charts]


def _histograms(iou: Mapping[str, Float64Array], bins: int = 10) -> dict[str, list[tuple[float, float]]]:
    """The outline of each model's histogram: outlines of eight models can be told apart, bars side by side cannot."""
    edges = np.linspace(0, 1, bins + 1).tolist()
    found = {}
    for name, values in iou.items():
        shares = (np.histogram(values, edges)[0] / max(1, len(values))).tolist()
        found[name] = [(edge, share) for k, share in enumerate(shares) for edge in edges[k : k + 2]]
    return found


def _section_html(index: int, section: Section) -> str:
    charts = "".join(f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>" for title, chart in section.charts)
    parts = [f'<section aria-labelledby="s{index}"><h2 id="s{index}">{escape(section.title)}</h2>\n<div class="charts">{charts}</div>']
    parts += [slices_html(f"{index}-{place}", table, section.models) for place, table in enumerate(section.slices)]
    for kind in KINDS:
        cards = "".join(_card(index, section.rows[item.sample_id], item) for item in section.gallery if item.kind == kind)
        if cards:
            parts.append(f'<h3>{kind[:1].upper() + kind[1:]}</h3><ul class="gallery">{cards}</ul>')
    parts.append(explorer(index, len(section.rows), section.models))
    parts.append(f'<script type="application/json" id="data{index}">{section.data}</script>')
    return "\n".join(parts) + "</section>"


def _card(index: int, row: int, item: Shown) -> str:
    width, height = item.size
    thumb = f'<img src="{item.image}" alt="" width="{width}" height="{height}" decoding="async">' if item.image else ""
    return (
        f'<li><button type="button" class="card" data-section="{index}" data-row="{row}">{thumb}<span class="phrase">{escape(item.phrase)}</span>'
        f"<span>mean IoU {100 * item.mean:.1f}</span></button></li>"
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
