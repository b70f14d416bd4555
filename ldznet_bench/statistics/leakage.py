"""Scores on images that a model has seen and on those it has not, and whether the difference is more than that of a model that saw neither."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError
from ldznet_bench.protocols import Protocol
from ldznet_bench.statistics.bootstrap import DEFAULT_RESAMPLES, bootstrap, number_clusters
from ldznet_bench.statistics.estimators import Estimator, Float64Array, add_up, estimator
from ldznet_bench.statistics.intervals import Interval, interval, p_value
from ldznet_bench.statistics.paired import common_ids, restrict
from ldznet_bench.statistics.samples import Samples, exact_ap

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """A score on some of the samples.

    Attributes:
        n_samples: of them.
        n_images: that they are on.
        score: None without any.
        interval: of the score.
    """

    n_samples: int
    n_images: int
    score: float | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class Leakage:
    """Scores on parts of the samples, and their differences.

    Attributes:
        metric: its name.
        all: every sample.
        leaked: on images that were seen.
        clean: on the others.
        gap: leaked - clean; None where one of them is empty.
        gap_interval: of the gap.
        reference_gap: the gap of the reference model, which saw neither; None without one.
        excess: gap - reference_gap, the difference in differences: what being seen adds beyond the leaked images being of another kind.
        excess_interval: of the excess.
        excess_p: two-sided.
    """

    metric: str
    all: Part
    leaked: Part
    clean: Part
    gap: float | None
    gap_interval: Interval
    reference_gap: float | None
    excess: float | None
    excess_interval: Interval
    excess_p: float | None


def measure_leakage(
    model: Samples,
    leaked: BoolArray,
    metric: str,
    protocol: Protocol,
    reference: Samples | None = None,
    *,
    n_resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Leakage:
    """Scores on all, leaked and clean samples, on the same draws of images.

    Args:
        model: records of the model.
        leaked: (n,) which of them are on images that it has seen.
        metric: its name.
        protocol: of the records.
        reference: records of a model that was not trained on those images, on the same samples.
        n_resamples: draws.
        seed: of the draws.

    Raises:
        BenchError: the metric is not defined, or the reference is not on the same samples.
    """
    (cluster,), n_clusters = number_clusters(model.image_id)
    masks = (np.ones(len(model), dtype=bool), leaked, ~leaked)
    made = [_on(model, mask, cluster, n_clusters, metric, protocol) for mask in masks]
    if reference is not None:
        if len(common_ids([model, reference])) != len(model):
            raise BenchError("the reference run lacks samples of the model's run.", "Run both on the whole split.")
        other = restrict(reference, model.sample_id)
        made += [_on(other, mask, cluster, n_clusters, metric, protocol) for mask in masks[1:]]
    values = bootstrap(made, n_resamples, seed)
    points = [item.point() for item in made]
    images = [len(np.unique(cluster[mask])) for mask in masks]
    parts = [
        Part(int(mask.sum()), n, _known(point), interval(drawn, n)) for mask, n, point, drawn in zip(masks, images, points, values, strict=False)
    ]
    fewest = min(images[1:])
    excess = None if reference is None else _known(points[1] - points[2] - (points[3] - points[4]))
    drawn_excess: Float64Array = np.full(1, np.nan) if reference is None else values[1] - values[2] - (values[3] - values[4])
    return Leakage(
        metric=metric,
        all=parts[0],
        leaked=parts[1],
        clean=parts[2],
        gap=_known(points[1] - points[2]),
        gap_interval=interval(values[1] - values[2], fewest),
        reference_gap=None if reference is None else _known(points[3] - points[4]),
        excess=excess,
        excess_interval=interval(drawn_excess, fewest),
        excess_p=p_value(drawn_excess, fewest),
    )


def _on(samples: Samples, mask: BoolArray, cluster: npt.NDArray[np.intp], n_clusters: int, metric: str, protocol: Protocol) -> Estimator:
    """The metric of some samples, over all images: those without such samples add nothing to a draw."""
    part = samples.take(mask)
    made = estimator(metric, part.counts, cluster[mask], n_clusters, protocol, exact_ap(part) if metric == "ap" else None)
    if made is None:
        raise BenchError(f"{metric} is not defined for binary maps.", "Choose another metric.")
    if not mask.any():
        return Estimator(add_up(np.zeros((0, 1)), cluster[mask], n_clusters), lambda sums: np.full(len(sums), np.nan))
    return made


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
