from __future__ import annotations

import numpy as np
import pytest

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.average_precision import step_ap
from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.protocols import PROTOCOLS, Protocol, get_protocol
from ldznet_bench.statistics.bootstrap import bootstrap, draws
from ldznet_bench.statistics.estimators import estimator


def random_columns(protocol: Protocol, n: int, seed: int = 0, sparse: bool = False) -> Columns:
    rng = np.random.default_rng(seed)
    bins = 50 if protocol.thresholds is None else protocol.thresholds.size + 1
    high = 3 if sparse else 60
    fg, bg = rng.integers(0, high, (n, bins)).astype(np.int32), rng.integers(0, 2 * high, (n, bins)).astype(np.int32)
    if sparse:
        fg[:, 5:], bg[:, 9:] = 0, 0
    above = slice(15, None)
    if protocol.thresholds is not None:
        above = slice(int(np.searchsorted(protocol.thresholds, np.float32(protocol.threshold))) + 1, None)
    inter = fg[:, above].sum(axis=1).astype(np.int64)
    pred = inter + bg[:, above].sum(axis=1)
    gt = fg.sum(axis=1).astype(np.int64)
    hists = (None, None) if protocol.thresholds is None else (fg, bg)
    return Columns(inter, gt + pred - inter, gt, pred, *hists)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("sparse", [False, True])
def test_every_metric_of_every_protocol_equals_the_summary(name: str, sparse: bool) -> None:
    protocol = get_protocol(name)
    columns = random_columns(protocol, 40, sparse=sparse)
    acc = Accumulator(protocol, dense=True)
    acc.add(columns)
    cluster = np.arange(40) // 3
    for metric, expected in acc.result().items():
        made = estimator(metric, columns, cluster, 14, protocol)
        assert made is not None
        assert made.point() == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("metric", ["giou", "ciou", "n_acc", "t_acc"])
def test_metrics_of_samples_without_target_equal_the_summary(metric: str) -> None:
    protocol = get_protocol("gres@1")
    counts = random_columns(protocol, 40, sparse=False)
    none, silent = np.arange(40) % 3 == 0, np.arange(40) % 2 == 0
    inter = np.where(none | silent, 0, counts.intersection)
    gt, pred = np.where(none, 0, counts.gt_area), np.where(silent, 0, counts.pred_area)
    columns = Columns(inter, gt + pred - inter, gt, pred)
    acc = Accumulator(protocol, dense=False)
    acc.add(columns)
    made = estimator(metric, columns, np.arange(40) // 3, 14, protocol)
    assert made is not None
    assert made.point() == pytest.approx(acc.result()[metric], abs=1e-12)


@pytest.mark.parametrize("metric", ["miou", "miou_best", "iou_fg", "iou_fg_best", "ap"])
@pytest.mark.parametrize("sparse", [False, True])
def test_bootstrap_equals_the_obvious_loop(metric: str, sparse: bool) -> None:
    protocol = get_protocol("clipseg@1")
    columns = random_columns(protocol, 30, sparse=sparse)
    cluster = np.arange(30) // 4
    made = estimator(metric, columns, cluster, 8, protocol)
    assert made is not None
    weights = np.concatenate(list(draws(8, 20, seed=3)))
    expected = []
    for row in weights.astype(int):
        acc = Accumulator(protocol, dense=True)
        for image, times in enumerate(row):
            for _ in range(times):
                acc.add(columns.take(np.flatnonzero(cluster == image)))
        expected.append(acc.result()[metric])
    np.testing.assert_allclose(bootstrap([made], 20, seed=3)[0], expected, rtol=0, atol=1e-12)


def test_ap_counts_leave_out_nothing_that_matters() -> None:
    """Bins without true pixels are not kept; whichever images are drawn, AP is that of all bins."""
    rng, protocol = np.random.default_rng(5), get_protocol("native@1")
    fg, bg = (rng.integers(0, 9, (12, 6432)) * (rng.random((1, 6432)) < share) for share in (0.01, 0.2))
    zero = np.zeros(12, np.int64)
    made = estimator("ap", Columns(zero, zero, zero, zero, fg.astype(np.int32), bg.astype(np.int32)), np.arange(12) // 3, 4, protocol)
    assert made is not None
    weights = np.concatenate(list(draws(4, 30, seed=1)))
    expected = [step_ap(*(np.repeat(row, 3).astype(int) @ kind for kind in (fg, bg))) for row in weights]
    np.testing.assert_allclose(bootstrap([made], 30, seed=1)[0], np.array(expected, dtype=float), atol=1e-12)
    assert made.sums.shape[1] < 200


def test_estimators_share_their_draws() -> None:
    protocol = get_protocol("native@1")
    columns = random_columns(protocol, 30)
    one = estimator("miou", columns, np.arange(30) // 4, 8, protocol)
    assert one is not None
    first, second = bootstrap([one, one], 50)
    np.testing.assert_array_equal(first, second)


def test_no_estimator_where_histograms_are_missing() -> None:
    protocol = get_protocol("clipseg@1")
    columns = random_columns(get_protocol("refer@1"), 5)
    assert estimator("ap", columns, np.arange(5), 5, protocol) is None


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(BenchError, match="no interval"):
        estimator("fid", random_columns(get_protocol("refer@1"), 5), np.arange(5), 5, get_protocol("refer@1"))
