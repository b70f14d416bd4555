from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import Columns
from ldznet_bench.protocols import get_protocol
from ldznet_bench.statistics.paired import adjust, common_ids, compare
from ldznet_bench.statistics.samples import Samples

PROTOCOL = get_protocol("native@1")


def samples(seed: int = 0, n: int = 240, gain: float = 0.0, prefix: str = "s") -> Samples:
    rng = np.random.default_rng(seed)
    union = rng.integers(50, 500, n).astype(np.int64)
    base = np.random.default_rng(99).uniform(0.1, 0.8, n)
    inter = (union * np.clip(base + gain + rng.normal(0, 0.05, n), 0, 1)).astype(np.int64)
    ids = np.array([f"{prefix}{k:04d}" for k in range(n)])
    images = np.array([f"im{k // 4:03d}" for k in range(n)])
    return Samples(ids, images, Columns(inter, union, union, inter), pa.table({"n": pa.array(range(n))}), np.arange(n))


def test_a_real_gain_is_found() -> None:
    found = compare([samples(1)], [samples(2, gain=0.05)], "miou", PROTOCOL, n_resamples=2000)
    assert found.p is not None and found.p < 0.01
    assert found.interval.low is not None and found.interval.low > 0
    assert found.wins > found.losses


@given(st.integers(0, 30), st.sampled_from(["miou", "oiou", "pr50"]))
@settings(max_examples=15, deadline=None)
def test_swapping_the_models_mirrors_everything(seed: int, metric: str) -> None:
    a, b = samples(seed), samples(seed + 1, gain=0.01)
    one = compare([a], [b], metric, PROTOCOL, n_resamples=300)
    other = compare([b], [a], metric, PROTOCOL, n_resamples=300)
    assert one.delta == -other.delta
    assert one.p == other.p
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-12)


def test_a_model_against_itself_is_no_difference() -> None:
    found = compare([samples(1)], [samples(1)], "oiou", PROTOCOL, n_resamples=200)
    assert (found.delta, found.p, found.ties) == (0, 1.0, 240)


def test_only_shared_samples_count() -> None:
    a, b = samples(1), samples(2).take(np.arange(10, 200))
    found = compare([a], [b], "miou", PROTOCOL, n_resamples=100)
    assert (found.n_samples, found.only_a, found.only_b) == (190, 50, 0)


def test_runs_without_a_shared_sample_are_refused() -> None:
    with pytest.raises(BenchError, match="share no sample"):
        compare([samples(1)], [samples(2, prefix="t")], "miou", PROTOCOL)


def test_same_ids_on_other_images_are_refused() -> None:
    other = samples(2)
    moved = Samples(other.sample_id, other.image_id[::-1], other.counts, other.table, other.order)
    with pytest.raises(BenchError, match="different images"):
        common_ids([samples(1), moved])


def test_metric_without_counts_is_refused() -> None:
    with pytest.raises(BenchError, match="not defined"):
        compare([samples(1)], [samples(2)], "ap", PROTOCOL)


def test_fewer_than_six_seeds_are_conditional_on_the_weights() -> None:
    few, many = [samples(k) for k in range(3)], [samples(k, gain=0.02) for k in range(10, 16)]
    assert compare(few, many, "miou", PROTOCOL, n_resamples=100).conditional
    assert not compare(many, many[::-1], "miou", PROTOCOL, n_resamples=100).conditional


def test_several_seeds_score_as_their_mean() -> None:
    runs = [samples(k) for k in range(3)]
    alone = [compare([run], [run], "miou", PROTOCOL, n_resamples=10).a for run in runs]
    assert compare(runs, runs, "miou", PROTOCOL, n_resamples=10).a == pytest.approx(np.mean(alone))


def test_holm_goes_over_all_comparisons() -> None:
    found = adjust([compare([samples(1)], [samples(2, gain=gain)], "miou", PROTOCOL, n_resamples=500) for gain in (0.0, 0.004, 0.05)])
    assert all(item.p is not None and item.p_holm is not None and item.p_holm >= item.p for item in found)
