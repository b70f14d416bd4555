"""Curves from threshold counts: precision and recall, IoU against the threshold, and how far scores are probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldznet_bench.metrics.counts import counts_from_histograms
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import Protocol
from ldznet_bench.statistics.estimators import Float64Array, histograms_of
from ldznet_bench.statistics.samples import Samples

_ROWS = 2048
_RELIABILITY_BINS = 10


@dataclass(frozen=True, eq=False)
class Curves:
    """Of one run, at K thresholds.

    Attributes:
        thresholds: float64 (K,), ascending.
        precision: pooled over pixels; NaN where nothing is predicted.
        recall: pooled over pixels.
        mean_iou: mean over samples.
        overall_iou: pooled.
    """

    thresholds: Float64Array
    precision: Float64Array
    recall: Float64Array
    mean_iou: Float64Array
    overall_iou: Float64Array


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores are probabilities, over all pixels of all samples.

    Attributes:
        ece: expected calibration error over ten equal bins, weighted by pixels.
        brier: mean squared error of the scores, each taken as the middle of its bin of the protocol's grid.
        bins: per bin with pixels: mean score, share of true pixels, pixels.
    """

    ece: float
    brier: float
    bins: tuple[tuple[float, float, int], ...]


def grid_of(samples: Samples, protocol: Protocol) -> Float64Array:
    """The thresholds that the samples' histograms are at: the protocol's, or those between groups where bins were read in groups."""
    values = _thresholds(protocol)
    return values if samples.groups is None else values[samples.groups.starts[1:] - 1]


def _thresholds(protocol: Protocol) -> Float64Array:
    if protocol.thresholds is None:
        raise ValueError(f"{protocol.full_name} has no thresholds")
    values: Float64Array = protocol.thresholds.astype(np.float64)
    return values


def curves(samples: Samples, protocol: Protocol) -> Curves:
    """The curves of a run whose samples come with histograms."""
    thresholds = grid_of(samples, protocol)
    hist_fg, hist_bg = histograms_of(samples.counts)
    total = np.zeros(thresholds.size)
    pooled = counts_from_histograms(hist_fg.sum(axis=0, dtype=np.int64), hist_bg.sum(axis=0, dtype=np.int64))
    for start in range(0, len(samples), _ROWS):
        counts = counts_from_histograms(hist_fg[start : start + _ROWS], hist_bg[start : start + _ROWS])
        total += sample_iou(counts.tp, counts.tp + counts.fp + counts.fn, protocol).sum(axis=0)
    smoothing = protocol.smoothing
    predicted = pooled.tp + pooled.fp
    precision = np.divide(pooled.tp, predicted + smoothing, out=np.full(thresholds.size, np.nan), where=predicted > 0)
    recall = pooled.tp / np.maximum(1, pooled.tp + pooled.fn + smoothing)
    overall = pooled.tp / np.maximum(1, predicted + pooled.fn + smoothing)
    return Curves(thresholds, precision, recall, total / max(1, len(samples)), overall)


def calibration(samples: Samples, protocol: Protocol) -> Calibration:
    """ECE, Brier score and reliability of the pixel scores, from the histograms."""
    edges = np.concatenate([[0.0], _thresholds(protocol), [1.0]])
    middle = (edges[:-1] + edges[1:]) / 2
    pooled = samples.pooled()
    if pooled is None:
        raise ValueError("calibration needs samples with histograms")
    fg, bg = (kind.astype(float) for kind in pooled)
    pixels = fg + bg
    brier = float((fg * (1 - middle) ** 2 + bg * middle**2).sum() / pixels.sum())
    which = np.minimum((middle * _RELIABILITY_BINS).astype(int), _RELIABILITY_BINS - 1)
    weight, true, score = (np.bincount(which, values, _RELIABILITY_BINS) for values in (pixels, fg, pixels * middle))
    used = np.flatnonzero(weight)
    gaps = np.abs(true[used] - score[used]).sum() / pixels.sum()
    bins = tuple((float(score[k] / weight[k]), float(true[k] / weight[k]), int(weight[k])) for k in used)
    return Calibration(float(gaps), brier, bins)
