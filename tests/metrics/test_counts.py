"""The NumPy counts against the slowest obvious way of counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ldznet_bench.metrics import counts
from ldznet_bench.metrics.counts import binarise, counts_from_histograms, histograms, overlap
from ldznet_bench.protocols import CLIPSEG_GRID, LOGIT_GRID

THRESHOLDS = CLIPSEG_GRID.thresholds()
GRIDS = {
    "linear": THRESHOLDS,
    "logit": LOGIT_GRID.thresholds(),
    "one": np.float32([0.5]),
    "wide": np.float32([-1, 0, 1, 2]),
    "to 1": np.float32([0.5, 1]),
}

# Values at which an implementation slips: the thresholds, their neighbours, the ends, signed zero, and what is no score at all.
AWKWARD = np.unique(
    np.concatenate([THRESHOLDS, np.nextafter(THRESHOLDS, np.float32(1)), np.nextafter(THRESHOLDS, np.float32(0)), np.float32([0, 1, 0.5])])
)


def score_maps(shape):
    numbers = st.one_of(
        st.sampled_from([float(value) for value in AWKWARD]),
        st.floats(0, 1, width=32),
        st.sampled_from([-0.0, -1.0, 2.0, float("inf"), float("-inf")]),
    )
    return hnp.arrays(np.float32, shape, elements=numbers)


def slow_histograms(scores, truth, thresholds):
    fg, bg = [0] * (len(thresholds) + 1), [0] * (len(thresholds) + 1)
    for score, true in zip(scores.ravel().tolist(), truth.ravel().tolist(), strict=True):
        exceeded = sum(score > threshold for threshold in thresholds.tolist())
        (fg if true else bg)[exceeded] += 1
    return fg, bg


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["linear", "one", "wide", "to 1"]))
def test_histograms_equal_the_slow_count(data, grid):
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    scores, truth = data.draw(score_maps(shape)), data.draw(hnp.arrays(np.bool_, shape))
    fg, bg = histograms(scores, truth, GRIDS[grid])
    assert (fg.tolist(), bg.tolist()) == slow_histograms(scores, truth, GRIDS[grid])


@pytest.mark.parametrize("grid", list(GRIDS))
def test_histograms_equal_searchsorted_on_many_pixels(grid):
    rng = np.random.default_rng(0)
    scores = (1 / (1 + np.exp(-rng.normal(scale=20, size=(97, 83))))).astype(np.float32)
    scores[::3, ::2] = rng.choice(GRIDS[grid], scores[::3, ::2].shape)
    truth = rng.random(scores.shape) < 0.2
    bins = np.searchsorted(GRIDS[grid], scores, "left")
    for found, mask in zip(histograms(scores, truth, GRIDS[grid]), (truth, ~truth), strict=True):
        np.testing.assert_array_equal(found, np.bincount(bins[mask], minlength=len(GRIDS[grid]) + 1))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(list(GRIDS)))
def test_binary_maps_count_as_any_other_map(data, grid):
    scores = data.draw(hnp.arrays(np.float32, (4, 3), elements=st.sampled_from([0.0, 1.0, -0.0])))
    truth = data.draw(hnp.arrays(np.bool_, (4, 3)))
    bins = np.searchsorted(GRIDS[grid], scores, "left")
    for found, mask in zip(histograms(scores, truth, GRIDS[grid]), (truth, ~truth), strict=True):
        np.testing.assert_array_equal(found, np.bincount(bins[mask], minlength=len(GRIDS[grid]) + 1))


def test_bool_masks_are_score_maps_too():
    mask = np.array([[True, False], [True, True]])
    fg, bg = histograms(mask, ~mask, THRESHOLDS)
    assert (fg[0], bg[-1], fg.sum(), bg.sum()) == (1, 3, 1, 3)


def test_a_score_that_equals_a_threshold_does_not_exceed_it():
    fg, _ = histograms(THRESHOLDS[None], np.ones((1, 49), np.bool_), THRESHOLDS)
    assert fg.tolist() == [1] * 49 + [0]


def test_nan_exceeds_every_threshold_as_searchsorted_has_it():
    fg, _ = histograms(np.float32([[np.nan, 0.5]]), np.ones((1, 2), np.bool_), np.float32([0.25, 0.75]))
    assert fg.tolist() == [0, 1, 1]


def test_the_score_map_is_left_as_it_was():
    scores = np.float32([[0.9, 0.1], [0.5, 0.3]])
    before = scores.copy()
    histograms(scores, np.ones((2, 2), np.bool_), THRESHOLDS)
    np.testing.assert_array_equal(scores, before)


def test_histograms_are_int32():
    assert {hist.dtype for hist in histograms(np.float32([[0.4]]), np.ones((1, 1), np.bool_), THRESHOLDS)} == {np.dtype(np.int32)}


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) on a truth of shape \(3, 2\)"):
        histograms(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.bool_), THRESHOLDS)


@settings(max_examples=60, deadline=None)
@given(score_maps((4, 4)), hnp.arrays(np.bool_, (4, 4)))
def test_counts_at_every_threshold_equal_comparing_at_every_threshold(scores, truth):
    counts = counts_from_histograms(*histograms(scores, truth, THRESHOLDS))
    for k, threshold in enumerate(THRESHOLDS):
        positive = scores > threshold
        expected = (positive & truth, positive & ~truth, ~positive & truth, ~positive & ~truth)
        assert [int(count[k]) for count in counts] == [int(mask.sum()) for mask in expected]


def test_counts_of_many_samples_come_side_by_side():
    hist_fg = np.array([[1, 2, 3], [0, 4, 0]], np.int32)
    counts = counts_from_histograms(hist_fg, hist_fg[::-1])
    assert counts.tp.tolist() == [[5, 3], [4, 0]]
    assert counts.fn.tolist() == [[1, 3], [0, 4]]
    assert counts.fp.tolist() == [[4, 0], [5, 3]]


def test_counts_do_not_overflow_int32():
    counts = counts_from_histograms(np.full(3, 2**31 - 1, np.int32), np.zeros(3, np.int32))
    assert counts.tp.tolist() == [2**32 - 2, 2**31 - 1]


@pytest.mark.parametrize("k", range(49))
def test_binarising_at_a_threshold_leaves_out_the_pixels_that_equal_it(k):
    assert not binarise(THRESHOLDS[k : k + 1], float(THRESHOLDS[k])).any()


def test_binarising_rounds_the_threshold_to_float32():
    # float32(0.3) is above 0.3: a comparison in float64 would call it exceeded.
    assert not binarise(np.float32([0.3]), 0.3).any()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, (3, 4)), hnp.arrays(np.bool_, (3, 4)))
def test_overlap_equals_counting_pixel_by_pixel(pred, truth):
    pairs = list(zip(pred.ravel(), truth.ravel(), strict=True))
    expected = (sum(p and t for p, t in pairs), sum(p or t for p, t in pairs), sum(t for _, t in pairs), sum(p for p, _ in pairs))
    assert overlap(pred, truth) == expected


@pytest.mark.parametrize("odd", [None, -0.0, -1.0, np.nan, -np.nan, np.inf, -np.inf])
def test_a_table_and_a_sort_count_alike_next_to_every_threshold(odd, monkeypatch):
    scores = np.concatenate([AWKWARD, np.linspace(0, 1, 5000, dtype=np.float32), np.float32([] if odd is None else [odd])])[None]
    truth = (np.arange(scores.size) % 3 == 0)[None]
    used = []
    real = counts._by_table
    monkeypatch.setattr(counts, "_by_table", lambda *given: used.append(real(*given)) or used[-1])
    by_table = histograms(scores, truth, THRESHOLDS)
    assert (used[0] is not None) == (odd is None), "anything that is no plain score is sorted"
    monkeypatch.setattr(counts, "_table", lambda _: None)
    for mine, other in zip(by_table, histograms(scores, truth, THRESHOLDS), strict=True):
        assert mine.dtype == other.dtype == np.int32
        np.testing.assert_array_equal(mine, other)


def test_a_transposed_map_counts_as_its_copy():
    scores, truth = np.random.default_rng(0).random((7, 9), dtype=np.float32).T, (np.arange(63).reshape(7, 9) % 2 == 0).T
    for mine, other in zip(histograms(scores, truth, THRESHOLDS), histograms(scores.copy(), truth.copy(), THRESHOLDS), strict=True):
        np.testing.assert_array_equal(mine, other)
