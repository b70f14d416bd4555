"""Metrics as functions of per-image sums, so that resampling images needs nothing but weighted sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.average_precision import precision_recall_points, simpson_ap
from ldznet_bench.metrics.counts import Int32Array, Int64Array, counts_from_histograms
from ldznet_bench.metrics.scores import Columns, sample_dice, sample_iou
from ldznet_bench.protocols import Protocol

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
Value = Callable[[Float64Array], Float64Array]


@dataclass(frozen=True, eq=False)
class Estimator:
    """A metric of one run.

    Attributes:
        sums: float64 (n_clusters, S): what the metric needs, added up over the samples of each cluster. Whole numbers are exact in them.
        value: from (B, S) weighted sums to (B,) values; NaN where the metric is not defined on such a draw.
    """

    sums: Float64Array
    value: Value

    def point(self) -> float:
        """The metric over all clusters, each once; equal to the run's summary but for the last bits of a mean."""
        return float(self.value(self.sums.sum(axis=0, keepdims=True))[0])


def estimator(metric: str, counts: Columns, cluster: IntArray, n_clusters: int, protocol: Protocol, exact: float | None = None) -> Estimator | None:
    """The estimator of a metric.

    Args:
        metric: its name.
        counts: of n samples; with histograms where the metric is made from thresholds.
        cluster: (n,) position of each sample's cluster.
        n_clusters: how many there are; some may hold none of the samples.
        protocol: the rules.
        exact: the score over all samples, where it is known better than from `counts` (whose bins may be in groups): every value is moved by
            what the difference is, so that draws lie around it.

    Returns:
        None where the metric needs histograms and the records have none (binary maps).

    Raises:
        BenchError: nobody can make intervals for a metric of that name.
    """
    make = _MAKERS.get(metric)
    if make is None:
        raise BenchError(f"no interval can be made for the metric {metric!r}.", "Known: " + ", ".join(_MAKERS) + ".")
    if metric in NEEDS_HISTOGRAMS and counts.hist_fg is None:
        return None
    columns, value = make(counts, protocol, metric)
    made = Estimator(add_up(columns, cluster, n_clusters), value)
    if exact is None:
        return made
    off = exact - made.point()
    return Estimator(made.sums, lambda sums: value(sums) + off)


def add_up(columns: npt.NDArray[np.generic], cluster: IntArray, n_clusters: int) -> Float64Array:
    """Sums over clusters of per-sample columns (n, S), in the order of the samples."""
    sums = np.zeros((n_clusters, columns.shape[1]))
    if len(cluster):
        order = np.argsort(cluster, kind="stable")
        present, starts = np.unique(cluster[order], return_index=True)
        sums[present] = np.add.reduceat(columns[order], starts, axis=0, dtype=np.float64)
    return sums


def histograms_of(counts: Columns) -> tuple[Int32Array, Int32Array]:
    """The int32 (n, K + 1) histograms of the samples themselves, truth first.

    Raises:
        BenchError: the records have none.
    """
    if counts.hist_fg is None or counts.hist_bg is None:
        raise BenchError(
            "the records hold no threshold counts: their maps are binary, or their protocol has no thresholds.", "Choose another metric."
        )
    if counts.hist_rows is None:
        return counts.hist_fg, counts.hist_bg
    return counts.hist_fg[counts.hist_rows], counts.hist_bg[counts.hist_rows]


def _mean(values: Float64Array) -> tuple[Float64Array, Value]:
    return np.column_stack([values, np.ones(len(values))]), lambda sums: _divide(sums[:, 0], sums[:, 1])


def _mean_iou(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    return _mean(sample_iou(counts.intersection, counts.union, protocol))


def _mean_dice(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    return _mean(sample_dice(counts, protocol))


def _share(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    iou, level = sample_iou(counts.intersection, counts.union, protocol), int(metric[-2:]) / 100
    return _mean((iou > level if protocol.strict_precision else iou >= level).astype(np.float64))


def _answers(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    """N-acc and T-acc: right answers and samples, of those without and of those with a target."""
    none = counts.gt_area == 0
    asked = none if metric == "n_acc" else ~none
    right = asked & ((counts.pred_area == 0) == none)
    columns = np.column_stack([right, asked, none]).astype(np.float64)
    return columns, lambda sums: np.where(sums[:, 2] > 0, _divide(sums[:, 0], sums[:, 1]), np.nan)


def _overall(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    columns = np.column_stack([counts.intersection, counts.union]).astype(np.float64)
    return columns, lambda sums: _divide(sums[:, 0], sums[:, 1] + protocol.smoothing)


def _best_mean(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    tp, unions = _at_thresholds(counts)
    iou = sample_iou(tp, unions, protocol)
    # The threshold is chosen anew for every draw: the choice is a part of what is uncertain.
    return np.column_stack([iou, np.ones(len(iou))]), lambda sums: _divide(sums[:, :-1], sums[:, -1:]).max(axis=1)


def _best_overall(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    tp, unions = _at_thresholds(counts)
    k = tp.shape[1]
    return np.column_stack([tp, unions]).astype(np.float64), lambda sums: _divide(sums[:, :k], sums[:, k:] + protocol.smoothing).max(axis=1)


def _average_precision(counts: Columns, protocol: Protocol, metric: str) -> tuple[Float64Array, Value]:
    fg, bg = histograms_of(counts)
    if protocol.grid is not None and protocol.grid.kind == "linear":
        return np.column_stack([fg, bg]), lambda sums: _simpson(sums, protocol.smoothing)
    # A bin without any true pixel adds no term: its pixels count from the next lower bin on, whichever samples are drawn.
    used = np.flatnonzero(fg.any(axis=0))
    starts = used if used.size else np.zeros(1, dtype=np.intp)
    return np.column_stack([np.add.reduceat(kind, starts, axis=1, dtype=kind.dtype) for kind in (fg, bg)]), _steps


def _simpson(sums: Float64Array, smoothing: int) -> Float64Array:
    """The protocol's own rule. Draws whose recalls all differ go through at once, the others one by one (0.3 ms each)."""
    bins = sums.shape[1] // 2
    counts = counts_from_histograms(sums[:, :bins].astype(np.int64), sums[:, bins:].astype(np.int64))
    values = np.empty(len(sums))
    plain = (np.diff(counts.tp, axis=1) < 0).all(axis=1) & (counts.tp[:, -1] > 0) & (counts.tp.shape[1] % 2 == 1)
    values[plain] = _parabolas(counts.tp[plain], counts.fp[plain], counts.fn[plain], smoothing)
    rest = np.flatnonzero(~plain)
    rows = zip(*(kind[rest].tolist() for kind in (counts.tp, counts.fp, counts.fn)), strict=True)
    values[rest] = [_simpson_of(tp, fp, fn, smoothing) for tp, fp, fn in rows]
    return values


def _parabolas(tp: Int64Array, fp: Int64Array, fn: Int64Array, smoothing: int) -> Float64Array:
    """Simpson over an odd number of points of strictly ascending recall, as `metrics.simpson` has it, for many rows."""
    x = (tp / (smoothing + tp + fn))[:, ::-1]
    y = (tp / (smoothing + tp + fp))[:, ::-1]
    h0, h1 = x[:, 1:-1:2] - x[:, :-2:2], x[:, 2::2] - x[:, 1:-1:2]
    width, ratio = h0 + h1, h0 / h1
    terms = y[:, :-2:2] * (2 - 1 / ratio) + y[:, 1:-1:2] * width * (width / (h0 * h1)) + y[:, 2::2] * (2 - ratio)
    area: Float64Array = (width / 6 * terms).sum(axis=1)
    return area


def _simpson_of(tp: list[int], fp: list[int], fn: list[int], smoothing: int) -> float:
    if tp[0] + fn[0] == 0 or tp[0] + fp[0] == 0:
        return float("nan")
    return simpson_ap(precision_recall_points(tp, fp, fn, smoothing))


def _steps(sums: Float64Array) -> Float64Array:
    """Step-wise AP of many draws at once; the same sum as `metrics.average_precision.step_ap`."""
    bins = sums.shape[1] // 2
    descending = sums[:, :bins][:, ::-1]
    tp = np.cumsum(descending, axis=1)
    predicted = tp + np.cumsum(sums[:, bins:][:, ::-1], axis=1)
    return _divide((descending * _divide(tp, predicted, empty=0.0)).sum(axis=1), tp[:, -1])


def _at_thresholds(counts: Columns) -> tuple[Int64Array, Int64Array]:
    found = counts_from_histograms(*histograms_of(counts))
    return found.tp, found.tp + found.fp + found.fn


def _divide(numerator: Float64Array, denominator: Float64Array, empty: float = np.nan) -> Float64Array:
    values = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), empty)
    np.divide(numerator, denominator, out=values, where=denominator != 0)
    return values


NEEDS_HISTOGRAMS = frozenset({"miou_best", "iou_fg_best", "ap"})
_MAKERS: dict[str, Callable[[Columns, Protocol, str], tuple[Float64Array, Value]]] = {
    **dict.fromkeys(("miou", "giou"), _mean_iou),
    **dict.fromkeys(("oiou", "ciou", "iou_fg"), _overall),
    "miou_best": _best_mean,
    "iou_fg_best": _best_overall,
    "ap": _average_precision,
    "dice": _mean_dice,
    **dict.fromkeys(("n_acc", "t_acc"), _answers),
    **{f"{prefix}{level}": _share for prefix in ("pr", "acc") for level in (50, 60, 70, 80, 90)},
}
