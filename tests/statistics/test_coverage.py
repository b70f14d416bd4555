"""Does the 95 % interval hold the truth 95 % of the time? Run as a script, this file prints the table of docs/statistics.md."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from ldznet_bench.metrics.scores import Columns
from ldznet_bench.protocols import get_protocol
from ldznet_bench.statistics.bootstrap import bootstrap
from ldznet_bench.statistics.estimators import Estimator, estimator
from ldznet_bench.statistics.intervals import interval

METRICS = ("miou", "oiou", "pr90")
PROTOCOL = get_protocol("native@1")
RUNS, RESAMPLES = 2000, 1000


def population(n_clusters: int, rng: np.random.Generator) -> list[Estimator]:
    """Images of 1 + Poisson(4.6) phrases as PhraseCut test has them; bimodal IoU, alike within an image, harder on crowded images; skewed areas."""
    sizes = 1 + rng.poisson(4.6, n_clusters)
    cluster = np.repeat(np.arange(n_clusters), sizes)
    ease = rng.normal(0.4, 1.0, n_clusters)[cluster] - 0.1 * sizes[cluster]
    quality = 1 / (1 + np.exp(-(ease + rng.normal(0, 1.6, len(cluster)))))
    union = np.exp(rng.normal(9, 1.3, len(cluster))).astype(np.int64) + 10
    inter = np.where(quality < 0.12, 0, np.minimum(quality * 1.05, 1) * union).astype(np.int64)
    counts = Columns(inter, union, union, inter)
    return [item for name in METRICS if (item := estimator(name, counts, cluster, n_clusters, PROTOCOL)) is not None]


def methods(values: np.ndarray, item: Estimator, n_clusters: int) -> dict[str, tuple[float, float]]:
    chosen = interval(values, n_clusters)
    tails = {"percentile": (0.025, 0.975), "bca": bca_levels(values, item)}
    found = {name: tuple(np.quantile(values, levels)) for name, levels in tails.items()}
    point = item.point()
    found["basic"] = (2 * point - found["percentile"][1], 2 * point - found["percentile"][0])
    return {**found, "expanded percentile": (chosen.low, chosen.high)}


def bca_levels(values: np.ndarray, item: Estimator) -> tuple[float, float]:
    normal = NormalDist()
    share = np.clip((values < item.point()).mean(), 1e-6, 1 - 1e-6)
    bias = normal.inv_cdf(float(share))
    left_out = item.value(item.sums.sum(axis=0) - item.sums)
    centred = left_out.mean() - left_out
    skew = (centred**3).sum() / (6 * ((centred**2).sum()) ** 1.5 + 1e-300)
    return tuple(normal.cdf(bias + (bias + z) / (1 - skew * (bias + z))) for z in (normal.inv_cdf(0.025), normal.inv_cdf(0.975)))  # type: ignore[return-value]


def coverage(n_clusters: int, runs: int, resamples: int) -> dict[str, dict[str, float]]:
    """Share of runs whose interval holds the truth, by method and metric."""
    rng = np.random.default_rng(n_clusters)
    truth = {name: item.point() for name, item in zip(METRICS, population(1_000_000, np.random.default_rng(1)), strict=True)}
    hits: dict[str, dict[str, int]] = {}
    for run in range(runs):
        items = population(n_clusters, rng)
        for name, item, values in zip(METRICS, items, bootstrap(items, resamples, seed=run), strict=True):
            for method, (low, high) in methods(values, item, n_clusters).items():
                counts = hits.setdefault(method, dict.fromkeys(METRICS, 0))
                counts[name] += low <= truth[name] <= high
    return {method: {name: count / runs for name, count in counts.items()} for method, counts in hits.items()}


@pytest.mark.slow
def test_a_thousand_images_cover_as_promised() -> None:
    found = coverage(1000, RUNS, RESAMPLES)["expanded percentile"]
    assert all(0.935 <= share <= 0.965 for share in found.values()), found


@pytest.mark.slow
def test_few_images_cover_better_than_plain_percentiles() -> None:
    found = coverage(30, RUNS, RESAMPLES)
    assert all(found["expanded percentile"][name] >= found["percentile"][name] for name in METRICS), found
    assert found["expanded percentile"]["miou"] >= 0.935, found


def main() -> None:
    print("| images | method | " + " | ".join(METRICS) + " |\n|---:|---|" + "---:|" * len(METRICS))
    for n_clusters in (30, 100, 1000):
        for method, shares in coverage(n_clusters, RUNS, RESAMPLES).items():
            print(f"| {n_clusters} | {method} | " + " | ".join(f"{100 * shares[name]:.1f}" for name in METRICS) + " |", flush=True)


if __name__ == "__main__":
    main()
