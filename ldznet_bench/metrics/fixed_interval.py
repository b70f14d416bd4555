"""CLIPSeg's `FixedIntervalMetrics` to the last quirk, for parity: NaN, half precision, soft truths, masks, classes, and what it refuses.

The suite itself counts with `counts` and scores with `scores`, which agree with this module on what a score map may be (float32 in [0, 1]
on a bool truth). Source: CLIPSeg metrics.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.average_precision import TieRule, precision_recall_points, simpson_ap
from ldznet_bench.metrics.counts import Int64Array
from ldznet_bench.metrics.simpson import DEFAULT_EVEN, EvenRule

if TYPE_CHECKING:
    import torch

    Maps = npt.NDArray[Any] | torch.Tensor

_LOOKED_UP = (0.5, 0.1, 0.2, 0.3)
# A float32 sum of integers is exact up to here, in any order.
_EXACT_SUM = 1 << 24


def fixed_interval_thresholds(n_values: int = 51) -> npt.NDArray[np.float64]:
    """The evaluator's thresholds: n_values over the closed unit interval, without the ends."""
    return np.linspace(0, 1, n_values)[1:-1]


def fixed_interval_counts(
    pred: Maps,
    gt: Maps,
    mask: Maps | None = None,
    *,
    n_values: int = 51,
    sigmoid: bool = False,
    resize_to: tuple[int, int] | None = None,
    resize_pred: bool = False,
    ignore_mask: bool = False,
) -> Int64Array:
    """Per-sample counts as the official `add` makes them.

    Quirks: a pixel is positive where it exceeds the threshold *rounded to the dtype of the prediction*; NaN is positive at every threshold
    that some number of its sample exceeds; the truth may be any number, its partial sums are taken in its own dtype and cut to integers,
    so a truth of {0, 255} gives negative fp and tn.

    Args:
        pred: (n, 1, h, w) array or tensor of floats.
        gt: (n, 1, H, W) truth of any dtype.
        mask: (n, 1, H, W); pixels where it is 0 are left out. An empty one counts as none.
        n_values: how many thresholds, the two ends included.
        sigmoid: apply it first, in the dtype of the prediction.
        resize_to: (rows, columns); truth to the nearest, prediction bilinearly without aligned corners.
        resize_pred: prediction to the truth's size, in float32, bilinearly with aligned corners.
        ignore_mask: leave `mask` unused.

    Returns:
        Int64 (4, n, n_values - 2): tp, fp, fn, tn.

    Raises:
        BenchError: prediction, truth and mask differ in size, are not four-dimensional where they are to be resized, or the sum of a
            half-precision truth overflows.
    """
    thresholds = fixed_interval_thresholds(n_values)
    if sigmoid or resize_to is not None or resize_pred or not isinstance(pred, np.ndarray) or not isinstance(gt, np.ndarray):
        from ldznet_bench.metrics import torch_fixed_interval

        pred, gt, thresholds = torch_fixed_interval.prepare(pred, gt, thresholds, sigmoid, resize_to, resize_pred)
    elif pred.dtype.kind == "f":
        thresholds = thresholds.astype(pred.dtype)
    keep = None if mask is None or ignore_mask or np.asarray(mask).size == 0 else np.asarray(mask) != 0
    if len(pred) != len(gt) or np.shape(pred)[-2:] != np.shape(gt)[-2:] or (keep is not None and keep.shape != gt.shape):
        shapes = ", ".join(str(tuple(value.shape)) for value in (pred, gt, keep) if value is not None)
        raise BenchError(f"prediction, truth and mask differ in size: {shapes}.", "Resize the prediction with resize_pred or resize_to.")
    samples = (_sample(pred, gt, keep, i) for i in range(len(pred)))
    counts = np.array([_count(scores, truth, thresholds) for scores, truth in samples], dtype=np.int64)
    return counts.reshape(len(pred), 4, -1).swapaxes(0, 1)


def fixed_interval_scores(
    counts: npt.NDArray[np.integer[Any]],
    classes: Sequence[int] | npt.NDArray[np.integer[Any]] | None,
    *,
    n_values: int = 51,
    custom_threshold: float | None = None,
    even: EvenRule = DEFAULT_EVEN,
    ties: TieRule = "set-order",
) -> dict[str, Any]:
    """Everything that the official `value` returns, under its own names.

    Args:
        counts: (4, n, K) of `fixed_interval_counts`.
        classes: (n,) class of each sample; PhraseCut's is the sample's own index, which makes "miou" a mean over samples.
        n_values: as the counts were made with.
        custom_threshold: one more threshold to report (``*_ct``); has to equal one of the thresholds to the last bit, which the literals
            0.7, 0.82 and 0.94 do not.
        even: Simpson's rule for an even number of points, see `average_precision.simpson_ap`.
        ties: the order of points of equal recall, see there.

    Raises:
        BenchError: there are no classes, nothing is predicted at any threshold, or a threshold to be reported is not on the grid.
    """
    if classes is None:
        raise BenchError("the fixed-interval scores need a class for every sample.", "Give each sample its own index, as PhraseCut does.")
    thresholds = fixed_interval_thresholds(n_values).tolist()
    tp, fp, fn, tn = counts.sum(axis=1, dtype=np.int64)
    if not np.any(tp + fp):
        raise BenchError("no pixel is predicted at any threshold, so there is nothing to score.", "Check that the scores lie in [0, 1].")
    foreground = tp / (1 + tp + fp + fn)
    order = np.argsort(classes, kind="stable")
    labels, starts = np.unique(np.asarray(classes)[order], return_index=True)
    by_class = np.add.reduceat(counts[:, order], starts, axis=1, dtype=np.int64)
    class_tp, class_fp, class_fn, _ = by_class
    curves = {
        "fgiou": foreground,
        "biniou": 0.5 * foreground + 0.5 * (tn / (1 + tn + fn + fp)),
        "miou": (class_tp / (1 + class_tp + class_fp + class_fn)).mean(axis=0),
    }
    points = precision_recall_points(tp.tolist(), fp.tolist(), fn.tolist())
    result: dict[str, Any] = {"ap": simpson_ap(points, even, ties)}
    for name, curve in curves.items():
        result |= _readings(name, curve.tolist(), thresholds, custom_threshold)
    return result | {
        "ct": custom_threshold,
        "precision_recall_curve": sorted(set(points)),
        "summed_statistics": dict(zip(_NAMES, counts.sum(axis=1, dtype=np.int64).tolist(), strict=True)),
        "summed_by_cls_statistics": {
            name: dict(zip(labels.tolist(), rows.tolist(), strict=True)) for name, rows in zip(_NAMES, by_class, strict=True)
        },
    }


_NAMES = ("tp", "fp", "fn", "tn")


def _sample(pred: Any, gt: Any, keep: npt.NDArray[np.bool_] | None, i: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:  # noqa: ANN401
    scores, truth = pred[i].reshape(-1), gt[i].reshape(-1)
    return (scores, truth) if keep is None else (scores[keep[i].reshape(-1)], truth[keep[i].reshape(-1)])


def _count(scores: npt.NDArray[Any], truth: npt.NDArray[Any], thresholds: npt.NDArray[Any]) -> Int64Array:
    order = np.argsort(scores, kind="stable")
    numbers = scores[order][: scores.size - np.count_nonzero(np.isnan(scores))]
    first = np.searchsorted(numbers, thresholds, side="right")
    first[first == numbers.size] = scores.size  # NaN is carried along only by a number that exceeds the threshold
    tp, fn = _sums(truth[order], first)
    return np.stack([tp, scores.size - first - tp, fn, first - fn])


def _sums(truth: npt.NDArray[Any], first: npt.NDArray[np.intp]) -> tuple[Int64Array, Int64Array]:
    if truth.dtype.kind == "f" and not _sums_exactly(truth):
        from ldznet_bench.metrics import torch_fixed_interval

        return torch_fixed_interval.truncated_sums(truth, first)
    below = np.concatenate([[0], np.cumsum(truth, dtype=np.int64)])
    return below[-1] - below[first], below[first]


def _sums_exactly(truth: npt.NDArray[Any]) -> bool:
    wide = truth.dtype.itemsize >= 4
    return wide and bool(np.all(truth == np.floor(truth))) and float(np.abs(truth).sum(dtype=np.float64)) < _EXACT_SUM


def _readings(name: str, curve: list[float], thresholds: list[float], custom: float | None) -> dict[str, Any]:
    best = max(range(len(curve)), key=curve.__getitem__)
    readings: dict[str, Any] = {f"{name}_best": curve[best], f"{name}_best_t": thresholds[best]}
    readings |= {f"{name}_{threshold}": curve[_index(thresholds, threshold)] for threshold in _LOOKED_UP}
    long_name = "mean_iou" if name == "miou" else name
    readings[f"{long_name}_ct"] = None if custom is None else curve[_index(thresholds, custom)]
    readings[f"{long_name}_scores"] = curve
    return readings


def _index(thresholds: list[float], threshold: float) -> int:
    if threshold not in thresholds:
        near = min(thresholds, key=lambda value: abs(value - threshold))
        raise BenchError(
            f"{threshold!r} is not one of the {len(thresholds)} thresholds: they are compared bit for bit.",
            f"The nearest is {near!r}; with other n_values than 51, 101 or 201 the evaluator's own 0.1, 0.2, 0.3 and 0.5 are missing.",
        )
    return thresholds.index(threshold)
