"""The comparison table: a row is a model, a column one dataset:split and one ``metric@protocol``, perhaps of one slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev

from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.protocols import PROTOCOLS
from ldznet_bench.reports.rules import MARKS, MEANING, mixed, refuse, refuse_mixed, stamps
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.seeds import row_labels, weights_of
from ldznet_bench.statistics.samples import refuse_damaged

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
        metrics: names to show; none shows every protocol's headline, ``all`` everything.
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


def check(runs: Sequence[Run], options: Options) -> None:
    """Refuse what the options do not admit.

    Raises:
        BenchError: runs that cannot stand in one table, records that are missing or of another version, or an unknown metric.
    """
    for run in runs:
        refuse_damaged(run.path)
    if not options.allow_mixed:
        if options.strict:
            refuse(runs, limited=options.limited)
        else:
            refuse_mixed(runs)
    known = {name for run in runs for name in run.summary["metrics"]} | {"all"}
    for name in options.metrics:
        if name not in known:
            raise unknown_name("metric", name, known)


def make_table(runs: Sequence[Run], options: Options | None = None) -> Table:
    """Lay out finished runs.

    Args:
        runs: finished ones.
        options: how.

    Raises:
        BenchError: no runs, an unknown metric or slice, or runs that cannot stand together; the culprits are named.
    """
    options = options or Options()
    if not runs:
        raise BenchError("there is no finished run to report.", "Make some with `ldznet-bench run`, or name their folder with --output.")
    check(runs, options)
    labels = row_labels(runs, draws=options.repeats, weights=options.training_seeds)
    entries = [Entry(label, run) for label, run in sorted(zip(labels, runs, strict=True), key=lambda item: (item[0], str(item[1].path)))]
    fill(entries, _columns(entries, options), options)
    columns = tuple(sorted({column for entry in entries for column in entry.values}))
    rows = rows_of(entries, options)
    footnotes: tuple[str, ...] = ()
    if options.published:
        from ldznet_bench.reports.interleave import published_rows

        extra, footnotes = published_rows(columns, rows, options.papers)
        rows = (*extra, *rows)
    notes = notes_for(runs, rows, options)
    return Table(columns, _ordered(rows, columns, options.order), notes, footnotes, options.caption, options.label, options.decimals, options.pm)


def fill(entries: Sequence[Entry], columns: Mapping[int, Sequence[Column]], options: Options) -> None:
    """Put the values of every run into its entry: from its summary where that has them, else from its records."""
    odd = mixed([entry.run for entry in entries])
    if options.where or options.by or options.intervals:
        from ldznet_bench.reports.measure import measure

        measure(entries, columns, options)
    else:
        for index, entry in enumerate(entries):
            for column in columns[index]:
                entry.values[column] = Value(entry.run.summary["metrics"][column.metric], n=entry.run.summary["n_samples"])
    for entry in entries:
        for column, value in entry.values.items():
            entry.values[column] = replace(value, marks=(*marks_of(entry.run, column.metric, id(entry.run) in odd), *value.marks))


def marks_of(run: Run, metric: str, odd: bool = False) -> tuple[str, ...]:
    """Letters for everything that has to be said about a run's score."""
    source = (run.summary.get("thresholds", {}).get(metric) or {}).get("source")
    found = [*stamps(run), *(["mixed"] if odd else []), *([source] if source in MARKS else [])]
    return tuple(MARKS[name] for name in found)


def rows_of(entries: Sequence[Entry], options: Options) -> tuple[Row, ...]:
    """A row per label; runs of one label that share a column are seeds of one model, and averaged."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.label, []).append(entry)
    return tuple(_row(label, members, options) for label, members in groups.items())


def notes_for(runs: Sequence[Run], rows: Sequence[Row], options: Options) -> tuple[str, ...]:
    """What stands below the table: rules, marks, and what was not done."""
    used = {mark for row in rows for value in row.values.values() for mark in value.marks} | ({"†"} if any(row.published for row in rows) else set())
    names = {run.protocol for run in runs} | {column.protocol for row in rows for column in row.values}
    notes = [f"{name} ({protocol.status}): {protocol.summary}" for name, protocol in PROTOCOLS.items() if name in names]
    notes += [f"^{mark} {MEANING[mark]}" for mark in MEANING if mark in used]
    if any(run.about.get("data", {}).get("mini") for run in runs):
        notes.append("the dataset is a miniature or an example, not a published benchmark")
    if options.where:
        notes.append(f"only samples with {options.where}")
    if options.intervals:
        notes.append(f"intervals: 95 %, {options.resamples:,} draws of images with all their phrases; none below 5 images, no ties below 50")
    if any(value.sd is not None for row in rows for value in row.values.values()):
        what = [*(["the run seed"] if options.repeats else []), *(["the training seed (their weights)"] if options.training_seeds else [])]
        notes.append(f"± standard deviation over runs that differ in {' and '.join(what)} alone")
    if options.training_seeds and options.intervals:
        notes.append("several training seeds: mean; its interval draws seeds as well as images from six seeds on")
    unknown = any(value.score is None for row in rows for value in row.values.values())
    return (*notes, "scores in percent" + ("; n/a: the metric does not apply (binary maps have no AP)" if unknown else ""))


def ranked(table: Table, column: Column) -> dict[int, int]:
    """Which rows (by position) are best (1) and second (2) in a column, as printed; only comparable ones above 0, and none where one stands alone."""
    shown = {
        index: round(100 * value.score, table.decimals)
        for index, row in enumerate(table.rows)
        if (value := row.values.get(column)) is not None and value.comparable and value.score
    }
    order = sorted(set(shown.values()), reverse=True)[:2] if len(shown) > 1 else []
    return {index: order.index(score) + 1 for index, score in shown.items() if score in order}


def render(runs: Sequence[Run], metrics: Sequence[str] = (), style: str = "markdown", options: Options | None = None) -> str:
    """A table of finished runs as text.

    Args:
        runs: finished ones.
        metrics: see `Options`.
        style: ``markdown``, ``csv``, ``latex``, ``json``, ``macros`` or ``plain`` (for a terminal).
        options: how the table is made; by default everything is printed, marked.

    Raises:
        BenchError: unknown style, or see `make_table`.
    """
    chosen = replace(options or Options(), metrics=tuple(metrics))
    emit = emitter(style)
    return emit(make_table(runs, chosen))


def emitter(style: str) -> Callable[[Table], str]:
    """The function that writes a table in a style.

    Raises:
        BenchError: unknown style.
    """
    from ldznet_bench.reports import latex, plain, text

    styles = {"markdown": text.to_markdown, "csv": text.to_csv, "json": text.to_json, "latex": latex.to_latex, "macros": latex.to_macros}
    styles["plain"] = plain.to_plain
    if style not in styles:
        raise unknown_name("table style", style, styles)
    return styles[style]


def _columns(entries: Sequence[Entry], options: Options) -> dict[int, list[Column]]:
    found: dict[int, list[Column]] = {}
    for index, entry in enumerate(entries):
        names = list(entry.run.summary["metrics"])
        found[index] = [Column(entry.run.dataset, entry.run.protocol, names.index(name), name) for name in _wanted(names, options.metrics)]
    return found


def _wanted(names: Sequence[str], metrics: Sequence[str]) -> list[str]:
    if not metrics:
        return list(names[:1])
    return [name for name in names if name in metrics or "all" in metrics]


def _ordered(rows: Sequence[Row], columns: Sequence[Column], order: str) -> tuple[Row, ...]:
    if order == "name" or not columns:
        return tuple(rows)

    def key(row: Row) -> tuple[float, str]:
        value = row.values.get(columns[0])
        return (-value.score if value is not None and value.score is not None else 1.0, row.label)

    return tuple(sorted(rows, key=key))


def _row(label: str, members: Sequence[Entry], options: Options) -> Row:
    columns: dict[Column, list[tuple[Run, Value]]] = {}
    for entry in members:
        for column, value in entry.values.items():
            columns.setdefault(column, []).append((entry.run, value))
    trained = max((len({weights_of(run) for run, _ in found}) for found in columns.values()), default=1)
    drawn = max((len(found) for found in columns.values()), default=1)
    several = []
    if trained > 1 and options.training_seeds:
        several.append(f"{trained} training seeds")
    if drawn > trained or (drawn > 1 and not several):
        several.append(f"{drawn} runs" if several else f"{drawn} seeds")
    values = {column: _together(found, options) for column, found in columns.items()}
    return Row(f"{label} ({', '.join(several)})" if several else label, values, members[0].group)


def _together(found: Sequence[tuple[Run, Value]], options: Options) -> Value:
    """The mean over training seeds of the mean over runs, with the deviation between whatever there are several of."""
    values = [value for _, value in found]
    scores: dict[str, list[float]] = {}
    for run, value in found:
        if value.score is not None:
            scores.setdefault(weights_of(run) if options.training_seeds else "", []).append(value.score)
    if len(values) == 1 or sum(map(len, scores.values())) < len(values):
        return values[0]
    means = [sum(part) / len(part) for part in scores.values()]
    spread = means if len(means) > 1 else next(iter(scores.values()))
    marks = tuple(dict.fromkeys(mark for value in values for mark in value.marks))
    mean = sum(means) / len(means)
    # With intervals, those of `measure` are over the seeds already; the deviation of several draws of one network stays what is asked for.
    sd = None if len(means) > 1 and values[0].low is not None else stdev(spread)
    return replace(values[0], score=mean, marks=marks, sd=sd)
