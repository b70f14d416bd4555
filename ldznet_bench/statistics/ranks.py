"""Rank tiers: models whose differences could be chance, or do not matter, share a rank."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ldznet_bench.statistics.estimators import Float64Array
from ldznet_bench.statistics.intervals import holm, interval, p_value


def tiers(
    points: Mapping[str, float],
    values: Mapping[str, Float64Array],
    n_clusters: int,
    *,
    margin: float = 0.0,
    level: float = 0.95,
) -> dict[str, int]:
    """The tier of each model, 1 for the best.

    The best model not yet placed leads a tier. Every later one joins it unless the paired difference to the leader is significant (Holm over all
    comparisons with that leader) and its interval reaches beyond the margin. A tier ends at the first model that does not join, so that tiers
    follow the scores; below 5 images no difference is significant and all share one tier.

    Args:
        points: score of each model.
        values: its bootstrap values, on the same draws for all.
        n_clusters: images that were drawn from.
        margin: differences whose whole interval is within it do not matter.
        level: confidence.
    """
    waiting = sorted(points, key=lambda name: (-points[name], name))
    found: dict[str, int] = {}
    tier = 0
    while waiting:
        tier += 1
        leader, *others = waiting
        apart = _apart({name: values[name] - values[leader] for name in others}, n_clusters, margin, level)
        size = next((place for place, name in enumerate(others) if name in apart), len(others))
        for name in waiting[: size + 1]:
            found[name] = tier
        waiting = waiting[size + 1 :]
    return found


def _apart(deltas: Mapping[str, Float64Array], n_clusters: int, margin: float, level: float) -> set[str]:
    raw = {name: p_value(delta, n_clusters) for name, delta in deltas.items()}
    tested = [name for name, p in raw.items() if p is not None]
    adjusted = dict(zip(tested, holm([p for p in raw.values() if p is not None]), strict=True))
    return {name for name in tested if adjusted[name] < 1 - level and not _equivalent(deltas[name], n_clusters, margin, level)}


def _equivalent(delta: Float64Array, n_clusters: int, margin: float, level: float) -> bool:
    found = interval(delta, n_clusters, level)
    return found.low is not None and found.high is not None and bool(np.abs([found.low, found.high]).max() <= margin)
