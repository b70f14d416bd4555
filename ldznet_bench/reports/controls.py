"""How much a model listens: what is left of its score under other words, paired with its plain run sample by sample."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ldznet_bench.errors import RunError
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.grid import metric_title
from ldznet_bench.reports.rules import refuse_mixed
from ldznet_bench.reports.runs import Run
from ldznet_bench.statistics.estimators import NEEDS_HISTOGRAMS
from ldznet_bench.statistics.paired import compare
from ldznet_bench.statistics.samples import Samples, read_samples

PLAIN = "none"


@dataclass(frozen=True)
class Heard:
    """A model under one control.

    Attributes:
        control: its name; ``none`` for the plain run.
        score: the metric, in [0, 1].
        lost: share of the plain score that is lost, (plain - score) / plain; None where the plain score is 0.
        low: of the 95 % interval of score - plain (paired bootstrap over images), negative where words are missed; None for the plain run.
        high: its upper end.
        changed: samples that were told other words.
    """

    control: str
    score: float
    lost: float | None
    low: float | None
    high: float | None
    changed: int


@dataclass(frozen=True)
class Listener:
    """One model on one dataset under one protocol.

    Attributes:
        model: full name, without control.
        dataset: expanded name.
        protocol: full name.
        metric: what was compared.
        n_samples: of the runs.
        heard: the plain run, then the controls.
    """

    model: str
    dataset: str
    protocol: str
    metric: str
    n_samples: int
    heard: tuple[Heard, ...]


def listeners(runs: Sequence[Run], metric: str = "", order: Iterable[str] = ()) -> list[Listener]:
    """Pair controlled runs with the plain runs of the same model, data, rules, weights and seed.

    Args:
        runs: finished ones; those without any controlled partner do not matter.
        metric: its name; empty takes the protocol's headline.
        order: names of controls as they should stand; others follow by name.

    Raises:
        RunError: there is no controlled run, or one without its plain run.
    """
    controlled = [run for run in runs if run.control is not None]
    if not controlled:
        raise RunError("there is no run under a phrase control.", "Make some: ldznet-bench run --models MODEL --control none,blank,shuffled.")
    plain = {_key(run): run for run in runs if run.control is None}
    groups: dict[str, list[Run]] = {}
    for run in controlled:
        key = _key(run)
        if key not in plain:
            remedy = f"Repeat its command with --control none: {run.model.partition('~')[0]} on {run.dataset} under {run.protocol}."
            raise RunError(f"{run.path} has no plain run of the same model, data, rules and seed to compare with.", remedy)
        groups.setdefault(key, []).append(run)
    refuse_mixed([plain[key] for key in groups])
    places = {name: place for place, name in enumerate(order)}

    def place(run: Run) -> tuple[int, str]:
        return places.get(str(run.control), len(places)), str(run.control)

    return [_listener(plain[key], sorted(group, key=place), metric) for key, group in groups.items()]


def _key(run: Run) -> str:
    """Everything that decides a run but the control."""
    identity = dict(run.about["identity"])
    recipe = {name: value for name, value in identity["recipe"].items() if name != "control"}
    same = {**identity, "model": str(identity["model"]).partition("~")[0], "recipe": recipe, "limit": run.summary.get("limit")}
    return json.dumps(same, sort_keys=True)


def _listener(plain: Run, controlled: Sequence[Run], metric: str) -> Listener:
    rules = get_protocol(plain.protocol)
    name = metric or rules.headline
    base = _samples(plain, name)
    score = plain.summary["metrics"].get(name)
    if score is None:
        raise RunError(f"{plain.path} has no {name}.", f"{plain.protocol} reports {', '.join(rules.metrics)}.")
    heard = [Heard(PLAIN, score, 0.0 if score else None, None, None, 0)]
    for run in controlled:
        found = compare([base], [_samples(run, name)], name, rules)
        lost = (found.a - found.b) / found.a if found.a else None
        heard.append(Heard(str(run.control), found.b, lost, found.interval.low, found.interval.high, int(run.about["data"]["changed_phrases"])))
    return Listener(plain.model, plain.dataset, plain.protocol, name, len(base), tuple(heard))


def _samples(run: Run, metric: str) -> Samples:
    return read_samples(run.path, histograms="coarse" if metric in NEEDS_HISTOGRAMS else "none")


def to_json(found: Sequence[Listener]) -> list[dict[str, Any]]:
    """Plain values."""
    return [asdict(item) for item in found]


def to_csv(found: Sequence[Listener]) -> str:
    """A line per model and control, exact values in [0, 1]."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "dataset", "protocol", "metric", "control", "score", "lost", "low", "high", "changed", "n_samples"])
    for item in found:
        for heard in item.heard:
            cells = ["" if value is None else repr(value) for value in (heard.score, heard.lost, heard.low, heard.high)]
            writer.writerow([item.model, item.dataset, item.protocol, item.metric, heard.control, *cells, heard.changed, item.n_samples])
    return buffer.getvalue()


def to_text(found: Sequence[Listener]) -> str:
    """For a terminal: a block per model."""
    return "\n".join(_block(item) for item in found) + _NOTE


def to_markdown(found: Sequence[Listener]) -> str:
    """A row per model, a column per control: score (share won or lost)."""
    head, *rows = _rows(found, "%", "-")
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def to_latex(found: Sequence[Listener]) -> str:
    """A booktabs tabular of the same."""
    head, *rows = [
        [cell.replace("_", r"\_").replace("&", r"\&").replace("~", r"\textasciitilde{}") for cell in line] for line in _rows(found, r"\%", "$-$")
    ]
    body = [" & ".join(line) + " \\\\\n" for line in (head, *rows)]
    return (
        "\\begin{tabular}{l"
        + "r" * (len(head) - 1)
        + "}\n\\toprule\n"
        + body[0]
        + "\\midrule\n"
        + "".join(body[1:])
        + "\\bottomrule\n\\end{tabular}\n"
    )


def controls_of(found: Sequence[Listener]) -> list[str]:
    """Every control that occurs, in order."""
    return list(dict.fromkeys(heard.control for item in found for heard in item.heard))


_NOTE = (
    "  lost: share of the plain score; changed: samples that were told other words; interval: 95 %, score minus plain, paired bootstrap over images\n"
)


def _block(item: Listener) -> str:
    lines = [f"{item.model} on {item.dataset}, {metric_title(item.metric)}@{item.protocol}, {item.n_samples} samples"]
    widest = max(len(heard.control) for heard in item.heard)
    for heard in item.heard:
        text = f"  {heard.control:{widest}}  {100 * heard.score:6.2f}"
        if heard.control != PLAIN:
            lost = "     n/a" if heard.lost is None else f"{100 * heard.lost:6.1f} %"
            ends = "" if heard.low is None or heard.high is None else f"  [{100 * heard.low:+.2f}, {100 * heard.high:+.2f}]"
            text += f"  lost {lost}  changed {heard.changed:6,}{ends}"
        lines.append(text)
    return "\n".join(lines) + "\n"


def _rows(found: Sequence[Listener], percent: str, minus: str) -> list[list[str]]:
    """The heading, then a row per model; what a model was not asked is empty."""
    controls = controls_of(found)
    rows = [["model", *controls]]
    for item in found:
        heard = {each.control: each for each in item.heard}
        label = f"{item.model}, {item.dataset}, {metric_title(item.metric)}@{item.protocol}"
        rows.append([label, *(_cell(heard.get(name), percent, minus) for name in controls)])
    return rows


def _cell(heard: Heard | None, percent: str, minus: str) -> str:
    if heard is None:
        return ""
    if heard.control == PLAIN or heard.lost is None:
        return f"{100 * heard.score:.2f}"
    change = -100 * heard.lost
    return f"{100 * heard.score:.2f} ({minus if change < 0 else '+'}{abs(change):.0f}{percent})"
