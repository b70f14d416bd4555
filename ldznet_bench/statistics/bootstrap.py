"""The image-clustered bootstrap: images are drawn with replacement, and every metric is made anew from each draw.

Phrases on one image share its difficulty, so that 14,354 phrases on 2,545 images are far fewer than 14,354 independent ones. All estimators
that are given together see the same draws; that is what makes differences paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ldznet_bench.statistics.estimators import Estimator, Float64Array

DEFAULT_RESAMPLES = 10_000
_CHUNK = 256  # draws at once: 256 x 2,545 weights are 5 MB, which stay in the cache while all sums are made from them


def draws(n_clusters: int, n_resamples: int, seed: int) -> Iterator[Float64Array]:
    """How often each cluster is in each draw, float64 (at most 256, n_clusters) at a time; rows add up to n_clusters."""
    generator = np.random.default_rng(seed)
    for start in range(0, n_resamples, _CHUNK):
        rows = min(_CHUNK, n_resamples - start)
        chosen = generator.integers(0, n_clusters, size=(rows, n_clusters))
        chosen += np.arange(rows)[:, None] * n_clusters
        yield np.bincount(chosen.ravel(), minlength=rows * n_clusters).reshape(rows, n_clusters).astype(np.float64)


def bootstrap(estimators: Sequence[Estimator], n_resamples: int = DEFAULT_RESAMPLES, seed: int = 0) -> Float64Array:
    """Values of every estimator on the same draws.

    Args:
        estimators: over the same clusters.
        n_resamples: draws.
        seed: of the draws.

    Returns:
        Float64 (len(estimators), n_resamples); NaN where a metric is not defined on a draw.
    """
    values = np.empty((len(estimators), n_resamples))
    if not estimators:
        return values
    edges = np.cumsum([0, *(item.sums.shape[1] for item in estimators)])
    together = np.concatenate([item.sums for item in estimators], axis=1)
    at = 0
    for weights in draws(len(together), n_resamples, seed):
        sums = weights @ together
        for row, item in enumerate(estimators):
            values[row, at : at + len(sums)] = item.value(sums[:, edges[row] : edges[row + 1]])
        at += len(sums)
    return values


def over_seeds(values: Float64Array, seed: int = 0) -> Float64Array:
    """The mean over training seeds, seeds drawn with replacement as well: the crossed seed x image bootstrap.

    Args:
        values: (n_seeds, n_resamples): one model's metric per training seed on the same draws of images.
        seed: of the draws of training seeds.

    Returns:
        (n_resamples,).
    """
    n_seeds, n_resamples = values.shape
    chosen = np.random.default_rng([seed, n_seeds]).integers(0, n_seeds, size=(n_resamples, n_seeds))
    picked: Float64Array = values[chosen, np.arange(n_resamples)[:, None]].mean(axis=1)
    return picked


def number_clusters(*names: npt.NDArray[np.str_]) -> tuple[list[npt.NDArray[np.intp]], int]:
    """Positions of clusters in the sorted union of their names, for each array of names; and how many there are."""
    union = np.unique(np.concatenate(names))
    return [np.searchsorted(union, name) for name in names], len(union)
