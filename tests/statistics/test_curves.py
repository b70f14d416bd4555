from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ldznet_bench.metrics.counts import histograms
from ldznet_bench.metrics.scores import Columns
from ldznet_bench.protocols import get_protocol
from ldznet_bench.statistics.curves import calibration, curves
from ldznet_bench.statistics.samples import Groups, Samples

RULES = get_protocol("clipseg@1")


def samples(scores: np.ndarray, truth: np.ndarray) -> Samples:
    pairs = [histograms(score, gt, RULES.grid.thresholds()) for score, gt in zip(scores, truth, strict=True)]  # type: ignore[union-attr]
    fg, bg = (np.stack(kind) for kind in zip(*pairs, strict=True))
    n = len(scores)
    zero = np.zeros(n, np.int64)
    ids = np.array([f"{k:03d}" for k in range(n)])
    return Samples(ids, ids, Columns(zero, zero, zero, zero, fg, bg), pa.table({"k": list(range(n))}), np.arange(n))


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.random((6, 20, 20)).astype(np.float32)
    return scores, rng.random((6, 20, 20)) < scores


def test_curves_equal_masks_at_each_threshold(maps: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = maps
    found = curves(samples(scores, truth), RULES)
    for index in (0, 14, 48):
        pred = scores > np.float32(found.thresholds[index])
        tp, fp, fn = ((pred & truth).sum(), (pred & ~truth).sum(), (~pred & truth).sum())
        assert found.precision[index] == pytest.approx(tp / (1 + tp + fp))
        assert found.recall[index] == pytest.approx(tp / (1 + tp + fn))
        each = [(p & g).sum() / (1 + (p | g).sum()) for p, g in zip(pred, truth, strict=True)]
        assert found.mean_iou[index] == pytest.approx(np.mean(each))


def test_honest_scores_are_calibrated_and_shifted_ones_are_not(maps: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = maps
    honest, boastful = calibration(samples(scores, truth), RULES), calibration(samples(np.sqrt(scores), truth), RULES)
    assert honest.ece < 0.03 < boastful.ece
    assert honest.brier < boastful.brier


def test_brier_is_within_a_bin_of_the_exact_one(maps: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = maps
    assert calibration(samples(scores, truth), RULES).brier == pytest.approx(((scores - truth) ** 2).mean(), abs=2e-3)


def test_coarse_counts_lie_on_the_fine_curve(tmp_path: Path) -> None:
    rules = get_protocol("native@1")
    rng = np.random.default_rng(1)
    scores, truth = rng.random((30, 30)).astype(np.float32), rng.random((30, 30)) > 0.5
    fg, bg = histograms(scores, truth, rules.grid.thresholds())  # type: ignore[union-attr]
    starts = np.arange(0, fg.size, 16)
    ids, zero = np.array(["a"]), np.zeros(1, np.int64)
    coarse = Samples(
        ids,
        ids,
        Columns(zero, zero, zero, zero, np.add.reduceat(fg, starts)[None], np.add.reduceat(bg, starts)[None]),
        pa.table({}),
        zero,
        Groups(tmp_path, starts, (fg.astype(np.int64), bg.astype(np.int64)), 1),
    )
    found = curves(coarse, rules)
    index = int(np.searchsorted(found.thresholds, 0.4))
    pred = scores > np.float32(found.thresholds[index])
    assert found.mean_iou[index] == pytest.approx((pred & truth).sum() / (pred | truth).sum())
