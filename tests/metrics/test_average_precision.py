"""CLIPSeg's AP against every SciPy that published numbers were made with; the step-wise AP against scikit-learn on families of maps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score

from ldznet_bench.metrics.average_precision import precision_recall_points, simpson_ap, step_ap
from ldznet_bench.metrics.counts import counts_from_histograms, histograms
from ldznet_bench.protocols import CLIPSEG_GRID, LOGIT_GRID

GOLDENS = Path(__file__).parents[1] / "goldens" / "metrics" / "fixed_interval"
COLUMNS = json.loads((GOLDENS / "ap_by_scipy.json").read_text())
OLD, PAPER_ERA, NOW = ("python3.7.16_scipy1.4.1", "python3.8.18_scipy1.7.3"), "python3.10.13_scipy1.10.1", "python3.11.7_scipy1.17.1"
# The one case without a number predicts nothing at any threshold; test_fixed_interval.py has the error.
CASES = [(case, config) for case, configs in COLUMNS.items() for config, columns in configs.items() if isinstance(columns[NOW], float)]


def golden_points(case, config):
    with np.load(GOLDENS / f"{case}_counts.npz") as counts:
        tp, fp, fn, _ = counts[config].sum(axis=1, dtype=np.int64).tolist()
    return precision_recall_points(tp, fp, fn)


def column(case, config, name):
    return float(COLUMNS[case][config][name])


def has_ties(points):
    return len({recall for recall, _ in set(points)}) < len(set(points))


def test_the_goldens_hold_even_odd_and_tied_curves():
    curves = [golden_points(*case) for case in CASES]
    assert {len(set(points)) % 2 for points in curves} == {0, 1}
    assert {has_ties(points) for points in curves} == {True, False}


@pytest.mark.parametrize(("case", "config"), CASES)
def test_avg_equals_the_paper_eras_scipy(case, config):
    assert simpson_ap(golden_points(case, config)) == pytest.approx(column(case, config, PAPER_ERA), abs=1e-12)


@pytest.mark.parametrize(("case", "config"), CASES)
def test_cartwright_equals_todays_scipy(case, config):
    assert simpson_ap(golden_points(case, config), "cartwright") == pytest.approx(column(case, config, NOW), abs=1e-12)


@pytest.mark.parametrize(("case", "config"), CASES)
@pytest.mark.parametrize("ties", ["ascending", "descending"])
def test_ties_by_precision_equal_todays_scipy_in_that_order(case, config, ties):
    expected = column(case, config, f"scipy1.17_tie_order_precision_{ties}")
    assert simpson_ap(golden_points(case, config), "cartwright", ties) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("case", "config"), CASES)
@pytest.mark.parametrize("name", OLD)
def test_the_oldest_scipys_agree_wherever_they_gave_a_number(case, config, name):
    points, expected = golden_points(case, config), column(case, config, name)
    # They divided 0 by 0 at tied recalls; zero-protected terms are what every release since 1.10 has.
    assert has_ties(points) if math.isnan(expected) else simpson_ap(points) == pytest.approx(expected, abs=1e-12)


# Four pixels, two of them true, whose scores equal thresholds: facts of the fixed-interval rule, by hand.
TOY = precision_recall_points(
    *(
        counts.tolist()
        for counts in counts_from_histograms(
            *histograms(np.float32([[0.9, 0.6, 0.4, 0.1]]), np.array([[True, False, True, False]]), CLIPSEG_GRID.thresholds())
        )[:3]
    )
)


def test_the_toy_curve_has_the_points_made_by_hand():
    assert set(TOY) == {(2 / 3, 2 / 5), (2 / 3, 2 / 4), (1 / 3, 1 / 3), (1 / 3, 1 / 2)}


@pytest.mark.parametrize(("ties", "expected"), [("set-order", 0.09259), ("ascending", 0.08148)])
def test_the_toy_ap_depends_on_the_tie_rule(ties, expected):
    assert simpson_ap(TOY, "cartwright", ties) == pytest.approx(expected, abs=5e-6)


def test_thresholds_at_which_nothing_is_predicted_are_left_out():
    assert precision_recall_points([3, 0], [1, 0], [0, 3]) == [(3 / 4, 3 / 5)]


def test_a_perfect_constant_map_scores_nothing_for_want_of_width():
    assert simpson_ap(precision_recall_points([9] * 49, [0] * 49, [0] * 49)) == 0.0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12).filter(lambda bins: any(fg for fg, _ in bins)))
def test_step_ap_is_scikit_learns_of_the_bins(bins):
    fg, bg = np.array(bins, np.int32).T
    truth = np.concatenate([np.repeat([1, 0], (f, b)) for f, b in bins])
    scores = np.concatenate([np.full(f + b, index) for index, (f, b) in enumerate(bins)])
    assert step_ap(fg, bg) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_step_ap_of_no_truth_is_none():
    assert step_ap(np.zeros(4, np.int32), np.ones(4, np.int32)) is None


def test_step_ap_of_more_pixels_than_int32_holds():
    full = np.full(1000, 2**31 - 1, np.int32)
    assert step_ap(full, full) == pytest.approx(0.5)


# Families of pooled maps, and how far AP over LOGIT_GRID's thresholds may be from scikit-learn's of the scores themselves.


def sigmoid(logits):
    return torch.from_numpy(logits.astype(np.float32)).sigmoid().numpy()


def smooth(rng, sigma, side=160):
    field = gaussian_filter(rng.normal(size=(side, side)), sigma)
    return (field - field.mean()) / field.std()


def pooled(rng, scale, bias=0.0, noise=0.5, offset=0.3):
    """Twelve smooth maps over truths of 2, 10 and 30 % of the pixels, each with its own offset, as a network makes them."""
    scores, truths = [], []
    for share in (0.02, 0.1, 0.3) * 4:
        field = smooth(rng, 8)
        edge = np.quantile(field, 1 - share)
        logits = scale * (field - edge + noise * smooth(rng, 3) + offset * rng.normal()) + bias
        scores.append(sigmoid(logits).ravel())
        truths.append((field > edge).ravel())
    return np.concatenate(scores), np.concatenate(truths)


def independent(rng, scale, gap, bias):
    truth = rng.random(300_000) < 0.2
    return sigmoid(scale * (rng.normal(size=truth.size) + gap * truth) + bias), truth


def log_uniform(rng, gap):
    truth = rng.random(300_000) < 0.1
    return (10 ** (-8 + 5 * np.clip(rng.beta(2, 2, truth.size) + gap * truth, 0, 1))).astype(np.float32), truth


def narrow(rng, width):
    truth = rng.random(300_000) < 0.1
    return (0.5 + width * (2 * rng.random(truth.size) ** np.where(truth, 0.5, 1) - 1)).astype(np.float32), truth


def eight_bit(maps):
    scores, truth = maps
    return (np.round(scores * 255) / 255).astype(np.float32), truth


def clipped(maps):
    scores, truth = maps
    return np.clip((scores - 0.25) * 2, 0, 1), truth


# Measured |error|, rounded up, is the bound of each family; 2e-3 is the promise, the narrow ones below it are stated beyond it.
FAMILIES = {
    "realistic, logits of scale 1": (lambda rng: pooled(rng, 1), 2e-3),
    "realistic, logits of scale 2": (lambda rng: pooled(rng, 2), 1.1e-3),
    "realistic, logits of scale 3": (lambda rng: pooled(rng, 3), 8e-4),
    "realistic, logits of scale 5": (lambda rng: pooled(rng, 5), 5e-4),
    "realistic and mostly wrong": (lambda rng: pooled(rng, 3, noise=2), 3e-4),
    "saturated, scale 10": (lambda rng: pooled(rng, 10), 3e-4),
    "saturated, scale 20": (lambda rng: pooled(rng, 20), 3e-4),
    "saturated, scale 30": (lambda rng: pooled(rng, 30), 3e-4),
    "saturated at 0, scale 10": (lambda rng: pooled(rng, 10, -10, noise=1), 3e-4),
    "saturated at 0, scale 30": (lambda rng: pooled(rng, 30, -30, noise=1), 1e-3),
    "saturated and mostly wrong": (lambda rng: pooled(rng, 30, noise=2, offset=1), 1e-3),
    "saturated, independent pixels": (lambda rng: independent(rng, 30, 1.5, -30), 3e-4),
    "clipped to 0 and 1": (lambda rng: clipped(pooled(rng, 3)), 1e-3),
    "low, logits around -13": (lambda rng: independent(rng, 2, 1.5, -13), 1e-3),
    "low, logits around -11": (lambda rng: independent(rng, 1, 1.5, -11), 2e-3),
    "low, 1e-8 to 1e-3": (lambda rng: log_uniform(rng, 0.25), 1.2e-3),
    "low, 1e-8 to 1e-3, well told apart": (lambda rng: log_uniform(rng, 0.5), 1.2e-3),
    "8-bit maps are exact": (lambda rng: eight_bit(pooled(rng, 3)), 1e-12),
    "8-bit saturated maps are exact": (lambda rng: eight_bit(pooled(rng, 10)), 1e-12),
    "narrow, 0.4 to 0.6": (lambda rng: narrow(rng, 0.1), 1e-3),
    "narrow, 0.47 to 0.53": (lambda rng: narrow(rng, 0.03), 3e-3),
    "narrow, logits of scale 0.5": (lambda rng: pooled(rng, 0.5), 5e-3),
    "narrow, logits of scale 0.25": (lambda rng: pooled(rng, 0.25), 1e-2),
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_pixel_ap_is_near_scikit_learns(family):
    make, bound = FAMILIES[family]
    scores, truth = make(np.random.default_rng(7))
    found = step_ap(*histograms(scores, truth, LOGIT_GRID.thresholds()))
    assert found == pytest.approx(average_precision_score(truth, scores), abs=bound)


def test_every_8_bit_level_has_its_own_bin():
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    assert np.all(np.diff(np.searchsorted(LOGIT_GRID.thresholds(), levels)) > 0)


def test_only_1_lies_above_the_last_threshold():
    assert np.nextafter(LOGIT_GRID.thresholds()[-1], np.float32(2)) == 1
