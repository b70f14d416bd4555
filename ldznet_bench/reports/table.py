"""The comparison table: a row is a model, a column one dataset:split and one ``metric@protocol``."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ldznet_bench.atomic import dump_json
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.protocols import PROTOCOLS
from ldznet_bench.reports.runs import Run

MARKS = {"partial": "p", "limited": "l", "oracle-test": "o", "tuned-on-val": "v"}
_MEANING = {
    "p": "counts or files differ from the dataset's card (partial): not comparable with published rows",
    "l": "a limited run: a sample of the split only",
    "o": "threshold chosen on the test set itself (oracle-test)",
    "v": "threshold tuned on the val split",
}
_TITLES = {"miou": "mIoU", "iou_fg": "IoU_FG", "oiou": "oIoU", "giou": "gIoU", "ciou": "cIoU", "ap": "AP", "dice": "Dice"}


@dataclass(frozen=True, order=True)
class Column:
    """One dataset:split under one protocol's metric.

    Attributes:
        dataset: expanded name.
        protocol: full name.
        position: of the metric in its protocol, for ordering.
        metric: its name.
    """

    dataset: str
    protocol: str
    position: int
    metric: str

    @property
    def title(self) -> str:
        """As a heading: ``phrasecut:test mIoU@native@1``."""
        return f"{self.dataset} {metric_title(self.metric)}@{self.protocol}"


@dataclass(frozen=True)
class Value:
    """A cell of the table: the score in percent with its marks; None where the metric does not apply."""

    score: float | None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows of models, columns of scores, and what their marks and protocols mean."""

    columns: tuple[Column, ...]
    rows: dict[str, dict[Column, Value]]
    notes: tuple[str, ...] = field(default=())


def metric_title(name: str) -> str:
    """As the field prints it: ``miou_best`` is mIoU_best, ``pr50`` is Pr@50."""
    stem, best, _ = name.partition("_best")
    for prefix, shown in (("pr", "Pr@"), ("acc", "acc@")):
        if stem.startswith(prefix) and stem[len(prefix) :].isdigit():
            return shown + stem[len(prefix) :]
    return _TITLES.get(stem, stem) + best


def make_table(runs: Sequence[Run], metrics: Sequence[str] = ()) -> Table:
    """Lay out finished runs.

    Args:
        runs: finished ones; every column must come from one fingerprint of its dataset.
        metrics: names to show; none shows every protocol's headline, ``all`` shows everything.

    Raises:
        BenchError: no runs, an unknown metric, or a column that would mix two fingerprints; the culprits are named.
    """
    if not runs:
        raise BenchError("there is no finished run to report.", "Make some with `ldznet-bench run`, or name their folder with --output.")
    _refuse_mixed(runs)
    _refuse_unknown(metrics, runs)
    columns: set[Column] = set()
    rows: dict[str, dict[Column, Value]] = {}
    for (model, _), run in sorted(zip(_labels(runs), runs, strict=True), key=lambda item: item[0]):
        names = list(run.summary["metrics"])
        for name in _wanted(names, metrics):
            column = Column(run.dataset, run.protocol, names.index(name), name)
            columns.add(column)
            rows.setdefault(model, {})[column] = _value(run, name)
    return Table(tuple(sorted(columns)), rows, _notes(runs, rows))


def render(runs: Sequence[Run], metrics: Sequence[str] = (), style: str = "markdown") -> str:
    """A table of finished runs as text.

    Args:
        runs: finished ones.
        metrics: see `make_table`.
        style: ``markdown``, ``csv``, ``latex`` or ``json``.
    """
    if style not in _STYLES:
        raise unknown_name("table style", style, _STYLES)
    return _STYLES[style](make_table(runs, metrics))


def to_json(table: Table) -> str:
    """A list of scores with their model, dataset, protocol, metric and marks; null where a metric does not apply."""
    return dump_json(
        [
            {"model": model, **dataclasses.asdict(column), "value": value.score, "marks": list(value.marks)}
            for model, values in table.rows.items()
            for column, value in sorted(values.items())
        ]
    )


def to_markdown(table: Table) -> str:
    """GitHub Markdown; best value of a column bold; notes below."""
    head = ["model", *(column.title for column in table.columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * len(table.columns)]
    best = _best(table)
    for model, values in table.rows.items():
        cells = [_text(values.get(column), bold="**" if model in best[column] else "") for column in table.columns]
        lines.append("| " + " | ".join([model.replace("|", "\\|"), *cells]) + " |")
    return "\n".join(lines) + "\n" + "".join(f"\n- {note}" for note in table.notes) + "\n"


def to_csv(table: Table) -> str:
    """One line per score, exact values in [0, 1]; empty where a metric does not apply."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "dataset", "protocol", "metric", "value", "marks"])
    for model, values in table.rows.items():
        for column in table.columns:
            value = values.get(column)
            if value is not None:
                score = "" if value.score is None else repr(value.score)
                writer.writerow([model, column.dataset, column.protocol, column.metric, score, " ".join(value.marks)])
    return buffer.getvalue()


def to_latex(table: Table) -> str:
    r"""A booktabs tabular; best value of a column in \textbf; marks as superscripts; notes as comments-free footnote lines below."""
    best = _best(table)
    head = " & ".join(["Model", *(rf"\shortstack{{{_tex(column.dataset)}\\{_tex(_short(column))}}}" for column in table.columns)])
    lines = [r"\begin{tabular}{l" + "r" * len(table.columns) + "}", r"\toprule", head + r" \\", r"\midrule"]
    for model, values in table.rows.items():
        cells = [_tex_value(values.get(column), bold=model in best[column]) for column in table.columns]
        lines.append(" & ".join([_tex(model), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n" + "".join(rf"\par\footnotesize {_tex(note)}" + "\n" for note in table.notes)


def _short(column: Column) -> str:
    return f"{metric_title(column.metric)}@{column.protocol}"


def _refuse_mixed(runs: Sequence[Run]) -> None:
    seen: dict[tuple[str, str], Run] = {}
    for run in runs:
        first = seen.setdefault((run.dataset, run.protocol), run)
        if first.summary["fingerprint"] != run.summary["fingerprint"]:
            raise BenchError(
                f"{run.dataset} has two fingerprints: {first.path} and {run.path} were not made from the same data.",
                "Choose runs of one of them with --models, or move the others away.",
            )


def _refuse_unknown(metrics: Sequence[str], runs: Sequence[Run]) -> None:
    known = {name for run in runs for name in run.summary["metrics"]} | {"all"}
    for name in metrics:
        if name not in known:
            raise unknown_name("metric", name, known)


def _labels(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Row labels; runs that share every name carry their identity, so that no run hides another."""
    keys = [(run.model, run.dataset, run.protocol) for run in runs]
    crowded = {run.model for run, key in zip(runs, keys, strict=True) if keys.count(key) > 1}
    return [(f"{run.model} [{run.path.name}]" if run.model in crowded else run.model, str(run.path)) for run in runs]


def _wanted(names: Sequence[str], metrics: Sequence[str]) -> list[str]:
    if not metrics:
        return list(names[:1])
    return [name for name in names if name in metrics or "all" in metrics]


def _value(run: Run, metric: str) -> Value:
    source = (run.summary.get("thresholds", {}).get(metric) or {}).get("source")
    stamps = [
        *(["partial"] if run.summary.get("partial") else []),
        *(["limited"] if run.limited else []),
        *([source] if source in MARKS else []),
    ]
    return Value(run.summary["metrics"][metric], tuple(MARKS[stamp] for stamp in stamps))


def _notes(runs: Sequence[Run], rows: dict[str, dict[Column, Value]]) -> tuple[str, ...]:
    used = {mark for values in rows.values() for value in values.values() for mark in value.marks}
    marks = [f"^{mark} {_MEANING[mark]}" for mark in sorted(used)]
    rules = [f"{name} ({protocol.status}): {protocol.summary}" for name, protocol in PROTOCOLS.items() if name in {run.protocol for run in runs}]
    mini = ["the dataset is a miniature or an example, not a published benchmark"] if any(run.about["data"].get("mini") for run in runs) else []
    return (*rules, *marks, *mini, "scores in percent; n/a: the metric does not apply (binary maps have no AP)")


def _best(table: Table) -> dict[Column, set[str]]:
    best: dict[Column, set[str]] = {}
    for column in table.columns:
        scores = {model: values[column].score for model, values in table.rows.items() if column in values}
        known = [score for score in scores.values() if score is not None]
        best[column] = {model for model, score in scores.items() if known and len(scores) > 1 and score == max(known)}
    return best


def _text(value: Value | None, bold: str) -> str:
    if value is None:
        return ""
    shown = "n/a" if value.score is None else f"{100 * value.score:.2f}"
    return f"{bold}{shown}{bold}" + "".join(f" ^{mark}" for mark in value.marks)


def _tex_value(value: Value | None, *, bold: bool) -> str:
    if value is None:
        return "--"
    shown = "n/a" if value.score is None else f"{100 * value.score:.2f}"
    marks = f"$^{{{','.join(value.marks)}}}$" if value.marks else ""
    return (rf"\textbf{{{shown}}}" if bold else shown) + marks


_STYLES: dict[str, Callable[[Table], str]] = {"markdown": to_markdown, "csv": to_csv, "latex": to_latex, "json": to_json}

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
