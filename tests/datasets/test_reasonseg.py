"""ReasonSeg: the authors' painting order, ignored regions, the first query; bad input is named."""

from __future__ import annotations

import json

import make_releases
import numpy as np
import pytest

from ldznet_bench.errors import DataError
from ldznet_bench.masks.opencv import fill_polygon
from ldznet_bench.masks.rasterise import rasterise


@pytest.fixture
def folder(tmp_path):
    return make_releases.reasonseg(tmp_path / "data")


def read(folder, number, split="val"):
    content = (folder / split / f"{number}_img.json").read_bytes()
    return json.loads(content.decode("cp1252" if number == 1 else "utf-8"))


def write(folder, number, value, split="val"):
    (folder / split / f"{number}_img.json").write_text(json.dumps(value))


def painted(value, height, width):
    """get_mask_from_json, from its description: largest first, later ones over them."""
    shapes = [(shape["label"].lower(), fill_polygon(np.array(shape["points"], float), height, width)) for shape in value["shapes"]]
    shapes = [(label, mask) for label, mask in shapes if label != "flag"]
    canvas = np.zeros((height, width), np.uint8)
    for label, mask in sorted(shapes, key=lambda shape: -int(shape[1].sum())):
        canvas[mask] = 255 if "ignore" in label else 1
    return canvas


def test_truth_and_ignored_pixels_are_what_the_authors_script_paints(load, folder):
    data = load("reasonseg:val", folder.parent)
    assert data.sample_ids() == [f"{number}_img" for number in range(6)]
    for number in range(6):
        image, sample = data.find(f"{number}_img")
        expected = painted(read(folder, number), image.height, image.width)
        assert np.array_equal(rasterise(sample.geometry.parts, image.height, image.width, "coco"), expected == 1)
        ignored = rasterise(sample.geometry.ignore, image.height, image.width, "coco") if sample.geometry.ignore else np.zeros(expected.shape, bool)
        assert np.array_equal(ignored, expected == 255)


def test_a_small_target_on_an_ignored_region_is_painted_over_it(load, folder):
    big, small = [[5, 5], [60, 5], [60, 60], [5, 60]], [[20, 20], [30, 20], [30, 30], [20, 30]]
    shapes = [{"label": "target", "points": small}, {"label": "Ignore_me", "points": big}]
    write(folder, 0, {"text": ["x"], "is_sentence": False, "shapes": shapes})
    sample = load("reasonseg:val", folder).find("0_img")[1]
    assert rasterise(sample.geometry.parts, 70, 90, "coco").sum() == 11 * 11
    assert rasterise(sample.geometry.ignore, 70, 90, "coco").sum() == 56 * 56 - 11 * 11


def test_the_first_query_is_taken_and_tags_say_so(load, folder):
    data = load("reasonseg:test", folder)
    found = {number: data.find(f"{number}_img")[1] for number in range(6)}
    assert found[0].phrase == "what keeps the café warm, test 0?"
    assert found[1].phrase == "what keeps the café warm, test 1?"  # of a file in code page 1252
    assert found[0].tags == ("short-query", "first-of-2")
    assert found[1].tags == ("long-query", "first-of-1")


def test_an_image_without_a_shape_has_no_target(load, folder):
    write(folder, 0, {"text": ["nothing"], "is_sentence": False, "shapes": []})
    sample = load("reasonseg:val", folder).find("0_img")[1]
    assert sample.no_target
    assert sample.tags == ("short-query", "first-of-1", "no-target")


def test_an_absent_image_is_kept_where_the_json_states_its_size(load, folder):
    value = read(folder, 0)
    (folder / "val" / "0_img.jpg").unlink()
    with pytest.raises(DataError, match=r"0_img\.json: its image 0_img\.jpg cannot be read, and nothing else states its size"):
        load("reasonseg:val", folder)
    write(folder, 0, {**value, "imageHeight": 70, "imageWidth": 90})
    assert load("reasonseg:val", folder).problems()[0][0] == "0_img"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda value: value.update(text=[]), "'text' holds no query"),
        (lambda value: value.update(text="what?"), "'text' should be a list"),
        (lambda value: value.update(is_sentence="no"), "'is_sentence' should be true or false"),
        (lambda value: value["shapes"][0].update(points="[[1, 2], [3"), r"shape 0: 'points' should be a list, is '\[\[1, 2\], \[3'"),
        (lambda value: value["shapes"][0].update(points=[[1, 2], [3]]), r"shape 0: 'points' should hold \[x, y\] pairs of finite numbers"),
        (lambda value: value["shapes"][0].update(points=[[1, "2"], [3, 4]]), r"shape 0: 'points' should hold \[x, y\] pairs"),
        (lambda value: value["shapes"][0].update(points=[[500, 9], [600, 9], [600, 20]]), "shape 0: its polygon lies outside its image of 90x70"),
        (lambda value: value["shapes"][0].update(points=[[1, 9], [1e9, 9], [5, 20]]), r"a vertex at 1e\+09, far outside its image of 90x70"),
        (lambda value: value["shapes"][0].pop("label"), "shape 0: 'label' is missing"),
    ],
)
def test_bad_input_is_named(load, folder, edit, message):
    value = read(folder, 0)
    edit(value)
    write(folder, 0, value)
    with pytest.raises(DataError, match=message) as caught:
        load("reasonseg:val", folder)
    assert "0_img.json" in str(caught.value)


def test_what_is_no_json_and_no_release(load, folder):
    (folder / "val" / "0_img.json").write_text('{"text": [')
    with pytest.raises(DataError, match=r"0_img\.json is not valid JSON"):
        load("reasonseg:val", folder)
    folder.rename(folder.with_name("other"))
    with pytest.raises(DataError, match=r"holds a folder val/ with an image and a \.json"):
        load("reasonseg:val", folder.parent.parent)
