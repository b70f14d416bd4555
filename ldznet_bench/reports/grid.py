"""What a comparison table is made of: a row is a model, a column one dataset:split and one ``metric@protocol``, perhaps of one slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ldznet_bench.reports.runs import Run

_TITLES = {
    "miou": "mIoU",
    "iou_fg": "IoU_FG",
    "oiou": "oIoU",
    "giou": "gIoU",
    "ciou": "cIoU",
    "ap": "AP",
    "dice": "Dice",
    "n_acc": "N-acc",
    "t_acc": "T-acc",
}


@dataclass(frozen=True, order=True)
class Column:
    """One dataset:split under one protocol's metric.

    Attributes:
        dataset: expanded name.
        protocol: full name.
        position: of the metric in its protocol, or of the column in a layout.
        metric: its name.
        part: number of the slice, for ordering.
        slice: what the samples are restricted to; empty for all.
        heading: overrules the title.
        over: heading that neighbouring columns share.
    """

    dataset: str
    protocol: str
    position: int
    metric: str
    part: int = 0
    slice: str = ""
    heading: str = ""
    over: str = ""

    @property
    def title(self) -> str:
        """As a heading: ``phrasecut:test mIoU@native@1``."""
        return self.heading or f"{self.dataset} {self.short}"

    @property
    def short(self) -> str:
        """The title without the dataset."""
        return f"{metric_title(self.metric)}@{self.protocol}" + (f" [{self.slice}]" if self.slice else "")


@dataclass(frozen=True)
class Value:
    """A cell of the table.

    Attributes:
        score: in [0, 1]; None where the metric does not apply.
        marks: what has to be said about it.
        low: lower end of its interval, where one was made.
        high: upper end.
        sd: standard deviation over repeats, where there are some.
        n: samples behind it.
        tier: rank that it shares with the models it cannot be told apart from; None where no ranks were made.
        comparable: whether it may be best of its column.
    """

    score: float | None
    marks: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    n: int | None = None
    tier: int | None = None
    comparable: bool = True


@dataclass(frozen=True)
class Row:
    """One model, or one published method.

    Attributes:
        label: its name.
        values: by column.
        group: rows of one group stand together, a rule between groups.
        published: whether it comes from a paper.
        refs: numbers of the footnotes that belong to it.
    """

    label: str
    values: Mapping[Column, Value]
    group: str = ""
    published: bool = False
    refs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    r"""Rows of models, columns of scores, and what their marks and protocols mean.

    Attributes:
        columns: in order.
        rows: in order.
        notes: what stands below.
        footnotes: of published rows, numbered from 1.
        caption: of a paper's table.
        label: of it, for ``\ref``.
        decimals: of scores in percent.
        pm: print intervals as half-widths instead of ends.
        wide: of a paper's page instead of a column.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    caption: str = ""
    label: str = ""
    decimals: int = 2
    pm: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Options:
    """How a table is made.

    Attributes:
        metrics: names to show, ``headline`` for each protocol's own; none shows that alone, ``all`` everything.
        strict: refuse limited, partial, dirty and incomplete runs; where not, they are marked.
        allow_mixed: print what would be refused, marked.
        limited: admit limited runs, marked.
        published: rows from papers as well.
        papers: only of these.
        where: slice expression that restricts every column.
        by: a column per slice; see `ldznet_bench.statistics.slices.Slices.by`.
        leaked: image ids for the slices ``leaked`` and ``clean``.
        intervals: 95 % intervals and ties, from the records.
        pm: print them as half-widths.
        repeats: runs that differ in their draws alone become one row, mean and deviation.
        training_seeds: runs that differ in their weights alone become one row: their mean, and with `intervals` the crossed bootstrap.
        order: ``name``, or ``score`` of the first column.
        decimals: of scores in percent.
        margin: differences within it (in points of percent) do not part ranks.
        resamples: bootstrap draws.
        seed: of the draws.
        caption: of the table.
        label: of it.
    """

    metrics: tuple[str, ...] = ()
    strict: bool = False
    allow_mixed: bool = False
    limited: bool = False
    published: bool = False
    papers: tuple[str, ...] = ()
    where: str = ""
    by: str = ""
    leaked: frozenset[str] | None = None
    intervals: bool = False
    pm: bool = False
    repeats: bool = False
    training_seeds: bool = False
    order: str = "name"
    decimals: int = 2
    margin: float = 0.0
    resamples: int = 10_000
    seed: int = 0
    caption: str = ""
    label: str = ""


@dataclass(frozen=True)
class Entry:
    """A run with the label of its row."""

    label: str
    run: Run
    group: str = ""
    values: dict[Column, Value] = field(default_factory=dict)


def metric_title(name: str) -> str:
    """As the field prints it: ``miou_best`` is mIoU_best, ``pr50`` is Pr@50."""
    stem, best, _ = name.partition("_best")
    for prefix, shown in (("pr", "Pr@"), ("acc", "acc@")):
        if stem.startswith(prefix) and stem[len(prefix) :].isdigit():
            return shown + stem[len(prefix) :]
    return _TITLES.get(stem, stem) + best


def ranked(table: Table, column: Column) -> dict[int, int]:
    """Which rows (by position) are best (1) and second (2) in a column, as printed; only comparable ones above 0, and none where one stands alone."""
    shown = {
        index: round(100 * value.score, table.decimals)
        for index, row in enumerate(table.rows)
        if (value := row.values.get(column)) is not None and value.comparable and value.score
    }
    order = sorted(set(shown.values()), reverse=True)[:2] if len(shown) > 1 else []
    return {index: order.index(score) + 1 for index, score in shown.items() if score in order}
