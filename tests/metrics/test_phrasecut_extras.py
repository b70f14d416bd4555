"""Box scores and the rescaled mean of the official PhraseCut evaluator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ldznet_bench.metrics.phrasecut_extras import box_iou, box_scores, rescaled_mean

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens" / "metrics" / "phrasecut.json").read_text())
BOXES = GOLDENS["boxes"]
RESULTS = GOLDENS["runs"]["test_with_boxes"]["results"]


@pytest.mark.parametrize("task", list(BOXES))
def test_box_iou_equals_the_official_one(task):
    assert box_iou(BOXES[task]["pred"], BOXES[task]["truth"]) == pytest.approx(BOXES[task]["iou"], abs=1e-12)


@pytest.mark.parametrize("subset", list(RESULTS))
def test_box_scores_equal_the_official_ones_in_every_subset(subset):
    tasks = [task for task in BOXES if subset in GOLDENS["tasks"][task]["subsets"]]
    golden = RESULTS[subset]
    expected = {"box_acc": golden["box_acc"], "mean_box_iou": golden["mean_box_iou"]}
    expected |= {f"box_acc{float(level) * 100:.0f}": value for level, value in golden["pred_box_acc"].items()}
    found = box_scores([BOXES[task]["iou"] for task in tasks], [BOXES[task]["correct"] for task in tasks])
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_box_loses_its_last_row_and_column():
    # 4x4 is filled as 3x3, 3x3 as 2x2.
    assert box_iou([[0, 0, 4, 4]], [[0, 0, 3, 3]]) == pytest.approx(4 / 9)


def test_negative_coordinates_count_from_the_far_edge_of_the_canvas():
    # The canvas is 5 columns wide: columns -4 to 0 of the truth are none, columns -4 to 3 are 1 and 2.
    assert box_iou([[0, 0, 5, 5]], [[-4, 0, 5, 5]]) == 0.0
    assert box_iou([[0, 0, 5, 5]], [[-4, 0, 8, 5]]) == pytest.approx(2 / 4)


@pytest.mark.parametrize(("pred", "truth"), [([], [[0, 0, 5, 5]]), ([[0, 0, 5, 5]], []), ([], [])])
def test_no_boxes_score_0(pred, truth):
    assert box_iou(pred, truth) == 0.0


def test_missing_predictions_count_as_empty_ones_in_the_rescaled_mean():
    assert rescaled_mean(0.6, 2, 3) == pytest.approx((0.5 + 0.7 + 0.0) / 3)
