"""How much samples vary, how alike the samples of one image are, and what difference a dataset can therefore show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ldznet_bench.statistics.estimators import Float64Array, add_up


@dataclass(frozen=True, slots=True)
class Spread:
    """Of per-sample values in clusters.

    Attributes:
        n: samples.
        n_clusters: images.
        mean: of the samples.
        sd: standard deviation of the samples.
        icc: intra-image correlation, by analysis of variance; None with one sample per image.
        se: standard error of the mean, clustered by image.
        design_effect: its square over that of independent samples.
    """

    n: int
    n_clusters: int
    mean: float
    sd: float
    icc: float | None
    se: float
    design_effect: float


def spread(values: Float64Array, cluster: npt.NDArray[np.intp]) -> Spread:
    """Measure the spread of (n,) values in numbered clusters; n and the number of clusters are at least 2."""
    present, numbers = np.unique(cluster, return_inverse=True)
    sums = add_up(np.column_stack([values, np.ones(len(values))]), numbers, len(present))
    n, groups, mean, sizes = len(values), len(present), float(values.mean()), sums[:, 1]
    residuals = sums[:, 0] - mean * sizes
    se = math.sqrt(groups / (groups - 1) * float((residuals**2).sum())) / n
    sd = float(values.std(ddof=1))
    independent = sd / math.sqrt(n)
    return Spread(n, groups, mean, sd, _icc(values, numbers, sums), se, (se / independent) ** 2 if independent else 1.0)


def _icc(values: Float64Array, numbers: npt.NDArray[np.intp], sums: Float64Array) -> float | None:
    n, groups, sizes = len(values), len(sums), sums[:, 1]
    if n == groups:
        return None
    means = sums[:, 0] / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[numbers]) ** 2).sum()) / (n - groups)
    typical = (n - float((sizes**2).sum()) / n) / (groups - 1)
    total = between + (typical - 1) * within
    return (between - within) / total if total else 0.0


def detectable(se: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided test finds with that power, given the standard error of the difference."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * se


def images_needed(measured: Spread, difference: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Images of the same kind that would show a difference of that size; `measured` is of paired differences."""
    return math.ceil(measured.n_clusters * (detectable(measured.se, power, alpha) / difference) ** 2)
