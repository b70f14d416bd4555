"""Published rows beside our own: inside the ranking only where protocol and metric are the column's."""

from __future__ import annotations

from collections.abc import Sequence

from ldznet_bench.reports.grid import Column, Row, Value
from ldznet_bench.reports.published import UNKNOWN, PublishedRow, PublishedValue, load_published, refuse_missing_paper

# What a reader would take for the same column, whatever rules made it. A number enters such a column marked; it never enters another.
_FAMILIES = (
    frozenset({"miou", "miou_best", "giou"}),
    frozenset({"oiou", "ciou", "iou_fg", "iou_fg_best"}),
    *(frozenset({name}) for name in ("ap", "dice")),
    *(frozenset({f"pr{level}", f"acc{level}"}) for level in (50, 60, 70, 80, 90)),
)


def published_rows(columns: Sequence[Column], measured: Sequence[Row], papers: Sequence[str] = ()) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows of `results/published.yaml` that have a number for some column, and their footnotes.

    Args:
        columns: of the table; slices have no published numbers.
        measured: our rows: a column with partial or limited runs admits published numbers only outside its ranking.
        papers: only numbers that were read in these.

    Raises:
        BenchError: an unknown paper.
    """
    known = load_published()
    for paper in papers:
        refuse_missing_paper(known, paper)
    rows: list[Row] = []
    notes: list[str] = []
    for row in (row for dataset in dict.fromkeys(column.dataset for column in columns) for row in known.of(dataset)):
        values = {column: value for column in columns if column.dataset == row.dataset and (value := cell(row, column, measured)) is not None}
        if values and (not papers or row.paper in papers):
            rows.append(Row(row.method, values, published=True, refs=(reference(notes, [row]),)))
    return tuple(rows), tuple(notes)


def cell(row: PublishedRow, column: Column, measured: Sequence[Row], printed: str = "") -> Value | None:
    """The published number for a column.

    Args:
        row: of a paper.
        column: of our table.
        measured: our rows.
        printed: take the number under this heading of the paper, whatever its metric; by default the one of the column's family.
    """
    item = _item(row, column, printed)
    if item is None or column.slice:
        return None
    same = row.protocol == column.protocol and item.metric == column.metric
    fair = same and all(not {"p", "l"} & set(found.marks) for ours in measured if (found := ours.values.get(column)) is not None)
    oracle = ("o",) if row.threshold == "oracle-test" and item.metric != "ap" else ()
    return Value(item.value / 100, (*oracle, *(() if same else ("≠",))), comparable=fair)


def reference(notes: list[str], rows: Sequence[PublishedRow]) -> int:
    """The number of the footnote that says by which rules published numbers were made; equal ones share it."""
    row = rows[0]
    protocol = "protocol unknown" if row.protocol == UNKNOWN else f"protocol {row.protocol}"
    threshold = {"fixed": "fixed threshold", UNKNOWN: "threshold not stated", "oracle-test": "best threshold on the test set"}.get(
        row.threshold, row.threshold
    )
    text = f"{load_published().papers[row.paper].title}, {row.table}: {protocol}, {threshold}" + (
        "; read in a third party's account" if row.checked == "S" else ""
    )
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _item(row: PublishedRow, column: Column, printed: str) -> PublishedValue | None:
    items = [item for item in row.values if item.unit == "percent"]
    if printed:
        return next((item for item in items if item.printed == printed), None)
    family = next((names for names in _FAMILIES if column.metric in names), frozenset({column.metric}))
    exact = [item for item in items if item.metric == column.metric]
    return next(iter([*exact, *(item for item in items if item.metric in family)]), None)
