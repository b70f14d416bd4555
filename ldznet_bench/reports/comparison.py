"""Runs of two models, paired and compared; and what a split can show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import sample_dice, sample_iou
from ldznet_bench.protocols import Protocol, get_protocol
from ldznet_bench.reports.grid import metric_title
from ldznet_bench.reports.measure import check_rules
from ldznet_bench.reports.rules import refuse, refuse_mixed
from ldznet_bench.reports.runs import Run, find_run
from ldznet_bench.reports.seeds import refuse_strangers
from ldznet_bench.statistics.bootstrap import number_clusters
from ldznet_bench.statistics.estimators import NEEDS_HISTOGRAMS, Float64Array
from ldznet_bench.statistics.intervals import FEW_CLUSTERS, stars
from ldznet_bench.statistics.paired import Comparison, adjust, common_ids, compare, compare_average, restrict
from ldznet_bench.statistics.samples import Samples, read_samples
from ldznet_bench.statistics.slices import COLUMNS
from ldznet_bench.statistics.spread import Spread, detectable, images_needed, spread

AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs are compared.

    Attributes:
        metrics: to compare; none takes each protocol's first that is no oracle's.
        where: slice expression.
        leaked: image ids for ``leaked`` and ``clean``.
        allow_oracle: compare scores whose threshold was chosen on the test set.
        allow_mixed: compare limited and dirty runs.
        average: also compare the means over datasets.
        resamples: draws.
        seed: of the draws.
    """

    metrics: tuple[str, ...] = ()
    where: str = ""
    leaked: frozenset[str] | None = None
    allow_oracle: bool = False
    allow_mixed: bool = False
    average: bool = False
    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison with the column it belongs to."""

    dataset: str
    protocol: str
    comparison: Comparison


def find_models(root: Path, text: str) -> dict[tuple[str, str], list[Run]]:
    """The runs that a comma-separated text names, by dataset and protocol.

    Raises:
        BenchError: nothing answers to a part of it, or a part names several models.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for part in (part.strip() for part in text.split(",")):
        runs = find_run(root, part)
        models = sorted({run.model for run in runs})
        if len(models) > 1:
            raise BenchError(f"{part!r} names several models: {', '.join(models)}.", "Name one of them in full, or a run folder.")
        for run in runs:
            members = found.setdefault((run.dataset, run.protocol), [])
            if run.path not in [other.path for other in members]:
                members.append(run)
    return found


def compare_models(root: Path, a: str, b: str, settings: Settings) -> list[Line]:
    """Compare two models on every dataset and protocol that both have runs of; Holm over all of it.

    Raises:
        BenchError: they have nothing in common, or what they have may not be compared.
    """
    mine, other = find_models(root, a), find_models(root, b)
    keys = [key for key in sorted(mine) if key in other]
    if not keys:
        have = [", ".join(f"{dataset} under {protocol}" for dataset, protocol in sorted(side)) for side in (mine, other)]
        raise BenchError(f"{a} and {b} have no dataset and protocol in common ({have[0]}; {have[1]}).", "Run both on one dataset under one protocol.")
    lines: list[Line] = []
    pairs: dict[tuple[str, str], list[tuple[list[Samples], list[Samples]]]] = {}
    for key in keys:
        runs = [*mine[key], *other[key]]
        for side in (mine[key], other[key]):
            refuse_strangers(side)
        refuse_mixed(runs) if settings.allow_mixed else refuse(runs, skipped=True)
        protocol = check_rules(runs[0])
        for metric in _metrics(protocol, settings):
            side_a, side_b = ([_read(run, metric, settings) for run in side] for side in (mine[key], other[key]))
            found = compare(side_a, side_b, metric, protocol, n_resamples=settings.resamples, seed=settings.seed)
            lines.append(Line(*key, found))
            pairs.setdefault((protocol.full_name, metric), []).append((side_a, side_b))
    if settings.average:
        lines += [_average(name, metric, found, settings) for (name, metric), found in pairs.items() if len(found) > 1]
    adjusted = adjust([line.comparison for line in lines])
    return [Line(line.dataset, line.protocol, item) for line, item in zip(lines, adjusted, strict=True)]


def to_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Plain values, scores in [0, 1]."""
    return [{"dataset": line.dataset, "protocol": line.protocol, **asdict(line.comparison)} for line in lines]


def to_text(lines: Sequence[Line], a: str, b: str) -> str:
    """For people: a paragraph per column."""
    parts = [f"B - A, in points; A = {a}, B = {b}"]
    parts += [_paragraph(line) for line in lines]
    notes = []
    if any(line.comparison.conditional for line in lines):
        notes.append("Conditional on these weights: fewer than six training seeds on a side, so only images are drawn.")
    if len(lines) > 1:
        notes.append(f"p is adjusted by Holm over the {len(lines)} comparisons.")
    if any(line.comparison.n_images < FEW_CLUSTERS for line in lines):
        notes.append(f"No stars below {FEW_CLUSTERS} images.")
    return "\n\n".join([*parts, *notes]) + "\n"


def _paragraph(line: Line) -> str:
    found = line.comparison
    ends = (found.interval.low, found.interval.high)
    interval = "no interval (too few images)" if ends[0] is None or ends[1] is None else f"95 % CI [{100 * ends[0]:+.2f}, {100 * ends[1]:+.2f}]"
    p = (
        "p n/a"
        if found.p_holm is None or found.p is None
        else f"p = {found.p:.2g}" + ("" if found.p == found.p_holm else f" (Holm {found.p_holm:.2g})")
    )
    mark = stars(found.p_holm, found.n_images)
    alone = f"; left out: {found.only_a} that only A has, {found.only_b} that only B has" if found.only_a or found.only_b else ""
    return (
        f"{line.dataset} {metric_title(found.metric)}@{line.protocol}: {100 * found.delta:+.2f}{mark} ({100 * found.a:.2f} -> {100 * found.b:.2f}), "
        f"{interval}, {p}\n"
        f"  B wins {found.wins}, ties {found.ties}, loses {found.losses} of {found.n_samples} samples on {found.n_images} images{alone}\n"
        f"  ids sha256 {found.ids_sha256[:16]}"
    )


def _metrics(protocol: Protocol, settings: Settings) -> list[str]:
    names = [name for name in settings.metrics if name in protocol.metrics]
    oracle = [name for name in names if name.endswith("_best")]
    if oracle and not settings.allow_oracle:
        what = f"{', '.join(oracle)}: a threshold chosen on the test set itself (oracle-test) is no property of a model."
        raise BenchError(what, "Compare a fixed threshold, tune one with `ldznet-bench tune`, or insist with --allow-oracle.")
    if names:
        return names
    if settings.metrics:
        raise BenchError(
            f"{protocol.full_name} has none of the metrics {', '.join(settings.metrics)}.", "It has " + ", ".join(protocol.metrics) + "."
        )
    return [next(name for name in protocol.metrics if not name.endswith("_best") and name != "ap")]


def _read(run: Run, metric: str, settings: Settings) -> Samples:
    from ldznet_bench.reports.measure import slices_of

    samples = read_samples(run.path, histograms="coarse" if metric in NEEDS_HISTOGRAMS else "none", columns=COLUMNS)
    return samples.take(slices_of(run, samples, settings.where, leaked=settings.leaked)[0][1]) if settings.where else samples


def _average(protocol: str, metric: str, pairs: list[tuple[list[Samples], list[Samples]]], settings: Settings) -> Line:
    found = compare_average(pairs, metric, get_protocol(protocol), n_resamples=settings.resamples, seed=settings.seed)
    return Line(f"{AVERAGE} of {len(pairs)}", protocol, found)


@dataclass(frozen=True, slots=True)
class Power:
    """What a split shows.

    Attributes:
        dataset: expanded name.
        protocol: full name.
        metric: of the per-sample values.
        paired: whether the spread is of differences of two runs, or of one run.
        spread: measured, in [0, 1] units.
        detectable: smallest difference found with the given power; for one run, between two independent runs of the same spread.
        images_needed: for the difference that was asked for; None without one.
    """

    dataset: str
    protocol: str
    metric: str
    paired: bool
    spread: Spread
    detectable: float
    images_needed: int | None


def measure_power(a: Run, b: Run | None, metric: str = "miou", *, power: float = 0.8, alpha: float = 0.05, difference: float | None = None) -> Power:
    """The smallest difference that a split shows.

    Args:
        a: a run; its own spread bounds what unpaired runs can show.
        b: a second run on the same split: then the spread of the differences counts.
        metric: ``miou`` or ``dice``, the ones that are means over samples.
        power: probability of finding the difference.
        alpha: of the two-sided test.
        difference: in [0, 1]; how many images would show it.

    Raises:
        BenchError: a metric that is no mean over samples, runs of different data, or fewer than two images.
    """
    if metric not in _PER_SAMPLE:
        raise BenchError(f"{metric} is not a mean over samples, so its power cannot be read off their spread.", "Use miou or dice.")
    refuse_mixed([a, b] if b is not None else [a])
    if b is not None and (a.dataset, a.protocol) != (b.dataset, b.protocol):
        raise BenchError(f"{a.path} and {b.path} are of different datasets or protocols.", "Name two runs of one column.")
    rules = check_rules(a)
    samples = [read_samples(run.path) for run in ([a] if b is None else [a, b])]
    shared = common_ids(samples)
    values: list[Float64Array] = [_PER_SAMPLE[metric](restrict(item, shared), rules) for item in samples]
    (cluster,), n_clusters = number_clusters(restrict(samples[0], shared).image_id)
    if n_clusters < 2:
        raise BenchError(f"{a.path} has {n_clusters} image: there is no spread to measure.", "Use a split with more images.")
    found = spread(values[0] if b is None else values[1] - values[0], cluster)
    se = found.se * (1.0 if b is not None else float(np.sqrt(2)))
    needed = None
    if difference is not None:
        needed = images_needed(found, difference, power, alpha) * (1 if b is not None else 2)
    return Power(a.dataset, a.protocol, metric, b is not None, found, detectable(se, power, alpha), needed)


_PER_SAMPLE: dict[str, Callable[[Samples, Protocol], Float64Array]] = {
    "miou": lambda item, rules: sample_iou(item.counts.intersection, item.counts.union, rules),
    "dice": lambda item, rules: sample_dice(item.counts, rules),
}
