from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.metrics.scores import Columns
from ldznet_bench.statistics.failures import CLASSES, MEANING, boundary_iou, classify, wrong_at_outline_only


def one(inter: int, gt: int, pred: int, areas: list[int] | None = None, hits: list[int] | None = None) -> str:
    values = (np.array([value]) for value in (inter, gt + pred - inter, gt, pred))
    return classify(Columns(*values), [areas or [gt]], [hits or [inter]])[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((90, 100, 100), "good"),
        ((70, 100, 80), "boundary only"),
        ((0, 100, 0), "empty"),
        ((0, 0, 0), "good"),
        ((5, 100, 100), "wrong instance"),
        ((0, 0, 10), "wrong instance"),
        ((80, 100, 300), "spill"),
        ((30, 100, 40), "partial"),
        ((50, 100, 50, [50, 50], [50, 0]), "missed instance"),
        ((40, 100, 60, [50, 50], [20, 20]), "partial"),
    ],
)
def test_classes(arguments: tuple[int, int, int], expected: str) -> None:
    assert one(*arguments) == expected


def test_every_class_is_explained() -> None:
    assert set(MEANING) == set(CLASSES)


def slow_edge(mask: np.ndarray, width: int, ignored: np.ndarray | None = None) -> np.ndarray:
    edge = np.zeros_like(mask)
    ignored = np.zeros_like(mask) if ignored is None else ignored
    for y, x in zip(*(mask & ~ignored).nonzero(), strict=True):
        for dy in range(-width, width + 1):
            for dx in range(-width, width + 1):
                inside = 0 <= y + dy < mask.shape[0] and 0 <= x + dx < mask.shape[1]
                edge[y, x] |= not (inside and (mask[y + dy, x + dx] or ignored[y + dy, x + dx]))
    return edge


@given(seed=st.integers(0, 50), dilation=st.sampled_from([0.01, 0.1, 0.2]))
@settings(max_examples=25, deadline=None)
def test_boundary_iou_equals_the_obvious_loop(seed: int, dilation: float) -> None:
    rng = np.random.default_rng(seed)
    masks = [np.kron(rng.random((4, 5)) > 0.4, np.ones((4, 4), bool)) for _ in range(2)]
    width = max(1, round(dilation * np.hypot(16, 20)))
    one, other = (slow_edge(mask, width) for mask in masks)
    expected = (one & other).sum() / (one | other).sum() if (one | other).any() else None
    assert boundary_iou(*masks, dilation) == expected


@given(seed=st.integers(0, 50), dilation=st.sampled_from([0.01, 0.1]))
@settings(max_examples=25, deadline=None)
def test_ignored_pixels_are_left_out_of_boundaries(seed: int, dilation: float) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction, ignored = (np.kron(rng.random((4, 5)) > share, np.ones((4, 4), bool)) for share in (0.4, 0.4, 0.8))
    width = max(1, round(dilation * np.hypot(16, 20)))
    one, other = (slow_edge(mask, width, ignored) for mask in (truth, prediction))
    if not (one | other).any():
        one, other = truth & ~ignored, prediction & ~ignored
    expected = (one & other).sum() / (one | other).sum() if (one | other).any() else None
    assert boundary_iou(truth, prediction, dilation, ignored) == expected
    either = rng.random(truth.shape) > 0.5  # whatever they hold, in the truth or in the prediction
    filled = [np.where(ignored, either, mask) for mask in (truth, prediction)]
    assert boundary_iou(*filled, dilation, ignored) == expected
    assert wrong_at_outline_only(*filled, ignored) is wrong_at_outline_only(truth, prediction, ignored)


def test_ignored_pixels_make_no_outline() -> None:
    """A square whose lower half is to be ignored: right in its upper half is right."""
    truth, ignored = box(10, 10, 30, 30), box(25, 0, 35, 80)
    assert boundary_iou(truth, box(10, 10, 15, 30), ignored=ignored) == 1.0
    assert boundary_iou(truth, box(10, 10, 50, 30), ignored=ignored) == 1.0
    island = ~box(10, 10, 30, 30)
    assert boundary_iou(truth, box(0, 0, 60, 80), ignored=island) == 1.0
    assert boundary_iou(truth, box(10, 10, 15, 30) & ~truth, ignored=island) == 0.0
    assert wrong_at_outline_only(truth, box(9, 9, 50, 32), ignored) and not wrong_at_outline_only(truth, box(9, 9, 50, 32))


def test_identical_masks_have_identical_edges() -> None:
    mask = np.zeros((30, 30), bool)
    mask[5:20, 5:20] = True
    assert boundary_iou(mask, mask) == 1.0


def test_two_empty_masks_have_no_edge() -> None:
    assert boundary_iou(np.zeros((5, 5), bool), np.zeros((5, 5), bool)) is None


def box(y: int, x: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[y : y + height, x : x + width] = True
    return mask


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (box(9, 9, 32, 32), True),  # a pixel too large all around
        (box(13, 13, 24, 24), True),  # 3 pixels too small: a tenth of the side
        (box(10, 13, 30, 30), True),  # 3 pixels to the right
        (box(10, 25, 30, 30), False),  # half a side to the right
        (box(10, 10, 30, 15), False),  # half of the object
        (box(10, 10, 30, 30) | box(45, 60, 5, 5), False),  # and something else besides
        (box(45, 60, 5, 5), False),
        (np.zeros((60, 80), bool), False),
    ],
)
def test_mistakes_of_outline(prediction: np.ndarray, expected: bool) -> None:
    assert wrong_at_outline_only(box(10, 10, 30, 30), prediction) is expected


def test_no_truth_has_no_outline() -> None:
    assert not wrong_at_outline_only(np.zeros((60, 80), bool), box(1, 1, 3, 3))
    with pytest.raises(ValueError, match="shape"):
        wrong_at_outline_only(np.zeros((6, 8), bool), box(1, 1, 3, 3))


@given(seed=st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_the_band_equals_the_obvious_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.random((4, 5)) > 0.5, np.ones((4, 4), bool))
    prediction = truth ^ (rng.random(truth.shape) > 0.93)
    width = max(1, round(0.1 * np.sqrt(truth.sum())))
    near = slow_edge(truth, width)
    for y, x in zip(*(~truth).nonzero(), strict=True):
        near[y, x] = truth[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1].any()
    wrong = truth ^ prediction
    expected = bool((truth & prediction).any() and (wrong & ~near).sum() <= 0.1 * wrong.sum())
    assert wrong_at_outline_only(truth, prediction) is expected


def test_masks_overrule_the_guess_from_counts() -> None:
    counts = Columns(*(np.array([value, value]) for value in (70, 110, 100, 80)))
    assert classify(counts, [[100]] * 2, [[70]] * 2, [True, False]) == ["boundary only", "partial"]
