"""Scores from counts: every metric that a protocol names, from per-sample statistics, in one pass and flat memory.

What distinguishes protocols is in their fields alone: `smoothing` in every denominator, `empty_iou` where one is 0, `strict_precision`
for thresholds on IoU, and the kind of grid for AP. The order in which samples arrive, and how they are batched, cannot change a bit:
counts are integers, and means over samples are exact until one last division (`ldznet_bench.metrics.exact`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import RunError, unknown_name
from ldznet_bench.metrics.average_precision import precision_recall_points, simpson_ap, step_ap
from ldznet_bench.metrics.counts import Counts, Int32Array, Int64Array, counts_from_histograms
from ldznet_bench.metrics.exact import ExactMean
from ldznet_bench.protocols import Protocol
from ldznet_bench.records import Record

Float64Array = npt.NDArray[np.float64]
_CELLS = 1 << 18  # histogram bins looked at together: 1 MB of each kind, which stays in the cache while it is taken, checked and summed


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The statistics of n samples under one protocol; the columns of records that scores are made from.

    Attributes:
        intersection: int64 (n,).
        union: int64 (n,).
        gt_area: int64 (n,).
        pred_area: int64 (n,).
        hist_fg: int32 (n, K + 1), or None where the protocol has no grid.
        hist_bg: int32 (n, K + 1), or None.
        hist_rows: which rows of the histograms belong to the samples; None where all do, in order. It spares slices a copy.
    """

    intersection: Int64Array
    union: Int64Array
    gt_area: Int64Array
    pred_area: Int64Array
    hist_fg: Int32Array | None = None
    hist_bg: Int32Array | None = None
    hist_rows: npt.NDArray[np.intp] | None = None

    @classmethod
    def from_records(cls, records: Sequence[Record]) -> Self:
        """The columns of records in memory."""
        return cls._from(lambda name: [record[name] for record in records], _stack)  # type: ignore[literal-required]

    @classmethod
    def from_arrow(cls, table: Any) -> Self:  # noqa: ANN401 - a pyarrow Table or RecordBatch
        """The columns of a pyarrow Table or RecordBatch of records."""
        return cls._from(table.column, _unnest)

    @classmethod
    def _from(cls, column: Callable[[str], Any], histogram: Callable[[Any], Int32Array | None]) -> Self:
        return cls(
            intersection=np.asarray(column("intersection"), dtype=np.int64),
            union=np.asarray(column("union"), dtype=np.int64),
            gt_area=np.asarray(column("gt_area"), dtype=np.int64),
            pred_area=np.asarray(column("pred_area"), dtype=np.int64),
            hist_fg=histogram(column("hist_fg")),
            hist_bg=histogram(column("hist_bg")),
        )

    def __len__(self) -> int:
        return len(self.intersection)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """The columns of some samples: a boolean mask or indices. Histograms are not copied."""
        hist_rows = np.arange(len(self)) if self.hist_rows is None else self.hist_rows
        return type(self)(
            self.intersection[rows],
            self.union[rows],
            self.gt_area[rows],
            self.pred_area[rows],
            self.hist_fg,
            self.hist_bg,
            hist_rows[rows],
        )

    def blocks(self) -> Iterator[tuple[slice, Int32Array, Int32Array]]:
        """Histograms of a few samples at a time: which samples (a slice), and their int32 (m, K + 1) histograms; nothing without any."""
        if self.hist_fg is None or self.hist_bg is None:
            return
        step = max(1, _CELLS // self.hist_fg.shape[1])
        for start in range(0, len(self), step):
            samples = slice(start, start + step)
            rows = samples if self.hist_rows is None else self.hist_rows[samples]
            yield samples, self.hist_fg[rows], self.hist_bg[rows]


def sample_iou(intersection: Int64Array, union: Int64Array, protocol: Protocol) -> Float64Array:
    """IoU of each sample: I / (U + smoothing), and `empty_iou` where that divides by 0.

    Args:
        intersection: int64, any shape.
        union: int64, the same shape.
        protocol: whose `smoothing` and `empty_iou` apply.

    Returns:
        Float64 of that shape, in [0, 1].
    """
    return _ratio(intersection, union + protocol.smoothing, protocol)


def sample_dice(columns: Columns, protocol: Protocol) -> Float64Array:
    """Dice (F1) of each sample, 2 I / (|truth| + |prediction| + smoothing); `empty_iou` where that divides by 0."""
    return _ratio(2 * columns.intersection, columns.gt_area + columns.pred_area + protocol.smoothing, protocol)


def iou_bin(tp: int, fp: int, fn: int, tn: int, smoothing: int = 1) -> float:
    """CLIPSeg's "biniou": the mean of the IoU of the foreground and of the background, from pooled counts."""
    errors = smoothing + fp + fn
    return 0.5 * (tp / (tp + errors)) + 0.5 * (tn / (tn + errors))


class Accumulator:
    """Gathers the statistics of samples and gives every metric of a protocol.

    Args:
        protocol: the rules.
        dense: False where score maps hold only 0 and 1: such have no precision-recall curve, and AP is None.
        threshold: the threshold at which intersections and areas were counted; the protocol's own by default. Where it is one of the
            grid's, histograms and areas are checked against each other.

    Raises:
        BenchError: the protocol names a metric that nobody can compute.
    """

    def __init__(self, protocol: Protocol, dense: bool, threshold: float | None = None) -> None:
        for name in protocol.metrics:
            if name not in _METRICS:
                raise unknown_name("metric", name, _METRICS)
        self.protocol = protocol
        self.dense = dense
        self.n = 0
        self.intersection = 0
        self.union = 0
        self.iou = ExactMean()
        self.dice = ExactMean()
        self.passes = dict.fromkeys(_LEVELS, 0)
        self.no_target = 0
        self.right_no_target = 0
        self.answered = 0
        self.pooled: tuple[Int64Array, Int64Array] | None = None
        self.curve: ExactMean | None = None
        self._above = self._bins_above(protocol.threshold if threshold is None else threshold)
        # Histograms of native@1 are 51 KB a sample: they are not read for binary maps, whose AP is None whatever they say.
        self._counts_at_thresholds = protocol.grid is not None and (dense or not _BEST.keys().isdisjoint(protocol.metrics))

    def add(self, columns: Columns) -> None:
        """Takes in the statistics of samples, in any order and batching.

        Raises:
            ValueError: the protocol counts at thresholds, and a dense map comes without histograms.
            RunError: histograms and areas contradict each other, so they were not made at one threshold; or they are of another grid.
        """
        if len(columns) == 0:
            return
        protocol = self.protocol
        iou = sample_iou(columns.intersection, columns.union, protocol)
        self.n += len(columns)
        self.intersection += int(columns.intersection.sum())
        self.union += int(columns.union.sum())
        self.iou.add(iou)
        self.dice.add(sample_dice(columns, protocol))
        none, empty = columns.gt_area == 0, columns.pred_area == 0
        self.no_target += int(np.count_nonzero(none))
        self.right_no_target += int(np.count_nonzero(none & empty))
        self.answered += int(np.count_nonzero(~none & ~empty))
        for level in _LEVELS:
            # A ratio of integers of under 2**50 is never so near to a level that rounding could put it on the other side.
            above = iou > level / 100 if protocol.strict_precision else iou >= level / 100
            self.passes[level] += int(np.count_nonzero(above))
        if self._counts_at_thresholds:
            self._add_histograms(columns)

    def result(self) -> dict[str, float | None]:
        """Every metric of the protocol, in its order; None where a metric is not defined on these samples, and all None without any."""
        return {name: _METRICS[name](self) if self.n else None for name in self.protocol.metrics}

    def best_thresholds(self) -> dict[str, float]:
        """The threshold behind each ``*_best`` metric of the protocol: the lowest of those that reach it."""
        thresholds = self.protocol.thresholds
        if self.pooled is None or thresholds is None:
            return {}
        best = {name: find(self) for name, find in _BEST.items() if name in self.protocol.metrics}
        # The shortest decimal that names the float32: 0.3, not 0.30000001.
        return {name: float(str(thresholds[index])) for name, (index, value) in best.items() if value is not None}

    def _bins_above(self, threshold: float) -> slice | None:
        thresholds = self.protocol.thresholds
        if thresholds is None:
            return None
        index = int(np.searchsorted(thresholds, np.float32(threshold)))
        on_grid = index < thresholds.size and thresholds[index] == np.float32(threshold)
        return slice(index + 1, None) if on_grid else None

    def _add_histograms(self, columns: Columns) -> None:
        bins = self._bins(columns)
        if bins is None:
            return
        fg, bg = (np.zeros(bins, dtype=np.int64), np.zeros(bins, dtype=np.int64)) if self.pooled is None else self.pooled
        wrong = 0
        for samples, hist_fg, hist_bg in columns.blocks():
            wrong += self._contradictions(columns, samples, hist_fg, hist_bg)
            fg += hist_fg.sum(axis=0, dtype=np.int64)
            bg += hist_bg.sum(axis=0, dtype=np.int64)
            if "miou_best" in self.protocol.metrics:
                self._add_curve(hist_fg, hist_bg)
        if wrong:
            raise RunError(
                f"{wrong} of {len(columns)} records hold areas that do not follow from their own threshold counts.",
                "They were made at another threshold than the run states: give that one, or run the cell anew.",
            )
        self.pooled = fg, bg

    def _bins(self, columns: Columns) -> int | None:
        name, thresholds = self.protocol.full_name, self.protocol.thresholds
        if columns.hist_fg is None or thresholds is None:
            if self.dense or self.pooled is not None:
                raise ValueError(f"{name} counts at thresholds, but some samples come without histograms")
            return None
        if self.pooled is None and self.n > len(columns):
            raise ValueError(f"{name} counts at thresholds, but earlier samples came without histograms")
        bins: int = columns.hist_fg.shape[1]
        if bins != thresholds.size + 1:
            raise RunError(f"records hold {bins} score bins where {name} has {thresholds.size + 1}.", "Its grid changed: run the cell anew.")
        return bins

    def _contradictions(self, columns: Columns, samples: slice, hist_fg: Int32Array, hist_bg: Int32Array) -> int:
        if self._above is None:
            return 0
        fg, bg = (hist[:, self._above].sum(axis=1, dtype=np.int64) for hist in (hist_fg, hist_bg))
        return int(np.count_nonzero((fg != columns.intersection[samples]) | (fg + bg != columns.pred_area[samples])))

    def _add_curve(self, hist_fg: Int32Array, hist_bg: Int32Array) -> None:
        tp, fp, fn, _ = counts_from_histograms(hist_fg, hist_bg)
        if self.curve is None:
            self.curve = ExactMean(tp.shape[1])
        self.curve.add(sample_iou(tp, tp + fp + fn, self.protocol))

    def pooled_counts(self) -> Counts | None:
        """Counts at every threshold, summed over samples; None without histograms."""
        return None if self.pooled is None else counts_from_histograms(*self.pooled)


def _ratio(numerator: Int64Array, denominator: Int64Array, protocol: Protocol) -> Float64Array:
    values = np.full(denominator.shape, float(protocol.empty_iou))
    np.divide(numerator, denominator, out=values, where=denominator != 0)
    return values


def _overall(intersection: int, union: int, protocol: Protocol) -> float | None:
    denominator = union + protocol.smoothing
    return intersection / denominator if denominator else None


def _overall_iou(acc: Accumulator) -> float | None:
    return _overall(acc.intersection, acc.union, acc.protocol)


def _mean_iou(acc: Accumulator) -> float:
    return acc.iou.means()[0]


def _mean_dice(acc: Accumulator) -> float:
    return acc.dice.means()[0]


def _best_overall(acc: Accumulator) -> tuple[int, float | None]:
    counts = acc.pooled_counts()
    if counts is None:
        return 0, None
    unions = (counts.tp + counts.fp + counts.fn).tolist()
    values = [_overall(tp, union, acc.protocol) for tp, union in zip(counts.tp.tolist(), unions, strict=True)]
    return _first_best(values)


def _best_mean(acc: Accumulator) -> tuple[int, float | None]:
    return (0, None) if acc.curve is None else _first_best(acc.curve.means())


def _first_best(values: Sequence[float | None]) -> tuple[int, float | None]:
    index = max(range(len(values)), key=lambda i: -1.0 if (value := values[i]) is None else value)
    return index, values[index]


def _average_precision(acc: Accumulator) -> float | None:
    """None without a truth pixel, without a prediction at any threshold, and for binary maps."""
    counts = acc.pooled_counts()
    grid = acc.protocol.grid
    if not acc.dense or counts is None or grid is None:
        return None
    if counts.tp[0] + counts.fn[0] == 0 or counts.tp[0] + counts.fp[0] == 0:
        return None
    return _AP_RULES[grid.kind](acc, counts)


def _simpson(acc: Accumulator, counts: Counts) -> float:
    return simpson_ap(precision_recall_points(counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist(), acc.protocol.smoothing))


def _steps(acc: Accumulator, counts: Counts) -> float | None:
    return None if acc.pooled is None else step_ap(*acc.pooled)


def _no_target_accuracy(acc: Accumulator) -> float | None:
    """N-acc of gRefCOCO: of the samples without target, those whose prediction is empty; None where there are none."""
    return acc.right_no_target / acc.no_target if acc.no_target else None


def _target_accuracy(acc: Accumulator) -> float | None:
    """T-acc of gRefCOCO: of the samples with a target, those whose prediction is not empty; None where a split has no sample of either kind."""
    targets = acc.n - acc.no_target
    return acc.answered / targets if targets and acc.no_target else None


def _share(level: int) -> Callable[[Accumulator], float]:
    return lambda acc: acc.passes[level] / acc.n


_LEVELS = (50, 60, 70, 80, 90)
_AP_RULES: dict[str, Callable[[Accumulator, Counts], float | None]] = {"linear": _simpson, "logit": _steps}
_BEST: dict[str, Callable[[Accumulator], tuple[int, float | None]]] = {"miou_best": _best_mean, "iou_fg_best": _best_overall}
# Some metrics have several names in the field: gIoU (gRefCOCO) is the mean IoU, cIoU and CLIPSeg's foreground IoU are the overall one.
_METRICS: dict[str, Callable[[Accumulator], float | None]] = {
    **dict.fromkeys(("miou", "giou"), _mean_iou),
    **dict.fromkeys(("oiou", "ciou", "iou_fg"), _overall_iou),
    **{name: lambda acc, find=find: find(acc)[1] for name, find in _BEST.items()},  # type: ignore[misc]
    "ap": _average_precision,
    "dice": _mean_dice,
    "n_acc": _no_target_accuracy,
    "t_acc": _target_accuracy,
    **{f"{prefix}{level}": _share(level) for prefix in ("pr", "acc") for level in _LEVELS},
}


def _stack(values: list[Any]) -> Int32Array | None:
    present = [value for value in values if value is not None]
    if present and len(present) < len(values):
        raise ValueError("some records have threshold counts and some have none")
    return np.array(present, dtype=np.int32) if present else None


def _unnest(column: Any) -> Int32Array | None:  # noqa: ANN401 - pyarrow arrays are untyped
    if column.null_count == len(column):
        return None
    if column.null_count:
        raise ValueError("some records have threshold counts and some have none")
    flat = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    values: Int32Array = np.asarray(flat.flatten(), dtype=np.int32)
    return values.reshape(len(column), -1)
