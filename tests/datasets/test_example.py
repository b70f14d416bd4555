import filecmp
import json

import make_example
import numpy as np
from PIL import Image

from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.share import shared


def test_it_loads_without_a_data_root(load):
    data = load("example:test")
    assert (data.name, data.n_samples, data.n_images, data.mini, data.partial) == ("example:test", 40, 12, True, ())
    assert data.problems() == [] and data.oddities() == {}


def test_the_committed_set_is_what_the_script_draws(tmp_path):
    make_example.write(tmp_path)
    committed = shared("datasets") / "example"
    names = sorted(path.relative_to(committed).as_posix() for path in committed.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    for name in names:
        if name.endswith(".png"):  # by pixels: other builds of zlib write other bytes
            assert np.array_equal(np.asarray(Image.open(committed / name)), np.asarray(Image.open(tmp_path / name)))
        else:
            assert filecmp.cmp(committed / name, tmp_path / name, shallow=False)


def test_all_three_kinds_of_geometry_are_there():
    rows = [json.loads(line) for line in (shared("datasets") / "example" / "phrases.jsonl").read_text().splitlines()]
    assert {key for row in rows for key in ("mask", "rle", "polygons") if key in row} == {"mask", "rle", "polygons"}


def test_masks_lie_on_pixels_of_the_named_colour(load):
    data = load("example:test")
    for group in data.groups():
        pixels = np.asarray(Image.open(group.image.path).convert("RGB")).astype(int)
        for sample in group.samples:
            colour = sample.phrase.split()[0]
            if colour in make_example.COLOURS:
                mask = rasterise(sample.geometry.parts, sample.geometry.height, sample.geometry.width, "coco")
                assert (np.abs(pixels[mask] - make_example.COLOURS[colour]).sum(axis=1) < 5).mean() > 0.9
