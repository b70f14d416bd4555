"""Every polygon of the real photographs, by each rule and by the library behind it."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.masks.rasterise import polygon_oddities, rasterise

# pycocotools 2.0.11 still makes its masks in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def phrasecut_geometries(root):
    release = root / "VGPhraseCut_v0"
    images = {image["image_id"]: image for image in json.loads((release / "image_data_split3000.json").read_text())}
    for split in ("val", "miniv"):
        for task in json.loads((release / f"refer_{split}.json").read_text()):
            image = images[task["image_id"]]
            instances = tuple(tuple(polygon(ring) for ring in instance) for instance in task["Polygons"])
            yield Geometry(image["height"], image["width"], instances)


def refcoco_geometries(root):
    instances = json.loads((root / "refer" / "refcoco" / "instances.json").read_text())
    images = {image["id"]: image for image in instances["images"]}
    for annotation in instances["annotations"]:
        image = images[annotation["image_id"]]
        yield Geometry(image["height"], image["width"], (tuple(polygon(ring) for ring in annotation["segmentation"]),))


def test_phrasecut_polygons_by_scikit_image(real_data):
    for geometry in list(phrasecut_geometries(real_data))[::4]:
        size = geometry.height, geometry.width
        expected = np.max([polygon2mask(size, part.xy[:, ::-1]) for part in geometry.parts], axis=0)
        assert np.array_equal(rasterise(geometry.parts, *size, "skimage"), expected)


def test_phrasecut_polygons_by_pillow(real_data):
    for geometry in phrasecut_geometries(real_data):
        size = geometry.height, geometry.width
        expected = np.zeros(size, dtype=bool)
        for part in geometry.parts:
            image = Image.new("L", size[::-1], 0)
            ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in part.xy], outline=1, fill=1)
            expected |= np.asarray(image) > 0
        assert np.array_equal(rasterise(geometry.parts, *size, "pil"), expected)


def test_refcoco_polygons_by_pycocotools(real_data):
    for geometry in refcoco_geometries(real_data):
        size = geometry.height, geometry.width
        total = coco.decode(coco.frPyObjects([part.xy.ravel().tolist() for part in geometry.parts], *size)).sum(axis=2)
        assert np.array_equal(rasterise(geometry.parts, *size, "coco"), total > 0)
        assert np.array_equal(rasterise(geometry.parts, *size, "coco-sum-equals-one"), total == 1)


def test_refcoco_codes_are_those_of_pycocotools(real_data):
    for geometry in list(refcoco_geometries(real_data))[::3]:
        mask = rasterise(geometry.parts, geometry.height, geometry.width, "coco")
        code = rle.encode(mask)
        assert code.counts == coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
        assert np.array_equal(rle.decode(code), mask)


def test_nothing_is_odd_about_them(real_data):
    geometries = [*phrasecut_geometries(real_data), *refcoco_geometries(real_data)]
    assert {polygon_oddities(geometry) for geometry in geometries} == {()}
