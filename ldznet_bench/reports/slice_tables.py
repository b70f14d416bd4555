"""Scores per tag and per category as HTML tables with a bar in every cell: readable aloud, sortable, and good for dozens of slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ldznet_bench.reports.measure import slices_of
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.svg import COLOURS
from ldznet_bench.statistics.estimators import Float64Array
from ldznet_bench.statistics.samples import Samples

MOST = 100  # slices of a table; beyond that the largest ones


@dataclass(frozen=True)
class SliceTable:
    """One way to part the samples.

    Attributes:
        title: of the table.
        rows: name, samples and mean IoU per model; None where the model has no sample of it.
        left_out: slices that are not shown.
        open: whether a reader sees it at once.
    """

    title: str
    rows: tuple[tuple[str, int, tuple[float | None, ...]], ...]
    left_out: int = 0
    open: bool = True


def slice_tables(samples: Mapping[str, Samples], runs: Mapping[str, Run], iou: Mapping[str, Float64Array]) -> list[SliceTable]:
    """A table by tag and one by category, where the records have more than one of them.

    Args:
        samples: by model label, with `slices.COLUMNS`.
        runs: by model label.
        iou: (n,) by model label.
    """
    found = []
    for what, title in (("tags", "Mean IoU by tag"), ("category", "Mean IoU by category")):
        sizes: dict[str, int] = {}
        means: dict[str, dict[str, float]] = {}
        for name, item in samples.items():
            for part, rows in slices_of(runs[name], item, by=what):
                if rows.any():
                    sizes[part] = max(sizes.get(part, 0), int(rows.sum()))
                    means.setdefault(part, {})[name] = float(iou[name][rows].mean())
        largest = sorted(sizes, key=lambda part: (-sizes[part], part))
        if len(largest) > 1:
            table = tuple((part, sizes[part], tuple(means[part].get(name) for name in samples)) for part in largest[:MOST])
            found.append(SliceTable(title, table, max(0, len(largest) - MOST), what == "tags"))
    return found


def slices_html(ident: str, table: SliceTable, models: Sequence[str]) -> str:
    """The table, sortable by the page's script; `ident` is unique on the page."""
    heads = "".join(f'<th scope="col" aria-sort="none"><button type="button">{escape(name)}</button></th>' for name in ("samples", *models))
    rows = "".join(
        f'<tr><th scope="row">{escape(part)}</th><td data-value="{n}">{n:,}</td>'
        + "".join(_cell(value, COLOURS[index % len(COLOURS)]) for index, value in enumerate(means))
        + "</tr>\n"
        for part, n, means in table.rows
    )
    more = f"<p>{table.left_out} smaller slices are not shown.</p>" if table.left_out else ""
    return (
        f'<details class="slices"{" open" if table.open else ""}><summary>{escape(table.title)}: {len(table.rows)} slices</summary>'
        f'<div class="wide tall" tabindex="0" role="region" aria-label="{escape(table.title)}"><table id="board-{ident}"><thead><tr>'
        f'<th scope="col" aria-sort="none"><button type="button">slice</button></th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'
        f"{more}</details>"
    )


def _cell(value: float | None, colour: str) -> str:
    if value is None or np.isnan(value):
        return "<td></td>"
    return f'<td data-value="{value!r}">{bar(value, colour)} <span>{100 * value:.1f}</span></td>'


def bar(value: float, colour: str) -> str:
    """A bar of a value in [0, 1]; the number beside it is what is read aloud."""
    return (
        '<svg class="bar" viewBox="0 0 60 8" width="60" height="8" aria-hidden="true"><rect width="60" height="8" fill="currentColor" opacity="0.1"/>'
        f'<rect width="{60 * value:.1f}" height="8" fill="{colour}"/></svg>'
    )
