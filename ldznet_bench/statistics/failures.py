"""What kind of mistake a prediction is, from a record's counts alone; and Boundary IoU where masks are at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ldznet_bench.metrics.scores import Columns

BoolArray = npt.NDArray[np.bool_]

CLASSES = ("good", "boundary", "empty", "wrong instance", "missed instance", "spill", "partial")
MEANING = {
    "good": "IoU of 0.75 or more",
    "boundary": "IoU from 0.5 to 0.75 with every instance found: right object, inexact outline",
    "empty": "nothing is predicted although something is there",
    "wrong instance": "under a tenth of the prediction lies on the truth",
    "missed instance": "of several instances one is found (over half of it) and one is not (under a tenth)",
    "spill": "over half of the truth is found, and more wrong than right pixels with it",
    "partial": "anything else: a part of the right object",
}


def classify(counts: Columns, instance_areas: Sequence[Sequence[int]], instance_intersections: Sequence[Sequence[int]]) -> list[str]:
    """One of `CLASSES` per sample; the first that applies, in the order wrong before missing before outline.

    Args:
        counts: of n samples.
        instance_areas: per sample and instance.
        instance_intersections: predicted pixels within each.
    """
    rows = zip(counts.intersection.tolist(), counts.union.tolist(), counts.gt_area.tolist(), counts.pred_area.tolist(), strict=True)
    return [
        _classify(inter, union, gt, pred, areas, hits)
        for (inter, union, gt, pred), areas, hits in zip(rows, instance_areas, instance_intersections, strict=True)
    ]


def boundary_iou(truth: BoolArray, prediction: BoolArray, dilation: float = 0.02) -> float | None:
    """IoU of the two masks' inner edges of width d (Cheng et al., Boundary IoU, CVPR 2021, equation 3).

    Args:
        truth: bool (h, w).
        prediction: of the same shape.
        dilation: d as a share of the canvas' diagonal, at least 1 pixel.

    Returns:
        None where both masks are empty.

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"a truth of shape {truth.shape} and a prediction of shape {prediction.shape}")
    width = max(1, round(dilation * math.hypot(*truth.shape)))
    one, other = _edge(truth, width), _edge(prediction, width)
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else None


def _edge(mask: BoolArray, width: int) -> BoolArray:
    """Pixels of the mask whose square neighbourhood of that radius leaves the mask; outside the canvas there is no mask."""
    side = 2 * width + 1
    sums = np.pad(np.pad(mask, width).astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    edge: BoolArray = mask & (inside < side * side)
    return edge


def _classify(inter: int, union: int, gt: int, pred: int, areas: Sequence[int], hits: Sequence[int]) -> str:
    iou = inter / union if union else 1.0
    if iou >= 0.75:
        return "good"
    if pred == 0:
        return "empty"
    if inter < 0.1 * pred:
        return "wrong instance"
    found = [hit / area for hit, area in zip(hits, areas, strict=True) if area]
    if len(found) > 1 and min(found) < 0.1 and max(found) > 0.5:
        return "missed instance"
    if iou >= 0.5:
        return "boundary"
    return "spill" if inter > 0.5 * gt and inter < 0.5 * pred else "partial"
