"""Average precision of pixels, under the two rules that protocols use: CLIPSeg's Simpson integral, and the step-wise sum of everybody else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ldznet_bench.metrics.simpson import DEFAULT_EVEN, EvenRule, simpson

Point = tuple[float, float]
TieRule = Literal["set-order", "ascending", "descending"]
IntArray = npt.NDArray[np.integer[Any]]

_TIES: dict[TieRule, Callable[[list[Point]], list[Point]]] = {
    # Sorting by recall is stable, so that points of equal recall stay in the order in which a CPython set hands them out. That order has
    # no meaning, yet it moves AP by up to 0.09 where many recalls are tied, and it is what published numbers hold.
    "set-order": lambda points: sorted(set(points), key=lambda point: point[0]),
    "ascending": lambda points: sorted(set(points)),
    "descending": lambda points: sorted(set(points), key=lambda point: (point[0], -point[1])),
}


def precision_recall_points(tp: Sequence[int], fp: Sequence[int], fn: Sequence[int], smoothing: int = 1) -> list[Point]:
    """(recall, precision) at every ascending threshold at which anything is predicted, with `smoothing` added to both denominators."""
    return [
        (true / (smoothing + true + missed), true / (smoothing + true + false))
        for true, false, missed in zip(tp, fp, fn, strict=True)
        if true + false > 0
    ]


def simpson_ap(points: list[Point], even: EvenRule = DEFAULT_EVEN, ties: TieRule = "set-order") -> float:
    """CLIPSeg's "ap": Simpson's rule over the distinct points of a precision-recall curve, sorted by recall.

    Not a usual average precision: without anchors at recall 0 and 1 it is bounded by the recall range that the points cover, so a perfect
    constant map (one point) scores 0.0. Source: CLIPSeg metrics.py, FixedIntervalMetrics.value.

    Args:
        points: (recall, precision) in the order of ascending thresholds; the order decides how a set lays them out.
        even: the rule for an even number of distinct points. ``avg`` is the rule of the papers' era (SciPy up to 1.10) and the default;
            ``cartwright`` is SciPy's since 1.11. They differ by up to 2e-3 on a few points and agree on odd numbers, 49 say.
        ties: the order of points of equal recall. ``set-order`` (default) is the official code's on CPython 3.8 and later; the other two
            sort them by precision. Without ties all three agree.

    Returns:
        AP; 0.0 for fewer than two distinct points.
    """
    ordered = _TIES[ties](points)
    return simpson([precision for _, precision in ordered], [recall for recall, _ in ordered], even)


def step_ap(hist_fg: IntArray, hist_bg: IntArray) -> float | None:
    """Average precision as scikit-learn defines it, of scores rounded down to the thresholds of a grid.

    The sum over descending thresholds of (R_n - R_(n-1)) P_n, the last one being "everything is positive". It equals
    `sklearn.metrics.average_precision_score` of the bins, and of the scores themselves up to the order within a bin; what that costs is
    stated at `ldznet_bench.protocols.LOGIT_GRID`.

    Args:
        hist_fg: (K + 1,) pixels of the truth per score bin, pooled over samples.
        hist_bg: (K + 1,) the other pixels.

    Returns:
        AP, or None where the truth has no pixel.
    """
    descending = hist_fg[::-1].astype(np.int64)
    tp = np.cumsum(descending)
    predicted = tp + np.cumsum(hist_bg[::-1], dtype=np.int64)
    if tp[-1] == 0:
        return None
    steps = descending > 0
    terms = descending[steps] * (tp[steps] / predicted[steps])
    # fsum, because the order in which NumPy adds depends on the processor's vector width.
    return math.fsum(terms.tolist()) / int(tp[-1])
