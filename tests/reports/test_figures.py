from __future__ import annotations

from pathlib import Path

import pytest
from picture_dataset import PictureDataset, write_pictured_run
from PIL import Image
from synthetic_runs import write_run

from ldznet_bench.reports.figures import WIDTHS, write_figures
from ldznet_bench.reports.runs import find_runs

pytest.importorskip("matplotlib")


def test_two_dense_runs_have_curves_sizes_and_differences(tmp_path: Path) -> None:
    for name in ("a_$1", "b"):
        write_run(tmp_path / "runs", name, n_images=20, model_seed=len(name))
    files = write_figures(tmp_path / "out", find_runs(tmp_path / "runs")[0], {})
    assert sorted(file.name for file in files if file.suffix == ".pdf") == [
        f"phrasecut-test-clipseg@1-{kind}.pdf" for kind in ("images", "pr", "reliability", "size")
    ]


def test_fonts_are_embedded_and_widths_are_a_columns(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "a", n_images=20)
    files = write_figures(tmp_path / "out", find_runs(tmp_path / "runs")[0], {}, width="single")
    pdf = next(file for file in files if file.suffix == ".pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert f"/MediaBox [ 0 0 {72 * WIDTHS['single']:g}".encode() in pdf


def test_a_grid_shows_image_truth_and_every_model(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    for name, shift in (("a", 1), ("b", 30)):
        write_pictured_run(tmp_path / "runs", data, name, shift)
    files = write_figures(tmp_path / "out", find_runs(tmp_path / "runs")[0], {data.name: data}, rows=3)
    grid = next(file for file in files if file.name.endswith("grid.png"))
    with Image.open(grid) as image:
        assert image.width == pytest.approx(300 * WIDTHS["double"], abs=2)


def test_equal_runs_make_equal_bytes(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "a", n_images=20)
    runs = find_runs(tmp_path / "runs")[0]
    one, other = (write_figures(tmp_path / name, runs, {}) for name in ("one", "other"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]
