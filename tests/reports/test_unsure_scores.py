"""Networks whose scores lie close together: what is made from native@1's counts in groups is what the grid itself gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_run

from ldznet_bench.metrics.average_precision import step_ap
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.analysis import analyse
from ldznet_bench.reports.audit import audit
from ldznet_bench.reports.comparison import Settings, compare_models
from ldznet_bench.reports.runs import read_run
from ldznet_bench.reports.table import Options, make_table
from ldznet_bench.statistics.bootstrap import bootstrap, number_clusters
from ldznet_bench.statistics.estimators import estimator, histograms_of
from ldznet_bench.statistics.paired import compare
from ldznet_bench.statistics.samples import Samples, exact_ap, group_starts, read_samples

TOPS = (0.2, 0.02, 1.0)


def unsure(root: Path, model: str = "a", top: float = 0.2, skill: float = 1.0) -> Path:
    return write_run(root, model, protocol="native@1", n_images=60, skill=skill, model_seed=int(10 * skill), top=top)


def both(path: Path) -> tuple[Samples, Samples]:
    return read_samples(path, histograms="full"), read_samples(path, histograms="coarse")


def ap(path: Path) -> float:
    return float(json.loads((path / "summary.json").read_text())["metrics"]["ap"])


@pytest.mark.parametrize("top", TOPS)
def test_draws_equal_those_of_the_grid_itself(tmp_path: Path, top: float) -> None:
    path, rules = unsure(tmp_path, top=top), get_protocol("native@1")
    (cluster,), n = number_clusters(read_samples(path).image_id)
    made = [estimator("ap", item.counts, cluster, n, rules, exact_ap(item)) for item in both(path)]
    fine, grouped = [item for item in made if item is not None]
    assert (fine.point(), grouped.point()) == pytest.approx((ap(path), ap(path)), abs=1e-12)
    values = bootstrap([fine, grouped], 300)
    assert abs(values[0] - values[1]).max() < 1e-4
    assert grouped.sums.shape[1] < fine.sums.shape[1] < 2 * 6432


@pytest.mark.parametrize("top", TOPS)
def test_a_comparison_states_the_summaries_ap(tmp_path: Path, top: float) -> None:
    paths = [unsure(tmp_path, "a", top), unsure(tmp_path, "b", top, skill=1.5)]
    found = compare_models(tmp_path, "a", "b", Settings(metrics=("ap",), resamples=100))[0].comparison
    assert (found.a, found.b) == pytest.approx([ap(path) for path in paths], abs=1e-12)


def test_a_comparison_on_a_slice_states_the_slices_own_ap(tmp_path: Path) -> None:
    unsure(tmp_path, "a"), unsure(tmp_path, "b", skill=1.5)
    found = compare_models(tmp_path, "a", "b", Settings(metrics=("ap",), where="size<0.05", resamples=300))[0].comparison
    sides = []
    for name in ("a", "b"):
        samples = read_samples(next(tmp_path.glob(f"*/*/{name}/*")), histograms="full", columns=("width", "height"))
        small = samples.counts.gt_area < 0.05 * 200 * 200
        sides.append(samples.take(small))
    exact = [step_ap(*(kind.sum(axis=0) for kind in histograms_of(side.counts))) for side in sides]
    assert (found.a, found.b) == pytest.approx(exact, abs=1e-12)
    slow = compare([sides[0]], [sides[1]], "ap", get_protocol("native@1"), n_resamples=300)
    assert (found.interval.low, found.interval.high) == pytest.approx((slow.interval.low, slow.interval.high), abs=2e-4)


def test_an_audit_states_exact_aps(tmp_path: Path) -> None:
    path = unsure(tmp_path)
    leaked = frozenset(str(100 + image) for image in range(30))
    found = audit(read_run(path), None, leaked, "test", metrics=("ap",), resamples=200).results[0]
    table = make_table([read_run(path)], Options(metrics=("ap",), by="leaked", leaked=leaked))
    assert [value.score for value in table.rows[0].values.values()] == pytest.approx([found.leaked.score, found.clean.score], abs=1e-12)
    assert found.all.score == pytest.approx(ap(path), abs=1e-12)


def test_the_analysis_reads_the_grid_itself(tmp_path: Path) -> None:
    path = unsure(tmp_path)
    fg, bg = (kind.sum(axis=0) for kind in histograms_of(read_samples(path, histograms="full").counts))
    edges = np.concatenate([[0.0], get_protocol("native@1").thresholds.astype(float), [1.0]])  # type: ignore[union-attr]
    middle = (edges[1:] + edges[:-1]) / 2
    found = analyse(read_run(path))
    assert found.calibration is not None and found.transfer is not None
    assert found.calibration.brier == pytest.approx(float((fg * (1 - middle) ** 2 + bg * middle**2).sum() / (fg + bg).sum()), abs=1e-12)
    assert found.transfer.at_best > found.transfer.at_threshold


def test_summed_histograms_of_some_samples_are_the_grids_own(tmp_path: Path) -> None:
    path, rows = unsure(tmp_path), np.arange(7, 90, 3)
    full, grouped = both(path)
    for expected, found in ((full, grouped), (full.take(rows), grouped.take(rows))):
        np.testing.assert_array_equal(expected.pooled(), found.pooled())


def test_samples_without_histograms_are_the_same_samples(tmp_path: Path) -> None:
    _, grouped = both(unsure(tmp_path))
    light = grouped.without_histograms()
    assert (light.counts.hist_fg, light.counts.hist_bg, light.pooled(), exact_ap(light)) == (None, None, None, None)
    np.testing.assert_array_equal(light.counts.union, grouped.counts.union)


def test_groups_are_narrow_where_true_pixels_are() -> None:
    pixels = np.zeros(6432, dtype=np.int64)
    pixels[1000:1100], pixels[3000] = 30, 5000
    starts = group_starts(pixels)
    assert np.diff(starts).max() <= 16
    assert {3000, 3001} <= set(starts.tolist())
    assert np.add.reduceat(pixels, starts)[starts != 3000].max() <= 2 * (8000 / 512 + 30)
    assert starts.size < 403 + 1024
