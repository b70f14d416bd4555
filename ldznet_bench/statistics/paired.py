"""Two models on the same samples: the difference of a metric, its interval, and whether it could be chance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import Protocol
from ldznet_bench.statistics.bootstrap import DEFAULT_RESAMPLES, bootstrap, number_clusters, over_seeds
from ldznet_bench.statistics.estimators import Estimator, Float64Array, estimator
from ldznet_bench.statistics.intervals import Interval, holm, interval, p_value
from ldznet_bench.statistics.samples import Samples, exact_ap

ENOUGH_SEEDS = 6  # below that the spread between training seeds says next to nothing


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A, on the samples that both have.

    Attributes:
        metric: its name.
        a: score of A, mean over its training seeds.
        b: score of B.
        delta: b - a.
        interval: of delta.
        p: two-sided, of delta = 0; None where there are too few images.
        p_holm: adjusted over the comparisons that were made together; equal to `p` for one.
        wins: samples on which B's IoU is higher (mean IoU over training seeds).
        ties: samples of equal IoU.
        losses: samples on which A's is higher.
        n_samples: that were compared.
        n_images: that they are on.
        only_a: samples of A that B has not.
        only_b: samples of B that A has not.
        ids_sha256: over the compared ids, sorted and joined by newlines.
        conditional: fewer than six training seeds on a side, so the weights count as given and only images are drawn.
    """

    metric: str
    a: float
    b: float
    delta: float
    interval: Interval
    p: float | None
    p_holm: float | None
    wins: int
    ties: int
    losses: int
    n_samples: int
    n_images: int
    only_a: int
    only_b: int
    ids_sha256: str
    conditional: bool


def compare(
    a: Sequence[Samples],
    b: Sequence[Samples],
    metric: str,
    protocol: Protocol,
    *,
    n_resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two models by the paired, image-clustered bootstrap.

    Args:
        a: records of A, one entry per training seed.
        b: records of B.
        metric: its name; AP needs samples with histograms.
        protocol: of all of them.
        n_resamples: draws.
        seed: of the draws.
        level: confidence.

    Raises:
        BenchError: they share no sample, or the metric is not defined for one of them.
    """
    shared = common_ids([*a, *b])
    mine, other = ([restrict(samples, shared) for samples in side] for side in (a, b))
    (cluster,), n_clusters = number_clusters(mine[0].image_id)
    estimators = [_estimator(metric, samples, cluster, n_clusters, protocol) for samples in chain(mine, other)]
    values = bootstrap(estimators, n_resamples, seed)
    conditional = min(len(a), len(b)) < ENOUGH_SEEDS
    delta = _side(values[len(a) :], conditional, seed + 1) - _side(values[: len(a)], conditional, seed)
    points = [item.point() for item in estimators]
    score_a, score_b = float(np.mean(points[: len(a)])), float(np.mean(points[len(a) :]))
    gain = _iou(other, protocol) - _iou(mine, protocol)
    p = p_value(delta, n_clusters)
    return Comparison(
        metric=metric,
        a=score_a,
        b=score_b,
        delta=score_b - score_a,
        interval=interval(delta, n_clusters, level),
        p=p,
        p_holm=p,
        wins=int((gain > 0).sum()),
        ties=int((gain == 0).sum()),
        losses=int((gain < 0).sum()),
        n_samples=len(shared),
        n_images=n_clusters,
        only_a=len(a[0]) - len(shared),
        only_b=len(b[0]) - len(shared),
        ids_sha256=hashlib.sha256("\n".join(shared.tolist()).encode()).hexdigest(),
        conditional=conditional,
    )


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with p-values adjusted by Holm over all of them that have one."""
    known = [index for index, item in enumerate(comparisons) if item.p is not None]
    adjusted = dict(zip(known, holm([p for item in comparisons if (p := item.p) is not None]), strict=True))
    return [replace(item, p_holm=adjusted.get(index)) for index, item in enumerate(comparisons)]


def common_ids(samples: Sequence[Samples]) -> npt.NDArray[np.str_]:
    """Ids that all of them have, ascending.

    Raises:
        BenchError: there are none, or an id lies on different images.
    """
    shared = samples[0].sample_id
    for item in samples[1:]:
        shared = np.intersect1d(shared, item.sample_id, assume_unique=True)
    if not len(shared):
        what = f"the runs share no sample (one has {str(samples[0].sample_id[0])!r}, another {str(samples[-1].sample_id[0])!r})."
        raise BenchError(what, "Compare runs of one dataset and split.")
    images = [restrict(item, shared).image_id for item in samples]
    if any((other != images[0]).any() for other in images[1:]):
        raise BenchError(
            "the runs have the same sample ids on different images.", "They were made from different data: compare runs of one fingerprint."
        )
    return shared


def restrict(samples: Samples, ids: npt.NDArray[np.str_]) -> Samples:
    """The samples of the given ascending ids, all of which it has."""
    return samples if len(ids) == len(samples) else samples.take(np.searchsorted(samples.sample_id, ids))


def _estimator(metric: str, samples: Samples, cluster: npt.NDArray[np.intp], n_clusters: int, protocol: Protocol) -> Estimator:
    made = estimator(metric, samples.counts, cluster, n_clusters, protocol, exact_ap(samples) if metric == "ap" else None)
    if made is None:
        raise BenchError(
            f"{metric} is not defined for one of the runs: its maps are binary or its records hold no threshold counts.", "Choose another metric."
        )
    return made


def _side(values: Float64Array, conditional: bool, seed: int) -> Float64Array:
    return values.mean(axis=0) if conditional else over_seeds(values, seed)


def _iou(side: Sequence[Samples], protocol: Protocol) -> Float64Array:
    mean: Float64Array = np.mean([sample_iou(item.counts.intersection, item.counts.union, protocol) for item in side], axis=0)
    return mean


def compare_average(
    pairs: Sequence[tuple[Sequence[Samples], Sequence[Samples]]],
    metric: str,
    protocol: Protocol,
    *,
    n_resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare the means of a metric over several datasets; an image that several of them share is drawn once for all of them.

    Args:
        pairs: (records of A, records of B) per dataset; `Samples.table` has a column ``coco_id``, which is what tells shared images. An image
            without one is its dataset's own.
        metric: its name.
        protocol: of all of them.
        n_resamples: draws.
        seed: of the draws.
        level: confidence.

    Raises:
        BenchError: see `compare`.
    """
    alone = [compare(a, b, metric, protocol, n_resamples=1, seed=seed) for a, b in pairs]
    shared = [common_ids([*a, *b]) for a, b in pairs]
    sides = [[[restrict(item, ids) for item in side] for side in pair] for pair, ids in zip(pairs, shared, strict=True)]
    numbered, n_clusters = number_clusters(*(_image_names(index, side[0][0]) for index, side in enumerate(sides)))
    conditional = any(item.conditional for item in alone)
    deltas = []
    estimators = [
        [[_estimator(metric, samples, cluster, n_clusters, protocol) for samples in part] for part in side]
        for side, cluster in zip(sides, numbered, strict=True)
    ]
    values = iter(bootstrap([item for side in estimators for part in side for item in part], n_resamples, seed))
    for side in estimators:
        drawn = [np.array([next(values) for _ in part]) for part in side]
        deltas.append(_side(drawn[1], conditional, seed + 1) - _side(drawn[0], conditional, seed))
    delta: Float64Array = np.mean(deltas, axis=0)
    p = p_value(delta, n_clusters)
    score_a, score_b = (float(np.mean([getattr(item, name) for item in alone])) for name in ("a", "b"))
    ids = "\n".join(name for part in shared for name in part.tolist())
    totals = {name: sum(getattr(item, name) for item in alone) for name in ("wins", "ties", "losses", "n_samples", "only_a", "only_b")}
    return Comparison(
        metric=metric,
        a=score_a,
        b=score_b,
        delta=score_b - score_a,
        interval=interval(delta, n_clusters, level),
        p=p,
        p_holm=p,
        n_images=n_clusters,
        ids_sha256=hashlib.sha256(ids.encode()).hexdigest(),
        conditional=conditional,
        **totals,
    )


def _image_names(dataset: int, samples: Samples) -> npt.NDArray[np.str_]:
    coco = samples.table.column("coco_id").to_pylist()
    return np.array(
        [f"{dataset}/{image}" if ident is None else f"coco/{ident}" for image, ident in zip(samples.image_id, coco, strict=True)], dtype=np.str_
    )
