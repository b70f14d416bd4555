from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ldznet_bench.statistics.bootstrap import over_seeds
from ldznet_bench.statistics.intervals import holm, interval, p_value, stars, t_quantile
from ldznet_bench.statistics.ranks import tiers
from ldznet_bench.statistics.spread import detectable, images_needed, spread


@pytest.mark.parametrize("freedom", [4, 10, 29, 99, 2544])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.99])
def test_t_quantile_is_students(freedom: int, probability: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), abs=8e-3 if freedom == 4 else 1e-3)


@given(shift=st.floats(-4, 4), n_clusters=st.integers(10, 3000), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_p_is_below_five_percent_where_the_interval_leaves_zero_out(shift: float, n_clusters: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(shift, 1, 4000)
    found, p = interval(values, n_clusters), p_value(values, n_clusters)
    assert found.low is not None and found.high is not None and p is not None
    if abs(p - 0.05) > 0.003:
        assert (p < 0.05) == (found.low > 0 or found.high < 0)


@given(seed=st.integers(0, 100), shift=st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_p_is_antisymmetric(seed: int, shift: float) -> None:
    values = np.random.default_rng(seed).normal(shift, 1, 500)
    assert p_value(values, 80) == p_value(-values, 80)


def test_no_difference_at_all_has_p_one() -> None:
    assert p_value(np.zeros(100), 60) == 1.0


def test_p_is_never_zero() -> None:
    p = p_value(np.ones(1000), 60)
    assert p is not None and 0 < p < 0.01


def test_too_few_images_have_neither_interval_nor_p() -> None:
    assert interval(np.arange(10.0), 4).low is None
    assert p_value(np.arange(10.0), 4) is None


def test_undefined_draws_are_left_out() -> None:
    values = np.array([np.nan, *np.linspace(0, 1, 101)])
    assert interval(values, 10**6).low == pytest.approx(0.025, abs=1e-4)


def test_no_stars_below_fifty_images() -> None:
    assert (stars(1e-4, 49), stars(1e-4, 50), stars(0.02, 50), stars(0.2, 50)) == ("", "***", "*", "")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_no_smaller(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(a >= min(p, 1) for a, p in zip(adjusted, values, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_tiers_join_what_could_be_chance() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 2000)
    values = {"a": 0.6 + noise, "b": 0.599 + noise + rng.normal(0, 0.01, 2000), "c": 0.4 + noise}
    assert tiers({"a": 0.6, "b": 0.599, "c": 0.4}, values, 500) == {"a": 1, "b": 1, "c": 2}


def test_a_margin_joins_differences_that_do_not_matter() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-4, 2000)
    values = {"a": np.full(2000, 0.6), "b": 0.597 + noise}
    points = {"a": 0.6, "b": 0.597}
    assert tiers(points, values, 500) == {"a": 1, "b": 2}
    assert tiers(points, values, 500, margin=0.005) == {"a": 1, "b": 1}


def test_spread_without_clusters_is_the_textbook() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400)
    found = spread(values, np.arange(400))
    assert found.se == pytest.approx(values.std(ddof=1) / 20)
    assert found.icc is None
    assert found.design_effect == pytest.approx(1)


def test_icc_of_identical_samples_is_one() -> None:
    cluster = np.repeat(np.arange(50), 4)
    found = spread(np.random.default_rng(0).normal(0, 1, 50)[cluster], cluster)
    assert found.icc == pytest.approx(1)
    assert found.design_effect == pytest.approx(4, rel=0.02)


def test_icc_recovers_what_was_simulated() -> None:
    rng, cluster = np.random.default_rng(0), np.repeat(np.arange(4000), 5)
    values = rng.normal(0, 1, 4000)[cluster] + rng.normal(0, np.sqrt(3), 20000)
    found = spread(values, cluster)
    assert found.icc == pytest.approx(0.25, abs=0.02)
    assert found.design_effect == pytest.approx(1 + 4 * 0.25, rel=0.06)


def test_clustered_error_is_the_bootstraps() -> None:
    from ldznet_bench.statistics.bootstrap import bootstrap
    from ldznet_bench.statistics.estimators import Estimator, add_up

    rng = np.random.default_rng(1)
    cluster = np.sort(rng.integers(0, 300, 1200))
    values = rng.normal(0, 1, 300)[cluster] + rng.normal(0, 1, 1200)
    sums = add_up(np.column_stack([values, np.ones(1200)]), np.unique(cluster, return_inverse=True)[1], len(np.unique(cluster)))
    resampled = bootstrap([Estimator(sums, lambda s: s[:, 0] / s[:, 1])], 4000)[0]
    assert spread(values, cluster).se == pytest.approx(resampled.std(), rel=0.05)


def test_detectable_difference_of_eighty_percent_power() -> None:
    assert detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)


def test_images_needed_inverts_detectable() -> None:
    found = spread(np.random.default_rng(0).normal(0, 1, 400), np.arange(400))
    assert images_needed(found, detectable(found.se)) == 400


def test_one_training_seed_resamples_to_itself() -> None:
    values = np.arange(6.0)[None, :]
    np.testing.assert_array_equal(over_seeds(values), values[0])


def test_seeds_that_differ_widen_the_spread() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (6, 4000)) + np.arange(6)[:, None]
    assert over_seeds(values).std() > 4 * values.mean(axis=0).std()
