"""`masks.opencv` against masks that OpenCV itself drew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ldznet_bench.masks.opencv import fill_polygon

CASES = json.loads((Path(__file__).parents[1] / "goldens" / "masks" / "opencv.json").read_text())["cases"]


def mask_of(case: dict) -> np.ndarray:
    values = np.repeat(np.arange(len(case["runs"])) % 2 == 1, case["runs"])
    return values.reshape(case["size"])


def test_every_mask_equals_the_one_that_opencv_drew():
    wrong = [
        number for number, case in enumerate(CASES) if not np.array_equal(fill_polygon(np.array(case["points"], float), *case["size"]), mask_of(case))
    ]
    assert not wrong


def test_vertices_outside_the_image_are_cut_off():
    mask = fill_polygon(np.array([[-50.0, -50], [50, -50], [50, 5], [-50, 5]]), 10, 20)
    assert mask[:6].all()
    assert not mask[6:].any()


def test_a_ring_of_no_points_draws_nothing_and_one_far_away_is_refused():
    assert not fill_polygon(np.empty((0, 2)), 4, 4).any()
    with pytest.raises(ValueError, match="a vertex at 1e"):
        fill_polygon(np.array([[0.0, 0], [1e9, 0], [0, 1e9]]), 4, 4)
