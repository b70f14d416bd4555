"""The field's own idioms for counting and scoring, written by us, to be timed beside ours in one run. None is part of the package."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.classification import BinaryPrecisionRecallCurve


def sort_and_scan(scores, truth, thresholds):
    """Sort a map once and look for the first score above each threshold, one scan and four sums per threshold, as CLIPSeg's evaluator does.

    Returns:
        (4, K): tp, fp, fn, tn.
    """
    values, order = torch.sort(torch.from_numpy(scores).flatten())
    labels = torch.from_numpy(truth).flatten()[order].float()
    counts = []
    for threshold in thresholds:
        above = torch.nonzero(values > threshold).flatten()
        first = int(above[0]) if len(above) else len(values)
        tp, fn = int(labels[first:].sum()), int(labels[:first].sum())
        counts.append((tp, len(values) - first - tp, fn, first - fn))
    return np.array(counts).T


def bucketize(scores, truth, thresholds):
    """One vectorised look-up per pixel and one bincount, in torch."""
    bins = len(thresholds) + 1
    index = torch.bucketize(torch.from_numpy(scores).flatten(), torch.from_numpy(thresholds.copy()))
    return torch.bincount(index + bins * torch.from_numpy(truth).flatten(), minlength=2 * bins).reshape(2, bins)


def searchsorted(scores, truth, thresholds):
    """The same in NumPy."""
    bins = len(thresholds) + 1
    index = np.searchsorted(thresholds, scores.ravel(), "left")
    return np.bincount(index + bins * truth.ravel(), minlength=2 * bins).reshape(2, bins)


def torchmetrics_curve(thresholds):
    """A torchmetrics curve over given thresholds (it compares with >=); call `update` on it."""
    return BinaryPrecisionRecallCurve(thresholds=torch.from_numpy(thresholds.copy()), validate_args=False)


def sklearn_ap(scores, truth):
    """Exact average precision: every pixel of the pool is sorted."""
    return average_precision_score(truth.ravel(), scores.ravel())


def best_miou_by_lists(samples, classes):
    """Best mean IoU over thresholds from per-sample lists of counts, summed by class in Python before they are divided, as `value` does."""
    by_class = {}
    for sample, label in zip(samples, classes, strict=True):
        by_class.setdefault(label, []).append(sample)
    summed = {
        label: {name: [sum(values) for values in zip(*(sample[name] for sample in members), strict=True)] for name in ("tp", "fp", "fn", "tn")}
        for label, members in by_class.items()
    }
    curve = []
    for k in range(len(samples[0]["tp"])):
        ious = [counts["tp"][k] / (1 + counts["tp"][k] + counts["fp"][k] + counts["fn"][k]) for counts in summed.values()]
        curve.append(sum(ious) / len(ious))
    return max(curve)
