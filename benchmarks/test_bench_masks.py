"""Masks beside the field's idioms, in the same run: ``pytest benchmarks/test_bench_masks.py``.

Polygons as PhraseCut has them: 500x375 pixels, 1 to 5 (mean 3) polygons of 30 to 100 vertices, whole or with two decimals. Every pair is
first held equal. The ratio (best of rounds over best of rounds) is printed and kept in the benchmark's extra_info.
"""

from __future__ import annotations

import time
from functools import partial

import baselines_masks as field
import numpy as np
import pytest

from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, Polygon
from ldznet_bench.masks.rasterise import polygon_oddities, rasterise
from ldznet_bench.masks.resize import nearest_floor

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 375, 500
SAMPLES = 40


def polygons(decimals):
    """Per sample a list of star-shaped rings that reach over a good part of the image."""
    rng = np.random.default_rng(11)
    samples = []
    for _ in range(SAMPLES):
        rings = []
        for _ in range(rng.integers(1, 6)):
            angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(30, 101)))
            radius = rng.uniform(30, 180) * rng.uniform(0.6, 1, angle.size)
            ring = rng.uniform((50, 50), (450, 325)) + radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
            rings.append(np.round(ring.clip(0, (WIDTH - 1, HEIGHT - 1)), decimals))
        samples.append(rings)
    return samples


def blobs(height=480, width=640):
    """Masks of three discs, as smooth as predictions are."""
    rng = np.random.default_rng(12)
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((SAMPLES, height, width), dtype=bool)
    for mask in masks:
        for _ in range(3):
            centre = rng.uniform((0, 0), (height, width))
            mask |= (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < rng.uniform(30, 150) ** 2
    return list(masks)


@pytest.fixture
def beside(benchmark, capsys):
    """Times ours with pytest-benchmark and the field's in rounds of its own, per item, and says how many times faster ours is."""

    def compare(ours, theirs, items):
        for item in items:
            assert np.array_equal(ours(item), theirs(item))
        benchmark.pedantic(lambda: [ours(item) for item in items], rounds=7, warmup_rounds=1)
        rounds = []
        for _ in range(7):
            start = time.perf_counter()
            for item in items:
                theirs(item)
            rounds.append(time.perf_counter() - start)
        ratio = min(rounds) / benchmark.stats.stats.min
        mine, their = (seconds / len(items) * 1e6 for seconds in (benchmark.stats.stats.min, min(rounds)))
        benchmark.extra_info.update(us_per_item=mine, field_us_per_item=their, times_faster=ratio)
        with capsys.disabled():
            print(f"\n{benchmark.name}: {mine:.0f} us, the field's idiom {their:.0f} us: {ratio:.1f} times faster")
        return ratio

    return compare


def ours(rule, rings):
    return rasterise([Polygon(ring) for ring in rings], HEIGHT, WIDTH, rule)


@pytest.mark.parametrize("decimals", [0, 2], ids=["whole", "decimals"])
def test_clipseg_masks_beside_polygon2mask(beside, decimals):
    ratio = beside(partial(ours, "skimage"), lambda rings: field.polygon2mask_and_max(rings, HEIGHT, WIDTH), polygons(decimals))
    assert ratio > 10


@pytest.mark.parametrize("decimals", [0, 2], ids=["whole", "decimals"])
def test_phrasecut_masks_beside_a_canvas_per_polygon(beside, decimals):
    beside(partial(ours, "pil"), lambda rings: field.pillow_canvas_per_polygon(rings, HEIGHT, WIDTH), polygons(decimals))


@pytest.mark.parametrize("decimals", [0, 2], ids=["whole", "decimals"])
def test_coco_union_beside_merge_and_decode(beside, decimals):
    beside(partial(ours, "coco"), lambda rings: field.coco_merge_and_decode(rings, HEIGHT, WIDTH), polygons(decimals))


@pytest.mark.parametrize("decimals", [0, 2], ids=["whole", "decimals"])
def test_lavt_masks_beside_decode_and_sum(beside, decimals):
    beside(partial(ours, "coco-sum-equals-one"), lambda rings: field.coco_decode_and_sum(rings, HEIGHT, WIDTH), polygons(decimals))


def test_encode_beside_pycocotools(beside):
    beside(lambda mask: rle.encode(mask).counts, field.coco_encode, blobs())


def test_checked_decode_beside_unchecked_pycocotools(beside):
    beside(rle.decode, lambda code: field.coco_decode(code.counts, code.height, code.width), [rle.encode(mask) for mask in blobs()])


def test_nearest_truth_beside_torch(beside):
    beside(lambda mask: nearest_floor(mask, 352, 352), lambda mask: field.torch_nearest(mask, 352, 352), blobs())


def test_oddities(benchmark):
    geometries = [Geometry(HEIGHT, WIDTH, tuple((Polygon(ring),) for ring in rings)) for rings in polygons(2)]
    benchmark(lambda: [polygon_oddities(geometry) for geometry in geometries])
