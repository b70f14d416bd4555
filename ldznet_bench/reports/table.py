"""Making the comparison table of finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import stdev

from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.protocols import PROTOCOLS
from ldznet_bench.reports.grid import Column, Entry, Options, Row, Table, Value
from ldznet_bench.reports.rules import MARKS, MEANING, mixed, refuse, refuse_mixed, stamps
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.seeds import row_labels, weights_of
from ldznet_bench.statistics.samples import refuse_damaged


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
    known = {name for run in runs for name in run.summary["metrics"]} | {"all", "headline"}
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


def _columns(entries: Sequence[Entry], options: Options) -> dict[int, list[Column]]:
    found: dict[int, list[Column]] = {}
    for index, entry in enumerate(entries):
        names = list(entry.run.summary["metrics"])
        found[index] = [Column(entry.run.dataset, entry.run.protocol, names.index(name), name) for name in _wanted(names, options.metrics)]
    return found


def _wanted(names: Sequence[str], metrics: Sequence[str]) -> list[str]:
    chosen = metrics or ("headline",)
    return [name for name in names if name in chosen or "all" in chosen or (name == names[0] and "headline" in chosen)]


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
