"""A run against the published rows of the same model: a verdict where the rules are the same, the reason where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ldznet_bench.errors import BenchError
from ldznet_bench.reports.grid import Column, Entry, Options, Value, metric_title
from ldznet_bench.reports.measure import measure
from ldznet_bench.reports.published import UNKNOWN, Published, PublishedRow, PublishedValue, load_published, model_rows
from ldznet_bench.reports.rules import stamps
from ldznet_bench.reports.runs import Run

# An independent re-run of CLIPSeg's PC+ row came within 0.4 (SENSE), LAVT's authors state 0.5 between runs.
TOLERANCE = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """One published number against a run.

    Attributes:
        row: its row.
        printed: heading in the paper.
        published: in percent.
        metric: ours.
        ours: in percent; None where the run has no such metric.
        low: lower end of our 95 % interval, over images.
        high: upper end.
        delta: ours - published; None where they may not be compared.
        verdict: in words.
    """

    row: PublishedRow
    printed: str
    published: float
    metric: str
    ours: float | None
    low: float | None
    high: float | None
    delta: float | None
    verdict: str


def check_reproduction(run: Run, *, rows: Sequence[str] = (), tolerance: float = TOLERANCE, published: Published | None = None) -> list[Check]:
    """Compare a run with published rows.

    Args:
        run: a finished run.
        rows: ids of rows; none takes those of the run's model and dataset.
        tolerance: in points; two runs of one network are that far apart.
        published: the numbers; the bundled ones by default.

    Raises:
        BenchError: no such row, or nothing published for the model on that dataset.
    """
    known = published or load_published()
    chosen = [row for row in known.rows if row.id in rows] if rows else list(model_rows(known, run.model, run.dataset))
    missing = set(rows) - {row.id for row in chosen}
    if missing:
        raise BenchError(f"there is no published row {sorted(missing)[0]!r}.", "results/published.yaml lists the ids.")
    if not chosen:
        what = f"nothing is published for {run.model} on {run.dataset}."
        raise BenchError(what, "Name rows of results/published.yaml with --row, for example --row clipseg-3-pcplus.")
    ours = _ours(run)
    return [_check(run, row, item, ours, tolerance) for row in chosen for item in row.values if item.unit == "percent"]


def to_text(checks: Sequence[Check], run: Run) -> str:
    """For people: a line per number."""
    lines = [f"{run.model} on {run.dataset} under {run.protocol} ({run.path})"]
    for check in checks:
        where = f"{check.row.method} {check.printed} = {check.published:g} ({check.row.paper}, {check.row.table}; {check.row.protocol})"
        if check.ours is None or check.delta is None:
            lines.append(f"  {where}: not compared: {check.verdict}")
        else:
            ends = "" if check.low is None or check.high is None else f" [{check.low:.2f}, {check.high:.2f}]"
            lines.append(f"  {where}: {metric_title(check.metric)} {check.ours:.2f}{ends}, {check.delta:+.2f}: {check.verdict}")
    return "\n".join(lines) + "\n"


def _ours(run: Run) -> dict[str, Value]:
    names = [name for name, value in run.summary["metrics"].items() if value is not None]
    entry = Entry(run.model, run)
    measure(
        [entry], {0: [Column(run.dataset, run.protocol, index, name) for index, name in enumerate(names)]}, Options(intervals=True, resamples=2000)
    )
    return {column.metric: value for column, value in entry.values.items()}


def _check(run: Run, row: PublishedRow, item: PublishedValue, ours: dict[str, Value], tolerance: float) -> Check:
    value = ours.get(item.metric)
    percent = [None if number is None else 100 * number for number in (value.score, value.low, value.high)] if value is not None else [None] * 3
    plain = Check(row, item.printed, item.value, item.metric, percent[0], percent[1], percent[2], None, "")
    reason = _why_not(run, row, item, value)
    if reason or percent[0] is None:
        return replace(plain, verdict=reason or f"the run has no {item.metric}")
    delta = percent[0] - item.value
    # The test images are the same, so the interval over images is not what two runs may differ by; it only says how much this split can tell.
    if abs(delta) <= tolerance:
        verdict = f"reproduced within {tolerance:g}"
    elif percent[1] is not None and percent[2] is not None and percent[1] <= item.value <= percent[2]:
        verdict = f"differs by more than {tolerance:g}, within the interval of these images"
    else:
        verdict = "not reproduced"
    condition = f", if the run's weights are {row.weights}: the published row is of no others" if row.weights else ""
    return replace(plain, delta=delta, verdict=verdict + condition)


def _why_not(run: Run, row: PublishedRow, item: PublishedValue, value: Value | None) -> str:
    if row.dataset != run.dataset:
        return f"the row is on {row.dataset}" + (", its split is not stated" if row.dataset.endswith(f":{UNKNOWN}") else "")
    if row.protocol == UNKNOWN or item.metric == UNKNOWN:
        return "the rules of the row are not stated" + (f" ({row.notes})" if row.notes else "")
    if row.protocol != run.protocol:
        return f"the row was made under {row.protocol}, the run under {run.protocol}"
    if run.summary.get("threshold", {}).get("source") != "fixed" and item.metric not in ("ap", "miou_best", "iou_fg_best"):
        return "the run's threshold was tuned on val"
    wrong = stamps(run)
    if wrong:
        return f"the run is {' and '.join(wrong)}"
    return f"the run has no {item.metric}" if value is None else ""
