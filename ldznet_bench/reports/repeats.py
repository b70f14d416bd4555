"""How far the scores of a stochastic model spread, and from which of its draws: read from the runs that ``run --repeats K --spread`` made."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.runs import Run
from ldznet_bench.statistics.samples import read_samples

EVERYTHING = "everything"


@dataclass(frozen=True)
class Source:
    """What was drawn anew, and how scores followed.

    Attributes:
        name: ``everything``, or one stream: ``template``, ``timestep``, ``noise``, ``vae``.
        draws: how many runs.
        scores: metric to the score of each run, in [0, 1]; metrics that do not apply are left out.
        sample_sd: standard deviation (n - 1) over runs of a sample's IoU, as a root mean square over samples.
    """

    name: str
    draws: int
    scores: dict[str, tuple[float, ...]]
    sample_sd: float

    def mean(self, metric: str) -> float:
        """Mean score over runs."""
        return statistics.fmean(self.scores[metric])

    def sd(self, metric: str) -> float:
        """Standard deviation (n - 1) of the score over runs."""
        return statistics.stdev(self.scores[metric])


@dataclass(frozen=True)
class Repeated:
    """One model on one dataset under one protocol; attributes as in a summary, and its sources, ``everything`` first."""

    model: str
    dataset: str
    protocol: str
    sources: tuple[Source, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; with mean and deviation."""
        found = dataclasses.asdict(self)
        for source, entry in zip(self.sources, found["sources"], strict=True):
            entry |= {"mean": {name: source.mean(name) for name in source.scores}, "sd": {name: source.sd(name) for name in source.scores}}
        return found


def measure_repeats(runs: Sequence[Run]) -> list[Repeated]:
    """Group finished runs of `--spread` by model, dataset and protocol, and measure each source of chance."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.model.partition("~")[0], run.dataset, run.protocol), []).append(run)
    return [Repeated(*key, _sources(members)) for key, members in groups.items()]


def _sources(runs: Sequence[Run]) -> tuple[Source, ...]:
    by_stream: dict[str, list[Run]] = {EVERYTHING: []}
    for run in runs:
        redrawn = run.about["identity"]["recipe"].get("repeat", {})
        by_stream.setdefault(next(iter(redrawn), EVERYTHING), []).append(run)
    itself = by_stream[EVERYTHING][0]
    return tuple(_source(name, members if name == EVERYTHING else [itself, *members]) for name, members in by_stream.items())


def _source(name: str, runs: Sequence[Run]) -> Source:
    metrics = [metric for metric, score in runs[0].summary["metrics"].items() if score is not None]
    scores = {metric: tuple(float(run.summary["metrics"][metric]) for run in runs) for metric in metrics}
    rules = get_protocol(runs[0].protocol)
    counts = [read_samples(run.path).counts for run in runs]  # sorted by sample id, so rows match
    ious = np.stack([sample_iou(one.intersection, one.union, rules) for one in counts])
    return Source(name, len(runs), scores, float(np.sqrt(ious.var(axis=0, ddof=1).mean())))


def spread_text(found: Sequence[Repeated], titles: dict[str, str]) -> str:
    """Tables for a terminal: a row per source of chance, scores in percent.

    Args:
        found: of `measure_repeats`.
        titles: metric to what the field calls it; also which metrics are shown, where a run has them.
    """
    return "\n".join(_block(one, titles) for one in found)


def _block(one: Repeated, titles: dict[str, str]) -> str:
    metrics = [metric for metric in titles if metric in one.sources[0].scores]
    lines = [["drawn anew", "runs", *(titles[metric] for metric in metrics), "a sample's IoU"]]
    for source in one.sources:
        scores = (f"{100 * source.mean(metric):.2f} ± {100 * source.sd(metric):.2f}" for metric in metrics)
        lines.append([source.name, str(source.draws), *scores, f"± {100 * source.sample_sd:.2f}"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = ("  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)
    note = "  mean ± standard deviation over runs, in percent; every row holds the first run and redraws what it names, the rest stays"
    return "\n".join([f"{one.model} on {one.dataset} under {one.protocol}", *rows, note]) + "\n"
