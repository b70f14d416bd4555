"""From bootstrap values to an interval and a p-value that agree with each other.

The interval is the percentile interval with its levels widened to Student's t and by sqrt(n / (n - 1)) for n clusters (Hesterberg 2015, "What
teachers should know about the bootstrap", section 5.4): plain percentiles are too short for few images. docs/statistics.md has the
simulated coverage that this choice rests on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ldznet_bench.statistics.estimators import Float64Array

_NORMAL = NormalDist()
FEW_CLUSTERS = 50  # no stars below that
_TOO_FEW = 5  # no interval below that: t has next to no degrees of freedom


@dataclass(frozen=True, slots=True)
class Interval:
    """A score with its confidence interval.

    Attributes:
        low: None with the upper end where there are too few images.
        high: see `low`.
    """

    low: float | None
    high: float | None


def interval(values: Float64Array, n_clusters: int, level: float = 0.95) -> Interval:
    """The interval of bootstrap values.

    Args:
        values: (B,); draws on which the metric is not defined (NaN) are left out.
        n_clusters: images that were drawn from.
        level: confidence.
    """
    known = values[~np.isnan(values)]
    if n_clusters < _TOO_FEW or not known.size:
        return Interval(None, None)
    tail = _tail(1 - level, n_clusters)
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))


def p_value(values: Float64Array, n_clusters: int) -> float | None:
    """Two-sided p of "the difference is 0": 1 minus the confidence of the widest interval that leaves 0 out.

    Args:
        values: (B,) bootstrap values of a difference.
        n_clusters: images that were drawn from.

    Returns:
        In (0, 1]; at least about 2 / B, so never 0. None where there are too few images.
    """
    known = values[~np.isnan(values)]
    if n_clusters < _TOO_FEW or not known.size:
        return None
    below, above = int((known <= 0).sum()), int((known >= 0).sum())
    tail = (min(below, above) + 1) / (known.size + 1)
    if tail >= 0.5:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(middle, n_clusters) < tail else (low, middle)
    return high


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def stars(p: float | None, n_clusters: int) -> str:
    """``*`` below .05, ``**`` below .01, ``***`` below .001; nothing for fewer than 50 images."""
    if p is None or n_clusters < FEW_CLUSTERS:
        return ""
    return "*" * sum(p < level for level in (0.05, 0.01, 0.001))


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t by the expansion of Abramowitz and Stegun 26.7.5: within 2e-3 from 4 degrees of freedom up, for 0.5 to 0.99."""
    z = _NORMAL.inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, 1)))


def _tail(alpha: float, n_clusters: int) -> float:
    """Share of the bootstrap values outside each end of the interval of level 1 - alpha."""
    if alpha <= 0:
        return 0.0
    t = t_quantile(1 - alpha / 2, n_clusters - 1)
    return _NORMAL.cdf(-math.sqrt(n_clusters / (n_clusters - 1)) * t)
