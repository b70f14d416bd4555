"""Counting and scoring beside the field's idioms: ``pytest benchmarks/test_bench_metrics.py``. The ratios to ours are printed at the end."""

from __future__ import annotations

import baselines_metrics as idioms
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ldznet_bench.metrics import torch_counts
from ldznet_bench.metrics.average_precision import step_ap
from ldznet_bench.metrics.counts import counts_from_histograms, histograms
from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.protocols import CLIPSEG_GRID, LOGIT_GRID, PROTOCOLS

LINEAR, LOGIT = CLIPSEG_GRID.thresholds(), LOGIT_GRID.thresholds()
PHRASECUT_TEST = 14_354


@pytest.fixture(scope="module")
def timings(request):
    """{group: {name: seconds of the fastest round}}, which load on the machine moves least; printed as ratios to the first of each group."""
    groups: dict[str, dict[str, float]] = {}
    yield groups
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for group, times in groups.items():
            (first, ours), *others = times.items()
            print(f"\n{group}: {first} {ours * 1e3:.3g} ms")
            for name, seconds in others:
                print(f"  {name}: {seconds * 1e3:.3g} ms, {seconds / ours:.1f} times as long")


@pytest.fixture
def timed(benchmark, timings):
    def run(group, name, function, rounds=15):
        benchmark.group = group
        result = benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)
        if benchmark.stats:
            timings.setdefault(group, {})[name] = benchmark.stats.stats.min
        return result

    return run


@pytest.fixture(scope="module")
def maps():
    """A score map per size, smooth with some grain, and a truth of 10 % of its pixels."""
    rng = np.random.default_rng(0)
    made = {}
    for height, width in ((352, 352), (480, 640)):
        field = gaussian_filter(rng.normal(size=(height, width)), 15)
        field /= field.std()
        truth = field + 0.3 * rng.normal(size=field.shape) > np.quantile(field, 0.9)
        logits = 3 * (field - 1.1 + 0.3 * rng.normal(size=field.shape))
        made[height, width] = (1 / (1 + np.exp(-logits))).astype(np.float32), truth
    return made


SMALL = "counts of a 352x352 map at 49 thresholds"


def test_352_ours(timed, maps):
    scores, truth = maps[352, 352]
    fg, bg = timed(SMALL, "ours", lambda: histograms(scores, truth, LINEAR))
    np.testing.assert_array_equal(np.array(counts_from_histograms(fg, bg)), idioms.sort_and_scan(scores, truth, LINEAR))


def test_352_ours_on_a_binary_map(timed, maps):
    scores, truth = maps[352, 352]
    binary = (scores > 0.5).astype(np.float32)
    timed(SMALL, "ours, {0, 1} map", lambda: histograms(binary, truth, LINEAR))


def test_352_ours_in_torch(timed, maps):
    scores, truth = maps[352, 352]
    tensor = torch.from_numpy(scores)
    timed(SMALL, "ours, torch backend on the processor", lambda: torch_counts.histograms(tensor, truth, LINEAR))


@pytest.mark.parametrize("idiom", [idioms.sort_and_scan, idioms.bucketize, idioms.searchsorted], ids=lambda idiom: idiom.__name__)
def test_352_idiom(timed, maps, idiom):
    scores, truth = maps[352, 352]
    timed(SMALL, idiom.__name__, lambda: idiom(scores, truth, LINEAR))


def test_352_torchmetrics(timed, maps):
    scores, truth = (torch.from_numpy(value) for value in maps[352, 352])
    curve = idioms.torchmetrics_curve(LINEAR)
    timed(SMALL, "torchmetrics", lambda: curve.update(scores, truth.long()))


LARGE = "pixel AP of a 640x480 map"


def test_640_ours(timed, maps):
    scores, truth = maps[480, 640]
    found = timed(LARGE, "ours, 6,431 thresholds", lambda: step_ap(*histograms(scores, truth, LOGIT)))
    assert found == pytest.approx(idioms.sklearn_ap(scores, truth), abs=2e-3)


@pytest.mark.parametrize("idiom", [idioms.bucketize, idioms.searchsorted], ids=lambda idiom: idiom.__name__)
def test_640_idiom(timed, maps, idiom):
    scores, truth = maps[480, 640]
    timed(LARGE, f"{idiom.__name__}, counts only", lambda: idiom(scores, truth, LOGIT))


def test_640_sklearn(timed, maps):
    scores, truth = maps[480, 640]
    timed(LARGE, "scikit-learn, exact", lambda: idioms.sklearn_ap(scores, truth))


WHOLE = f"every metric of clipseg@1 over {PHRASECUT_TEST:,} samples"


def statistics(n, thresholds, threshold):
    rng = np.random.default_rng(0)
    fg, bg = rng.integers(0, 400, (2, n, len(thresholds) + 1), dtype=np.int32)
    above = int(np.searchsorted(thresholds, np.float32(threshold))) + 1
    intersection, false = fg[:, above:].sum(1, dtype=np.int64), bg[:, above:].sum(1, dtype=np.int64)
    areas = fg.sum(1, dtype=np.int64)
    return Columns(intersection, areas + false, areas, intersection + false, fg, bg)


def score(protocol, batches):
    accumulator = Accumulator(PROTOCOLS[protocol], dense=True)
    for batch in batches:
        accumulator.add(batch)
    return accumulator.result()


def test_whole_test_set_ours(timed):
    columns = statistics(PHRASECUT_TEST, LINEAR, 0.3)
    timed(WHOLE, "ours", lambda: score("clipseg@1", [columns]), rounds=5)


def test_whole_test_set_by_lists(timed):
    columns = statistics(PHRASECUT_TEST, LINEAR, 0.3)
    counts = counts_from_histograms(columns.hist_fg, columns.hist_bg)
    samples = [dict(zip(("tp", "fp", "fn", "tn"), rows, strict=True)) for rows in zip(*(count.tolist() for count in counts), strict=True)]
    name = "lists summed by class in Python, best mean IoU only"
    found = timed(WHOLE, name, lambda: idioms.best_miou_by_lists(samples, range(PHRASECUT_TEST)), rounds=3)
    assert found == pytest.approx(score("clipseg@1", [columns])["miou_best"], abs=1e-9)


POOL = "pixel AP of native@1"


def test_pool_of_the_whole_test_set_ours(timed):
    """14 batches of 1,024 samples: 103 MB at a time, of 738 MB in all."""
    batch = statistics(1024, LOGIT, 0.5)
    timed(POOL, f"ours, {PHRASECUT_TEST:,} samples from their records", lambda: score("native@1", [batch] * 14)["ap"], rounds=3)


def test_pool_of_eight_maps_sklearn(timed, maps):
    scores, truth = (np.tile(value, (8, 1)) for value in maps[480, 640])
    timed(POOL, "scikit-learn, 8 maps of 640x480 (all 14,354 do not fit)", lambda: idioms.sklearn_ap(scores, truth), rounds=3)
