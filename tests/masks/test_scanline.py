"""The scanline against scikit-image itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from ldznet_bench.masks import scanline


def by_skimage(polygons, height, width):
    """The slow oracle: CLIPSeg's own call per polygon, and their union."""
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        if len(polygon):
            mask |= polygon2mask((height, width), polygon[:, ::-1])
    return mask


def same(polygons, height, width):
    polygons = [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons]
    ours = scanline.union(polygons, height, width)
    return ours.shape == (height, width) and ours.dtype == bool and np.array_equal(ours, by_skimage(polygons, height, width))


sides = st.integers(1, 24)
integers = st.integers(-4, 28).map(float)
halves = st.integers(-8, 56).map(lambda n: n / 2)
hundredths = st.integers(-400, 2800).map(lambda n: n / 100)
beside_integers = st.builds(
    lambda n, off: n + off,
    integers,
    st.sampled_from([0.0, 1e-13, -1e-13, 1e-12, -1e-12, 9.99e-13, 1e-9, -1e-9, 1e-7, -1e-7, 1e-6, -1e-6, 1.1e-6]),
)
anything = st.floats(-1e7, 1e7, allow_nan=False, allow_subnormal=True)
underflowing = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e-310, -1e-300, 1e-200, -1e-170, 1.0, 2.5, -3.0, 7.0])


def polygons_of(coordinates, max_size=10):
    return st.lists(st.tuples(coordinates, coordinates), max_size=max_size)


@pytest.mark.parametrize(
    "coordinates",
    [integers, halves, hundredths, beside_integers, anything, underflowing, st.one_of(integers, halves, beside_integers)],
    ids=["integers", "halves", "hundredths", "beside-integers", "anything", "underflowing", "mixed"],
)
def test_equals_polygon2mask(coordinates):
    @settings(max_examples=300, deadline=None)
    @given(polygons_of(coordinates), sides, sides)
    def check(polygon, height, width):
        assert same([polygon], height, width)

    check()


@settings(max_examples=150, deadline=None)
@given(st.lists(polygons_of(st.one_of(integers, hundredths), max_size=5), max_size=70), sides, sides)
def test_union_of_up_to_seventy_polygons(polygons, height, width):
    assert same(polygons, height, width)


@settings(max_examples=200, deadline=None)
@given(polygons_of(integers, max_size=6), st.data(), sides, sides)
def test_repeated_and_self_crossing_vertices(polygon, data, height, width):
    again = data.draw(st.lists(st.sampled_from(polygon), max_size=12)) if polygon else []
    assert same([polygon + again], height, width)


def through_pixel_centres(rng, reach):
    """A triangle whose longest edge passes pixel centres within rounding: the last bits of scikit-image's expression decide there."""
    start, end = rng.integers(0, 30, (2, 2))
    ends = start + (end - start) * np.array([[-rng.uniform(0, reach)], [1 + rng.uniform(0, reach)]])
    return np.vstack((ends, rng.uniform(-6, 36, (1, 2))))


def random_polygon(rng):
    count = rng.integers(1, 14)
    points = rng.uniform(-6, 36, (count, 2))
    kind = rng.integers(6)
    if kind == 0:
        return np.round(points)
    if kind == 1:
        return np.round(points * 2) / 2
    if kind == 2:
        return through_pixel_centres(rng, 1)
    if kind == 3:  # unit steps from one fractional point
        return points[:1] + np.cumsum(rng.integers(-1, 2, (count, 2)), axis=0)
    if kind == 4:
        return np.round(points)[rng.integers(0, count, 2 * count)]
    return np.round(points * rng.choice([0.01, 1, 10]), 2)


def test_four_thousand_random_polygons():
    rng = np.random.default_rng(20240607)
    cases = [(random_polygon(rng), *rng.integers(1, 32, 2).tolist()) for _ in range(4000)]
    assert [case for case in cases if not same(case[:1], *case[1:])] == []


@pytest.mark.parametrize("reach", [1, 1e3, 1e5, 1e7, 1e10, 1e13])
def test_edges_through_pixel_centres(reach):
    rng = np.random.default_rng(5)
    cases = [(through_pixel_centres(rng, reach), *rng.integers(20, 32, 2).tolist()) for _ in range(500)]
    assert [case for case in cases if not same(case[:1], *case[1:])] == []


@pytest.mark.parametrize("rounding", [0, 2])
def test_phrasecut_sizes(rounding):
    rng = np.random.default_rng(3)
    for _ in range(6):
        polygons = []
        for _ in range(rng.integers(1, 6)):
            angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(30, 101)))
            radius = rng.uniform(30, 200) * rng.uniform(0.6, 1, angle.size)
            centre = rng.uniform((0, 0), (500, 375))
            polygons.append(np.round(centre + radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1), rounding))
        assert same(polygons, 375, 500)


def test_stress_goldens(phrasecut_goldens):
    stress = phrasecut_goldens.expected["stress"]
    expected = phrasecut_goldens.packed("stress_sk", stress)
    ours = [scanline.union([np.array(case["polygon"], dtype=float)], case["height"], case["width"]) for case in stress]
    assert [k for k, case in enumerate(stress) if not np.array_equal(ours[k], expected[k])] == []


def test_no_polygons_no_pixels():
    assert not scanline.union([], 3, 4).any()


def test_a_polygon_without_points_covers_nothing():
    assert not scanline.union([np.empty((0, 2))], 3, 4).any()


def test_a_single_point_is_drawn_only_at_a_pixel_centre():
    masks = [scanline.union([np.array([point])], 3, 4) for point in ((2.0, 1.0), (2.0, 1.5))]
    assert [mask.sum() for mask in masks] == [1, 0]
    assert masks[0][1, 2]


def test_ordinary_polygons_never_fall_back(monkeypatch):
    def refuse(*_):
        raise AssertionError("fell back to scikit-image")

    monkeypatch.setattr(scanline, "_by_skimage", refuse)
    polygon = np.array([[-40.0, -3.5], [90000.0, 12.25], [31.0, 99999.5], [31.0, 12.0]])
    assert scanline.union([polygon, polygon / 1000], 60, 50).any()


@pytest.mark.parametrize("scale", [3e6, 1e9])
def test_coordinates_of_millions_of_pixels(scale):
    assert same([np.array([[-scale, 3.3], [scale, 5.1], [7.7, scale], [-3.0, -scale]])], 20, 30)


def test_edges_that_underflow():
    tiny = 5e-324
    assert same([[(0.3, -tiny), (9.4, tiny), (20.0, -tiny), (4.0, 3.0)]], 8, 25)


def test_result_is_contiguous_and_writable():
    mask = scanline.union([np.array([[1.0, 1.0], [5.0, 1.0], [3.0, 6.0]])], 9, 7)
    assert mask.flags.c_contiguous
    assert mask.flags.writeable
