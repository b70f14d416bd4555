"""One run looked into: kinds of mistakes, calibration, what the threshold is worth, and Boundary IoU where images' annotations are at hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ldznet_bench.errors import BenchError
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.reports.measure import check_rules, slices_of
from ldznet_bench.reports.pictures import Dataset, predictions
from ldznet_bench.reports.runs import Run
from ldznet_bench.statistics.bootstrap import bootstrap, number_clusters
from ldznet_bench.statistics.curves import Calibration, calibration, curves
from ldznet_bench.statistics.estimators import Estimator, add_up
from ldznet_bench.statistics.failures import CLASSES, MEANING, boundary_iou, classify, wrong_at_outline_only
from ldznet_bench.statistics.intervals import Interval, interval
from ldznet_bench.statistics.samples import Samples, read_samples
from ldznet_bench.statistics.slices import COLUMNS


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the threshold is worth, in mean IoU.

    Attributes:
        threshold: of the run.
        source: ``fixed`` or ``tuned-on-val``.
        at_threshold: mean IoU there.
        best_threshold: the best of the grid on these very samples.
        at_best: mean IoU there; what an oracle would add is the difference.
    """

    threshold: float
    source: str
    at_threshold: float
    best_threshold: float
    at_best: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """Of one run.

    Attributes:
        model: full name.
        dataset: expanded name.
        protocol: full name.
        n_samples: looked at.
        failures: samples per class.
        failures_from: ``masks``, or ``counts`` where the dataset or stored masks are missing: then "boundary only" is an IoU from 0.5 to 0.75.
        calibration: None where maps are binary or the protocol has no grid.
        transfer: see there.
        boundary_iou: mean over samples; None without the dataset or without stored masks.
        boundary_interval: of it.
    """

    model: str
    dataset: str
    protocol: str
    n_samples: int
    failures: dict[str, int]
    failures_from: str
    calibration: Calibration | None
    transfer: Transfer | None
    boundary_iou: float | None
    boundary_interval: Interval


def analyse(run: Run, dataset: Dataset | None = None, *, where: str = "") -> Analysis:
    """Look into a run.

    Args:
        run: a finished one.
        dataset: prepared, for what is made from masks: Boundary IoU and mistakes of outline.
        where: slice expression.

    Raises:
        BenchError: the dataset is not the run's, or masks were not stored.
    """
    rules = check_rules(run)
    dense = rules.grid is not None and not run.summary.get("binary")
    columns = (*COLUMNS, "instance_areas", "instance_intersections")
    samples = read_samples(run.path, histograms="coarse" if dense else "none", columns=columns)
    if where:
        samples = samples.take(slices_of(run, samples, where)[0][1])
    if not len(samples):
        raise BenchError(f"no sample of {run.path} is in the slice {where!r}.", "Widen --where.")
    areas, hits = (samples.table.column(name).to_pylist() for name in ("instance_areas", "instance_intersections"))
    edges = None if dataset is None else _edges(run, samples, dataset)
    counted = Counter(classify(samples.counts, areas, hits, None if edges is None else edges.outline))
    edge, edge_interval = (None, Interval(None, None)) if edges is None else _boundary(edges, samples)
    has_counts = dense and samples.counts.hist_fg is not None
    return Analysis(
        model=run.model,
        dataset=run.dataset,
        protocol=run.protocol,
        n_samples=len(samples),
        failures={name: counted[name] for name in CLASSES},
        failures_from="counts" if edges is None else "masks",
        calibration=calibration(samples, rules) if has_counts else None,
        transfer=_transfer(run, samples) if has_counts else None,
        boundary_iou=edge,
        boundary_interval=edge_interval,
    )


def to_json(found: Analysis) -> dict[str, Any]:
    """Plain values."""
    return asdict(found)


def to_text(found: Analysis) -> str:
    """For people."""
    lines = [f"{found.model} on {found.dataset} under {found.protocol}: {found.n_samples} samples"]
    if found.failures_from == "counts":
        lines.append("  (from counts: without masks, boundary only is an IoU from 0.5 to 0.75; --data-root and stored masks tell it exactly)")
    for name, count in found.failures.items():
        lines.append(f"  {name:16} {count:6} {100 * count / found.n_samples:5.1f} %  {MEANING[name]}")
    if found.calibration is not None:
        lines.append(f"  calibration of pixel scores: ECE {100 * found.calibration.ece:.2f} %, Brier {found.calibration.brier:.4f}")
    if found.transfer is not None:
        item = found.transfer
        lines.append(
            f"  threshold {item.threshold:g} ({item.source}): mIoU {100 * item.at_threshold:.2f}; best on these samples {item.best_threshold:.3g}: "
            f"{100 * item.at_best:.2f} (an oracle's {100 * (item.at_best - item.at_threshold):+.2f})"
        )
    if found.boundary_iou is not None:
        ends = found.boundary_interval
        shown = "" if ends.low is None or ends.high is None else f" [{100 * ends.low:.2f}, {100 * ends.high:.2f}]"
        lines.append(f"  Boundary IoU, mean over samples: {100 * found.boundary_iou:.2f}{shown}")
    return "\n".join(lines) + "\n"


def _transfer(run: Run, samples: Samples) -> Transfer:
    rules = check_rules(run)
    found = curves(samples, rules)
    best = int(np.argmax(found.mean_iou))
    at = float(sample_iou(samples.counts.intersection, samples.counts.union, rules).mean())
    threshold = run.summary["threshold"]
    # The run's own threshold may lie between two of a coarse grid, so that it beats them all.
    if found.mean_iou[best] < at:
        return Transfer(threshold["value"], threshold["source"], at, threshold["value"], at)
    return Transfer(threshold["value"], threshold["source"], at, float(found.thresholds[best]), float(found.mean_iou[best]))


@dataclass(frozen=True, slots=True)
class _Edges:
    """What masks say, per sample.

    Attributes:
        iou: Boundary IoU.
        outline: whether what is wrong is the outline alone.
    """

    iou: list[float]
    outline: list[bool]


def _edges(run: Run, samples: Samples, dataset: Dataset) -> _Edges | None:
    """On the annotation canvas: square canvases distort edges, so runs under them have neither."""
    rules = check_rules(run)
    if dataset.fingerprint != run.summary["fingerprint"]:
        raise BenchError(f"{run.path} was not made from this dataset: their fingerprints differ.", "Name the release that the run was made from.")
    if rules.canvas is not None:
        return None
    masks = predictions(run.path, set(samples.sample_id.tolist()))
    if len(masks) < len(samples):
        raise BenchError(f"{run.path} stores masks of {len(masks)} of {len(samples)} samples.", "Run the cell without --no-masks.")
    found = _Edges([], [])
    for ident in samples.sample_id.tolist():
        geometry = dataset.find(ident)[1].geometry
        mask = masks[ident]
        truth = rasterise(geometry.parts, mask.shape[0], mask.shape[1], rules.rasteriser)
        ignored = rasterise(geometry.ignore, mask.shape[0], mask.shape[1], rules.rasteriser) if geometry.ignore else None
        value = boundary_iou(truth, mask, ignored=ignored)
        found.iou.append(float(rules.empty_iou) if value is None else value)
        found.outline.append(wrong_at_outline_only(truth, mask, ignored))
    return found


def _boundary(edges: _Edges, samples: Samples) -> tuple[float, Interval]:
    (cluster,), n_clusters = number_clusters(samples.image_id)
    sums = add_up(np.column_stack([edges.iou, np.ones(len(edges.iou))]), cluster, n_clusters)
    drawn = bootstrap([Estimator(sums, lambda total: total[:, 0] / np.maximum(1, total[:, 1]))])[0]
    return float(np.mean(edges.iou)), interval(drawn, n_clusters)
