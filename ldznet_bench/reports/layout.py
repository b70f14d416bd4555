"""Tables as papers print them: rows, columns, groups and captions from a YAML file (``results/tables/*.yaml`` are LD-ZNet's)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ldznet_bench.cards import read_card
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.grid import Column, Entry, Options, Row, Table, Value, metric_title
from ldznet_bench.reports.interleave import cell, reference
from ldznet_bench.reports.published import PublishedRow, load_published, pick
from ldznet_bench.reports.runs import Run, choose
from ldznet_bench.reports.seeds import row_labels
from ldznet_bench.reports.table import check, fill, notes_for, rows_of
from ldznet_bench.share import shared


@dataclass(frozen=True, slots=True)
class LayoutColumn:
    """A column.

    Attributes:
        title: its heading.
        dataset: full name of the split that our runs are on.
        protocol: full name.
        metric: of it.
        printed: heading of the paper's column, for published rows.
        over: heading that neighbouring columns share.
        published_dataset: what the published rows are on, where the paper does not state the split.
    """

    title: str
    dataset: str
    protocol: str
    metric: str
    printed: str = ""
    over: str = ""
    published_dataset: str = ""


@dataclass(frozen=True, slots=True)
class LayoutRow:
    """A row: a published method, or a model of ours.

    Attributes:
        title: overrules the name.
        group: heading of the rows that follow, too.
        published: method, as its paper prints it.
        model: our name; ``ldznet`` admits every variant, each in a row of its own.
        paper: where a published row is from, where that is not the layout's.
    """

    title: str = ""
    group: str = ""
    published: str = ""
    model: str = ""
    paper: str = ""

    def __post_init__(self) -> None:
        if bool(self.published) == bool(self.model):
            raise ValueError("a row is either published or a model")


@dataclass(frozen=True, slots=True)
class Layout:
    r"""A table.

    Attributes:
        caption: of it.
        label: for ``\ref``.
        paper: where its published rows are from.
        columns: in order.
        rows: in order.
        decimals: of scores in percent.
        wide: as wide as the page, not as a column.
    """

    caption: str
    label: str
    paper: str
    columns: tuple[LayoutColumn, ...]
    rows: tuple[LayoutRow, ...]
    decimals: int = 1
    wide: bool = False

    def __post_init__(self) -> None:
        for column in self.columns:
            try:
                protocol = get_protocol(column.protocol)
            except BenchError as error:
                raise ValueError(f"column {column.title}: {error}") from error
            if column.metric not in protocol.metrics:
                raise ValueError(f"column {column.title}: {unknown_name('metric', column.metric, protocol.metrics)}")


def load_layout(name: str) -> Layout:
    """A layout by file, or one of those that come with the package, by name.

    Raises:
        BenchError: no such layout, or not according to the schema.
    """
    if name.endswith((".yaml", ".yml")):
        return read_card(Path(name), Layout)
    folder = shared("results") / "tables"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise unknown_name("layout", name, known)
    return read_card(folder / f"{name}.yaml", Layout)


def lay_out(layout: Layout, runs: Sequence[Run], options: Options) -> Table:
    """The table that a layout describes, over the given runs; models without a run are left out.

    Args:
        layout: what stands where.
        runs: any finished ones; only those on the layout's datasets and protocols are used.
        options: intervals, refusals and the like.

    Raises:
        BenchError: runs that cannot stand together, an unknown method or dataset.
    """
    columns = tuple(_column(index, column) for index, column in enumerate(layout.columns))
    entries: dict[int, list[Entry]] = {}
    group = ""
    groups: list[str] = []
    for index, row in enumerate(layout.rows):
        group = row.group or group
        groups.append(group)
        entries[index] = _entries(row, runs, columns, group, options) if row.model else []
    flat = [entry for members in entries.values() for entry in members]
    check([entry.run for entry in flat], options)
    fill(flat, {index: _columns_of(entry.run, columns) for index, entry in enumerate(flat)}, options)
    notes: list[str] = []
    measured = [row for members in entries.values() for row in rows_of(members, options)]
    rows: list[Row] = []
    for index, row in enumerate(layout.rows):
        if row.model:
            rows += [replace(found, refs=(_measured(notes, found, columns, entries[index]),)) for found in rows_of(entries[index], options)]
        else:
            rows.append(_published(layout, row, columns, measured, groups[index], notes))
    looks = (options.caption or layout.caption, options.label or layout.label, layout.decimals, options.pm, layout.wide)
    return Table(columns, tuple(rows), notes_for([entry.run for entry in flat], rows, options), tuple(notes), *looks)


def _column(index: int, column: LayoutColumn) -> Column:
    return Column(column.dataset, get_protocol(column.protocol).full_name, index, column.metric, heading=column.title, over=column.over)


def _entries(row: LayoutRow, runs: Sequence[Run], columns: Sequence[Column], group: str, options: Options) -> list[Entry]:
    wanted = {(column.dataset, column.protocol) for column in columns}
    found = [run for run in choose(runs, models=[row.model]) if (run.dataset, run.protocol) in wanted]
    names = sorted({run.model for run in found})
    labels = row_labels(found, draws=options.repeats, weights=options.training_seeds)
    entries = []
    for label, run in sorted(zip(labels, found, strict=True), key=lambda item: (item[1].model, str(item[1].path))):
        shown = label if not row.title else row.title + label.removeprefix(run.model) if len(names) == 1 else f"{row.title} ({label})"
        entries.append(Entry(shown, run, group))
    return entries


def _columns_of(run: Run, columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if (column.dataset, column.protocol) == (run.dataset, run.protocol)]


def _measured(notes: list[str], row: Row, columns: Sequence[Column], entries: Sequence[Entry]) -> int:
    """The number of the footnote that says by which rules a row of ours was made; equal ones share it."""
    parts: dict[str, list[str]] = {}
    for column in columns:
        run = next((entry.run for entry in entries if column in entry.values), None)
        if column in row.values and run is not None:
            threshold = run.summary.get("threshold") or {}
            source = (run.summary.get("thresholds", {}).get(column.metric) or {}).get("source") or threshold.get("source", "fixed")
            words = {"fixed": f"fixed threshold {threshold.get('value', '')}".rstrip(), "oracle-test": "best threshold on the test set"}
            how = "no threshold" if column.metric == "ap" else words.get(source, f"threshold {source}")
            parts.setdefault(f"{column.protocol}, {how}", []).append(metric_title(column.metric))
    text = "Measured here: " + "; ".join(f"{how} ({', '.join(dict.fromkeys(names))})" for how, names in parts.items())
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _published(layout: Layout, row: LayoutRow, columns: Sequence[Column], measured: Sequence[Row], group: str, notes: list[str]) -> Row:
    found = pick(load_published(), row.published, row.paper or layout.paper)
    values: dict[Column, Value] = {}
    used: list[PublishedRow] = []
    for column, spec in zip(columns, layout.columns, strict=True):
        for source in found:
            value = cell(source, column, measured, spec.printed or spec.title) if source.dataset in (column.dataset, spec.published_dataset) else None
            if value is not None and column not in values:
                values[column] = value if source.dataset == column.dataset else replace(value, comparable=False, marks=_not_comparable(value.marks))
                used.append(source)
    refs = tuple(sorted({reference(notes, [source]) for source in used}))
    return Row(row.title or row.published, values, group, published=True, refs=refs)


def _not_comparable(marks: tuple[str, ...]) -> tuple[str, ...]:
    return marks if "≠" in marks else (*marks, "≠")
