"""Reports and statistics at the size of PhraseCut test: 14,354 phrases on 2,545 images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ldznet_bench.metrics.scores import Columns
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.grid import Options
from ldznet_bench.reports.render import render
from ldznet_bench.reports.runs import find_runs
from ldznet_bench.statistics.bootstrap import bootstrap
from ldznet_bench.statistics.estimators import estimator

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "reports"))

SAMPLES, IMAGES = 14_354, 2_545


@pytest.fixture(scope="module")
def columns() -> tuple[Columns, np.ndarray]:
    rng = np.random.default_rng(0)
    cluster = np.sort(np.concatenate([np.arange(IMAGES), rng.integers(0, IMAGES, SAMPLES - IMAGES)]))
    fg, bg = rng.integers(0, 200, (SAMPLES, 50)).astype(np.int32), rng.integers(0, 2000, (SAMPLES, 50)).astype(np.int32)
    inter, pred = fg[:, 15:].sum(axis=1).astype(np.int64), (fg + bg)[:, 15:].sum(axis=1).astype(np.int64)
    gt = fg.sum(axis=1).astype(np.int64)
    return Columns(inter, gt + pred - inter, gt, pred, fg, bg), cluster


@pytest.mark.parametrize("metrics", [("miou", "iou_fg"), ("miou_best", "iou_fg_best"), ("ap",)], ids="+".join)
def test_bench_ten_thousand_draws(benchmark, columns, metrics) -> None:
    counts, cluster = columns
    protocol = get_protocol("clipseg@1")
    found = [estimator(name, counts, cluster, IMAGES, protocol) for name in metrics]
    benchmark.pedantic(lambda: bootstrap([item for item in found if item is not None]), rounds=3)


@pytest.fixture(scope="module")
def twenty_runs(tmp_path_factory) -> Path:
    from synthetic_runs import write_run

    root = tmp_path_factory.mktemp("runs")
    for k in range(20):
        write_run(root, f"model{k:02d}", n_images=IMAGES, per_image=6, skill=0.1 * k, model_seed=k)
    return root


@pytest.mark.parametrize("intervals", [False, True], ids=["plain", "intervals"])
def test_bench_report_of_twenty_runs(benchmark, twenty_runs, intervals) -> None:
    benchmark.pedantic(lambda: render(find_runs(twenty_runs)[0], options=Options(intervals=intervals)), rounds=2)
