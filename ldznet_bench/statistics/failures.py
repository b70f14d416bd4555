"""What kind of mistake a prediction is: from a record's counts, and where masks are at hand from those; and Boundary IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ldznet_bench.metrics.scores import Columns

BoolArray = npt.NDArray[np.bool_]

CLASSES = ("good", "boundary only", "empty", "wrong instance", "missed instance", "spill", "partial")
BAND = 0.1  # a mistake is one of outline up to this share of the object's side (the root of its area), whatever the object's size
_OUTSIDE = 0.1  # share of the wrong pixels that may lie beyond the band
MEANING = {
    "good": "IoU of 0.75 or more",
    "boundary only": "the right object with an inexact outline: nine tenths of the wrong pixels lie near the outline of the truth",
    "empty": "nothing is predicted although something is there",
    "wrong instance": "under a tenth of the prediction lies on the truth",
    "missed instance": "of several instances one is found (over half of it) and one is not (under a tenth)",
    "spill": "over half of the truth is found, and more wrong than right pixels with it",
    "partial": "anything else: a part of the right object",
}


def classify(
    counts: Columns,
    instance_areas: Sequence[Sequence[int]],
    instance_intersections: Sequence[Sequence[int]],
    outline: Sequence[bool] | None = None,
) -> list[str]:
    """One of `CLASSES` per sample; the first that applies, in the order wrong before missing before outline.

    Args:
        counts: of n samples.
        instance_areas: per sample and instance.
        instance_intersections: predicted pixels within each.
        outline: per sample, `wrong_at_outline_only` of its masks; None where there are no masks: then an IoU of 0.5 or more stands for it.
    """
    rows = zip(counts.intersection.tolist(), counts.union.tolist(), counts.gt_area.tolist(), counts.pred_area.tolist(), strict=True)
    near = outline or [inter >= 0.5 * union for inter, union in zip(counts.intersection.tolist(), counts.union.tolist(), strict=True)]
    return [
        _classify(inter, union, gt, pred, areas, hits, edge)
        for (inter, union, gt, pred), areas, hits, edge in zip(rows, instance_areas, instance_intersections, near, strict=True)
    ]


def wrong_at_outline_only(truth: BoolArray, prediction: BoolArray, ignored: BoolArray | None = None) -> bool:
    """Whether at least nine tenths of the wrong pixels lie near the outline of the truth: within a tenth of the object's side on either side of it.

    Args:
        truth: bool (h, w).
        prediction: of the same shape.
        ignored: pixels that the annotation says to ignore: they are neither right nor wrong, and no outline runs along them.

    Returns:
        False where there is no truth, or where nothing of it is predicted.

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"a truth of shape {truth.shape} and a prediction of shape {prediction.shape}")
    truth, prediction = _counted(truth, ignored), _counted(prediction, ignored)
    area = int(truth.sum())
    if not (truth & prediction).any():
        return False
    width = max(1, round(BAND * math.sqrt(area)))
    band = _edge(truth, width, ignored) | (_grown(truth, width) & ~truth)
    wrong = truth ^ prediction
    return int((wrong & ~band).sum()) <= _OUTSIDE * int(wrong.sum())


def boundary_iou(truth: BoolArray, prediction: BoolArray, dilation: float = 0.02, ignored: BoolArray | None = None) -> float | None:
    """IoU of the two masks' inner edges of width d (Cheng et al., Boundary IoU, CVPR 2021, equation 3).

    Args:
        truth: bool (h, w).
        prediction: of the same shape.
        dilation: d as a share of the canvas' diagonal, at least 1 pixel.
        ignored: bool (h, w), pixels that the annotation says to ignore: they count in neither edge, and since what they are is unknown, a mask
            that borders on them has no edge there. Where neither mask has any edge left, the IoU of the masks stands for that of the edges.

    Returns:
        None where both masks are empty.

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"a truth of shape {truth.shape} and a prediction of shape {prediction.shape}")
    width = max(1, round(dilation * math.hypot(*truth.shape)))
    masks = _counted(truth, ignored), _counted(prediction, ignored)
    edges = _edge(masks[0], width, ignored), _edge(masks[1], width, ignored)
    one, other = edges if edges[0].any() or edges[1].any() else masks
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else None


def _counted(mask: BoolArray, ignored: BoolArray | None) -> BoolArray:
    return mask if ignored is None else mask & ~ignored


def _edge(mask: BoolArray, width: int, ignored: BoolArray | None) -> BoolArray:
    """Pixels of the mask whose square neighbourhood of that radius leaves the mask and what is ignored; outside the canvas there is neither."""
    kept = mask if ignored is None else mask | ignored
    edge: BoolArray = mask & (_neighbours(kept, width) < (2 * width + 1) ** 2)
    return edge


def _grown(mask: BoolArray, width: int) -> BoolArray:
    """Pixels whose square neighbourhood of that radius holds a pixel of the mask."""
    grown: BoolArray = _neighbours(mask, width) > 0
    return grown


def _neighbours(mask: BoolArray, width: int) -> npt.NDArray[np.int32]:
    """How many pixels of the mask lie in the square neighbourhood of that radius, per pixel."""
    side = 2 * width + 1
    sums = np.pad(np.pad(mask, width).astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found: npt.NDArray[np.int32] = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return found


def _classify(inter: int, union: int, gt: int, pred: int, areas: Sequence[int], hits: Sequence[int], outline: bool) -> str:
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
    if outline:
        return "boundary only"
    return "spill" if inter > 0.5 * gt and inter < 0.5 * pred else "partial"
