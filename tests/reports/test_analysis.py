from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from picture_dataset import PictureDataset, write_pictured_run

from ldznet_bench.errors import BenchError
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.reports.analysis import analyse, to_text
from ldznet_bench.reports.runs import read_run


def test_a_perfect_run_has_no_failure_and_whole_edges(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    found = analyse(read_run(write_pictured_run(tmp_path / "runs", data, "oracle", shift=0)), data)
    assert found.failures["good"] == found.n_samples
    assert found.boundary_iou == 1.0
    assert "Boundary IoU" in to_text(found)


def test_a_shifted_run_has_worse_edges_than_masks(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    run = read_run(write_pictured_run(tmp_path / "runs", data, "shifted", shift=3))
    found = analyse(run, data)
    assert found.boundary_iou is not None and found.boundary_iou < run.summary["metrics"]["miou"]


def test_other_data_is_refused(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    run = read_run(write_pictured_run(tmp_path / "runs", data, "a", shift=0))
    data.fingerprint = "0" * 64
    with pytest.raises(BenchError, match="fingerprints differ"):
        analyse(run, data)


def test_dense_runs_have_calibration_and_transfer(tmp_path: Path) -> None:
    from synthetic_runs import write_run

    found = analyse(read_run(write_run(tmp_path, "a", n_images=10)))
    assert found.calibration is not None and 0 < found.calibration.ece < 1
    assert found.transfer is not None and found.transfer.at_best >= found.transfer.at_threshold
    assert np.isclose(sum(found.failures.values()), found.n_samples)


def test_an_empty_slice_is_explained(tmp_path: Path) -> None:
    from synthetic_runs import write_run

    with pytest.raises(BenchError, match="no sample"):
        analyse(read_run(write_run(tmp_path, "a", n_images=3)), where="size>2")


def test_where_the_class_of_outlines_comes_from_is_said(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    run = read_run(write_pictured_run(tmp_path / "runs", data, "a", shift=20))
    by_masks, by_counts = analyse(run, data), analyse(run)
    assert (by_masks.failures_from, by_counts.failures_from) == ("masks", "counts")
    assert by_counts.failures["boundary only"] == by_counts.n_samples  # an IoU of 0.6 looks like one
    assert by_masks.failures["boundary only"] == 0  # a quarter of the width aside is none
    assert "from counts" in to_text(by_counts) and "from counts" not in to_text(by_masks)


def test_ignored_pixels_count_in_no_boundary(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    run = read_run(write_pictured_run(tmp_path / "runs", data, "a", 0))
    for name, (file, sample) in data.samples.items():
        # The truth reaches 40 pixels further down, where all is to be ignored.
        x, y = 20 + 5 * (int(name.split("__")[1])), 30 + 3 * int(name.split("__")[1])
        part = polygon([x, y, x + 80, y, x + 80, y + 100, x, y + 100])
        rest = polygon([0, y + 60, 200, y + 60, 200, 200, 0, 200])
        data.samples[name] = (file, replace(sample, geometry=Geometry(200, 200, ((part,),), (rest,))))
    assert analyse(run, data).boundary_iou == 1.0
