"""What the official PhraseCut evaluator prints beyond its mask scores: the mean rescaled for missing predictions, and box scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Boxes = Sequence[Sequence[float]]


def rescaled_mean(mean_iou: float, evaluated: int, total: int) -> float:
    """The mean IoU as if every missing prediction were empty; the evaluator prints it, and rescales nothing else.

    Args:
        mean_iou: over the tasks that had a prediction.
        evaluated: how many those were.
        total: how many there should have been.
    """
    return mean_iou * evaluated / total


def box_iou(pred: Boxes, truth: Boxes) -> float:
    """IoU of two unions of boxes, with the quirks of the evaluator's own rasteriser.

    A box is the slice from (x, y) to (x + w - 1, y + h - 1), cut to integers and without its end, so that it loses its last row and
    column. The canvas is the smallest that holds every box, not the image; coordinates below 0 count from its far edge, as slices do.

    Args:
        pred: predicted boxes, (x, y, w, h) in pixels.
        truth: annotated boxes, the same.

    Returns:
        The IoU; 0.0 where the two do not meet, so also where one is empty.
    """
    if not pred or not truth:
        return 0.0
    corners = np.array([*pred, *truth], dtype=np.float64)
    corners[:, 2:] += corners[:, :2] - 1
    width, height = (max(int(far), 0) + 1 for far in corners[:, 2:].max(axis=0))
    slices = corners.astype(np.int64)
    pred_mask = _fill(slices[: len(pred)], height, width)
    truth_mask = _fill(slices[len(pred) :], height, width)
    intersection = np.count_nonzero(pred_mask & truth_mask)
    return float(intersection / np.count_nonzero(pred_mask | truth_mask)) if intersection else 0.0


def box_scores(ious: Sequence[float], correct: Sequence[float]) -> dict[str, float]:
    """The evaluator's box scores.

    Args:
        ious: `box_iou` per task, at least one.
        correct: whether each task's boxes were right, as the prediction itself states it.

    Returns:
        ``box_acc`` (mean of `correct`), ``mean_box_iou``, and ``box_acc50`` to ``box_acc90``: the share of tasks with IoU > 0.5 to 0.9.
    """
    shares = {f"box_acc{level}": sum(iou > level / 100 for iou in ious) / len(ious) for level in (50, 60, 70, 80, 90)}
    return {"box_acc": math.fsum(correct) / len(correct), "mean_box_iou": math.fsum(ious) / len(ious), **shares}


def _fill(corners: npt.NDArray[np.int64], height: int, width: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((height, width), dtype=np.bool_)
    for x, y, x2, y2 in corners.tolist():
        mask[y:y2, x:x2] = True
    return mask
