"""The torch counts give the integers of the NumPy ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ldznet_bench.metrics import counts, torch_counts
from ldznet_bench.protocols import CLIPSEG_GRID, LOGIT_GRID

GRIDS = {"linear": CLIPSEG_GRID.thresholds(), "logit": LOGIT_GRID.thresholds()}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def assert_same_histograms(scores, truth, thresholds, device="cpu"):
    found = torch_counts.histograms(torch.from_numpy(scores).to(device), truth, thresholds)
    for ours, theirs in zip(found, counts.histograms(scores, truth, thresholds), strict=True):
        assert ours.dtype == np.int32
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("grid", list(GRIDS))
@pytest.mark.parametrize("scale", [1, 30])
def test_histograms_equal_numpys(grid, scale, device):
    rng = np.random.default_rng(scale)
    scores = torch.from_numpy(rng.normal(scale=scale, size=(61, 47)).astype(np.float32)).sigmoid().numpy()
    scores[::2] = rng.choice(GRIDS[grid], scores[::2].shape)
    assert_same_histograms(scores, rng.random(scores.shape) < 0.3, GRIDS[grid], device)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(width=32, allow_nan=True)), hnp.arrays(np.bool_, (3, 5)))
def test_histograms_equal_numpys_on_any_float(scores, truth):
    assert_same_histograms(scores, truth, GRIDS["linear"])


def test_histograms_take_maps_that_are_not_contiguous():
    scores = torch.rand(8, 6).T
    found = torch_counts.histograms(scores, np.ones((6, 8), np.bool_), GRIDS["linear"])
    np.testing.assert_array_equal(found[0], counts.histograms(scores.numpy(), np.ones((6, 8), np.bool_), GRIDS["linear"])[0])


def test_half_precision_maps_compare_in_float32():
    scores = torch.tensor([[0.3]], dtype=torch.float16)  # 0.30004883
    fg, _ = torch_counts.histograms(scores, np.ones((1, 1), np.bool_), np.float32([0.3]))
    assert fg.tolist() == [0, 1]


def test_histograms_take_maps_that_want_gradients_and_truths_on_the_device():
    scores = torch.rand(4, 4, requires_grad=True)
    fg, bg = torch_counts.histograms(scores, torch.ones(4, 4, dtype=torch.bool), GRIDS["linear"])
    assert (fg.sum(), bg.sum()) == (16, 0)


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="on a truth of shape"):
        torch_counts.histograms(torch.zeros(2, 3), np.zeros((3, 2), np.bool_), GRIDS["linear"])


@pytest.mark.parametrize("k", range(49))
def test_binarising_equals_numpys_at_the_thresholds(k):
    threshold = float(f"0.{2 * (k + 1):02d}")
    scores = np.nextafter(GRIDS["linear"][[k] * 3], np.float32([0, GRIDS["linear"][k], 1]))
    assert torch_counts.binarise(torch.from_numpy(scores), threshold).tolist() == counts.binarise(scores, threshold).tolist()


def test_truths_may_be_read_only():
    truth = np.ones((2, 2), np.bool_)
    truth.flags.writeable = False
    fg, bg = torch_counts.histograms(torch.ones(2, 2), truth, GRIDS["linear"])
    assert (fg.sum(), bg.sum()) == (4, 0)
