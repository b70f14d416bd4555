"""Every rule against its source: goldens of the official codes, and the libraries they call."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, Rle, polygon
from ldznet_bench.masks.rasterise import MAX_COORDINATE, covered, outline, polygon_oddities, rasterise
from ldznet_bench.masks.resize import nearest_floor, nearest_pil
from ldznet_bench.masks.spans import spans_of

# pycocotools 2.0.11 still makes its masks in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RULES = ("pil", "skimage", "coco", "coco-sum-equals-one")
TRIANGLE = polygon([1, 1, 9, 2, 4, 8])


def parts_of(segmentation):
    """Parts of a COCO segmentation: lists of polygons, or of compressed dicts."""
    return [polygon(part) if isinstance(part, list) else rle.from_coco(part) for part in segmentation]


def pil_each_on_its_canvas(rings, height, width):
    mask = np.zeros((height, width), dtype=bool)
    for ring in rings:
        if len(ring) > 1:
            image = Image.new("L", (width, height), 0)
            ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in ring], outline=1, fill=1)
            mask |= np.array(image) > 0
    return mask


def coco_sum(rings, height, width):
    rings = [ring.ravel().tolist() for ring in rings]
    return coco.decode(coco.frPyObjects(rings, height, width)).sum(axis=2).astype(np.uint8)


# Goldens


def test_phrasecut_pixels_and_md5(phrasecut_goldens):
    wrong = []
    for task_id, task in phrasecut_goldens.expected["tasks"].items():
        mask = rasterise([polygon(ring) for instance in task["instances"] for ring in instance], task["height"], task["width"], "pil")
        # Not a secret: the fingerprint that the goldens were published with.
        digest = hashlib.md5(np.packbits(mask).tobytes(), usedforsecurity=False).hexdigest()
        if (mask.sum(), digest) != (task["pil_pixels"], task["pil_md5"]):
            wrong.append(task_id)
    assert wrong == []


@pytest.mark.parametrize(("rule", "golden"), [("pil", "pil"), ("skimage", "sk")])
def test_phrasecut_masks(phrasecut_goldens, rule, golden):
    tasks = phrasecut_goldens.expected["tasks"]
    expected = phrasecut_goldens.packed(golden, list(tasks.values()))
    wrong = []
    for (task_id, task), truth in zip(tasks.items(), expected, strict=True):
        mask = rasterise([polygon(ring) for instance in task["instances"] for ring in instance], task["height"], task["width"], rule)
        if not np.array_equal(mask, truth):
            wrong.append(task_id)
    assert wrong == []


@pytest.mark.parametrize(("rule", "golden"), [("pil", "stress_pil"), ("skimage", "stress_sk")])
def test_stress_polygons(phrasecut_goldens, rule, golden):
    stress = phrasecut_goldens.expected["stress"]
    expected = phrasecut_goldens.packed(golden, stress)
    wrong = [
        (k, case["kind"])
        for k, case in enumerate(stress)
        if not np.array_equal(rasterise([polygon(case["polygon"])], case["height"], case["width"], rule), expected[k])
    ]
    assert wrong == []


def test_clipseg_targets(phrasecut_goldens):
    tasks, ids = phrasecut_goldens.expected["tasks"], phrasecut_goldens.expected["clipseg_task_ids"]
    targets = []
    for task_id in ids:
        task = tasks[task_id]
        mask = rasterise([polygon(ring) for instance in task["instances"] for ring in instance], task["height"], task["width"], "skimage")
        targets.append(nearest_floor(mask, 48, 48))
    assert np.array_equal(np.packbits(np.stack(targets)), phrasecut_goldens.arrays["clipseg48"])


def test_refer_masks(refcoco_goldens):
    sums, at, wrong = refcoco_goldens.arrays["masks"], 0, []
    for key in refcoco_goldens.expected["masked"]:
        ref = refcoco_goldens.expected["refs"][key]
        height, width = ref["height"], ref["width"]
        truth = sums[at : at + height * width].reshape(height, width)
        at += height * width
        parts = parts_of(ref["segmentation"])
        union, once = (rasterise(parts, height, width, rule) for rule in ("coco", "coco-sum-equals-one"))
        counts = (sum(rasterise([part], height, width, "coco").sum() for part in parts), once.sum(), union.sum())
        if not (np.array_equal(union, truth > 0) and np.array_equal(once, truth == 1)) or counts != (ref["area"], ref["eq1"], ref["gt0"]):
            wrong.append(key)
    assert at == sums.size
    assert wrong == []


def test_lavt_targets(refcoco_goldens):
    wrong = []
    for run, ref_ids in refcoco_goldens.expected["targets"].items():
        dataset = run.split("/")[0]
        targets = []
        for ref_id in ref_ids:
            ref = refcoco_goldens.expected["refs"][f"{dataset}|{ref_id}"]
            mask = rasterise(parts_of(ref["segmentation"]), ref["height"], ref["width"], "coco-sum-equals-one")
            targets.append(nearest_pil(mask, 480, 480))
        if not np.array_equal(np.packbits(np.stack(targets)), refcoco_goldens.arrays[f"target480|{run}"]):
            wrong.append(run)
    assert wrong == []


# The libraries, on anything

numbers = st.one_of(st.integers(-6, 30).map(float), st.integers(-600, 3000).map(lambda n: n / 100))
rings = st.lists(st.tuples(numbers, numbers), max_size=9).map(lambda points: np.array(points, dtype=float).reshape(-1, 2))
whole_rings = rings.filter(lambda ring: len(ring) >= 3)
sides = st.integers(1, 24)


@settings(max_examples=300, deadline=None)
@given(st.lists(rings, max_size=5), sides, sides)
def test_pil_on_one_canvas_equals_one_canvas_per_polygon(rings, height, width):
    mask = rasterise([polygon(ring) for ring in rings], height, width, "pil")
    assert np.array_equal(mask, pil_each_on_its_canvas(rings, height, width))


@settings(max_examples=300, deadline=None)
@given(st.lists(whole_rings, min_size=1, max_size=5), sides, sides)
def test_coco_rules_equal_pycocotools(rings, height, width):
    parts = [polygon(ring) for ring in rings]
    total = coco_sum(rings, height, width)
    assert np.array_equal(rasterise(parts, height, width, "coco"), total > 0)
    assert np.array_equal(rasterise(parts, height, width, "coco-sum-equals-one"), total == 1)


@settings(max_examples=300, deadline=None)
@given(rings.filter(lambda ring: len(ring) < 3), sides, sides)
def test_under_three_points_cover_nothing_where_pycocotools_takes_them(ring, height, width):
    whole = [0.0, 0.0, 5.0, 0.0, 5.0, 5.0]  # after a whole polygon frPyObjects takes a ring of any length
    assert coco.area(coco.frPyObjects([whole, ring.ravel().tolist()], height, width))[1] == 0
    assert not rasterise([polygon(ring)], height, width, "coco").any()


# Outlines: the same masks as spans

codes = st.tuples(sides, sides, st.integers(0, 2**32)).map(lambda its: rle.encode(np.random.default_rng(its[2]).random(its[:2]) < 0.5))


def is_outlined(parts, height, width, rule):
    mask = rasterise(parts, height, width, rule)
    return outline(parts, height, width, rule).tolist() == spans_of(mask).tolist() and covered(parts, height, width, rule) == mask.sum()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(rings.map(polygon), codes), max_size=5), sides, sides, st.sampled_from(RULES))
def test_outlines_are_those_of_the_masks(parts, height, width, rule):
    assert is_outlined(parts, height, width, rule)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-90000, 90000).map(lambda n: n / 100)] * 2), min_size=2, max_size=7), st.sampled_from(["pil", "coco"]))
def test_outlines_of_polygons_larger_than_the_canvas(points, rule):
    assert is_outlined([polygon(np.array(points))], 300, 400, rule)


@pytest.mark.parametrize("rule", ["pil", "coco"])
def test_outlines_of_stress_polygons(phrasecut_goldens, rule):
    stress = [([polygon(case["polygon"])], case["height"], case["width"]) for case in phrasecut_goldens.expected["stress"]]
    assert [place for place, case in enumerate(stress) if not is_outlined(*case, rule)] == []


@pytest.mark.parametrize("rule", RULES)
def test_no_parts_no_pixels(rule):
    assert outline([], 5, 7, rule).size == 0
    assert not rasterise([], 5, 7, rule).any()


@pytest.mark.parametrize("rule", RULES)
def test_a_mask_is_bool_contiguous_and_writable(rule):
    mask = rasterise([TRIANGLE], 11, 13, rule)
    assert (mask.shape, mask.dtype, mask.flags.c_contiguous, mask.flags.writeable) == ((11, 13), bool, True, True)


def test_pil_truncates_toward_zero():
    assert rasterise([polygon([-0.9, -0.9, 2.9, 0, 0, 2.9])], 5, 5, "pil").sum() == 6


def test_pil_draws_two_points_as_a_line():
    assert rasterise([polygon([1, 2, 6, 2])], 5, 9, "pil").sum() == 6


def test_lavt_rule_takes_overlaps_for_background():
    square, inner = polygon([0, 0, 0, 8, 8, 8, 8, 0]), polygon([2, 2, 2, 6, 6, 6, 6, 2])
    assert rasterise([square, inner], 10, 10, "coco-sum-equals-one").sum() == 64 - 16


def test_lavt_rule_wraps_round_after_255_parts():
    assert rasterise([TRIANGLE] * 257, 10, 10, "coco-sum-equals-one").any()
    assert not rasterise([TRIANGLE] * 256, 10, 10, "coco-sum-equals-one").any()


# Run-length codes beside polygons


@pytest.mark.parametrize("rule", ["pil", "skimage", "coco"])
def test_codes_bypass_the_rule(rule):
    bitmap = np.zeros((11, 13), dtype=bool)
    bitmap[9:, 10:] = True
    mask = rasterise([TRIANGLE, rle.encode(bitmap)], 11, 13, rule)
    assert np.array_equal(mask, rasterise([TRIANGLE], 11, 13, rule) | bitmap)


def test_codes_count_in_the_sum():
    code = rle.encode(rasterise([TRIANGLE], 11, 13, "coco"))
    assert not rasterise([TRIANGLE, code], 11, 13, "coco-sum-equals-one").any()


@pytest.mark.parametrize(("height", "width"), [(4, 9), (9, 4), (4, 4), (9, 9), (6, 5)])
def test_a_code_of_another_size_is_cropped_or_padded(height, width):
    bitmap = np.random.default_rng(0).random((6, 5)) < 0.5
    expected = np.pad(bitmap, ((0, 9), (0, 9)))[:height, :width]
    assert np.array_equal(rasterise([rle.encode(bitmap)], height, width, "coco"), expected)


# Bad input


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 2 * MAX_COORDINATE])
def test_coordinates_that_are_no_pixels(rule, value):
    for make in (rasterise, outline):
        with pytest.raises(DataError, match="vertex"):
            make([TRIANGLE, polygon([1, 2, value, 3, 4, 5])], 10, 10, rule)


@pytest.mark.parametrize("rule", ["pil", "skimage"])
def test_far_outside_is_clipped(rule):
    far = MAX_COORDINATE
    parts = [polygon([-far, -far, far, -far, far, far, -far, far])]
    assert rasterise(parts, 10, 12, rule).all()
    assert outline(parts, 10, 12, rule).tolist() == [0, 120]


@pytest.mark.parametrize("rule", ["coco", "coco-sum-equals-one"])
def test_an_outline_that_would_take_gigabytes(rule):
    with pytest.raises(DataError, match="outline"):
        rasterise([polygon([0, 0, MAX_COORDINATE, 0, 0, MAX_COORDINATE])], 10, 10, rule)


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5), (2**20, 2**20)])
def test_canvases_that_cannot_be(height, width):
    with pytest.raises(DataError, match="rows"):
        rasterise([TRIANGLE], height, width, "pil")


def test_a_corrupt_code():
    for make in (rasterise, outline):
        with pytest.raises(DataError, match="run-length code"):
            make([Rle(4, 4, b"o")], 4, 4, "coco")


def test_an_unknown_rule_names_the_nearest():
    for make in (rasterise, outline):
        with pytest.raises(BenchError, match="skimage"):
            make([TRIANGLE], 10, 10, "skimag")  # type: ignore[arg-type]


# Oddities


@pytest.mark.parametrize(
    ("rings", "expected"),
    [
        ([], ()),
        ([[0, 0, 10, 0, 10, 8]], ()),
        ([[-1, 0, 11, 0, 10, 9]], ()),
        ([[0, 0, 10, 0, 10, 8], [1, 1, 2, 2]], ("polygon-under-3-points",)),
        ([[]], ("polygon-under-3-points",)),
        ([[0, 0, 11.5, 0, 10, 8]], ("polygon-outside-canvas",)),
        ([[0, -1.5, 10, 0, 10, 8]], ("polygon-outside-canvas",)),
        ([[0, 9.5]], ("polygon-under-3-points", "polygon-outside-canvas")),
    ],
)
def test_oddities(rings, expected):
    assert polygon_oddities(Geometry(8, 10, tuple((polygon(ring),) for ring in rings))) == expected


def test_codes_are_not_odd():
    assert polygon_oddities(Geometry(4, 4, ((rle.encode(np.ones((4, 4), dtype=bool)),),))) == ()
