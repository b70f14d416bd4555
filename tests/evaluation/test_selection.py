from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from fake import entries

from ldznet_bench.datasets.sample import ImageFile, ImageGroup, Sample
from ldznet_bench.evaluation.selection import select
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.protocols import get_protocol

NATIVE, CLIPSEG = get_protocol("native"), get_protocol("clipseg")


def square(side: float) -> tuple:
    return (polygon([0, 0, side, 0, side, side, 0, side]),)


def dataset(count: int = 40, per_image: int = 4) -> list[ImageGroup]:
    groups = []
    for start in range(0, count, per_image):
        image = ImageFile(f"im{start}", Path("x.jpg"), 100, 100)
        samples = tuple(
            Sample(f"s{k}", image.image_id, "p", Geometry(100, 100, (square(5 + 90 * (k % 3) / 2),) * (1 + k % 6)), boxes=((0, 0, 5, 5),))
            for k in range(start, start + per_image)
        )
        groups.append(ImageGroup(image, samples, start // per_image, start))
    return groups


def test_everything_is_selected_in_dataset_order():
    found = select(entries(dataset()), NATIVE, family="phrasecut")
    assert found.sample_ids == tuple(f"s{k}" for k in range(40))
    assert found.groups == tuple(range(10))
    assert found.excluded == 0


def test_clipseg_drops_its_images_and_empty_boxes_and_native_does_not():
    groups = dataset(8)
    groups[0] = dataclasses.replace(groups[0], samples=tuple(dataclasses.replace(s, image_id="61564") for s in groups[0].samples))
    flat = dataclasses.replace(groups[1].samples[0], boxes=((3, 3, 0, 9),))
    groups[1] = dataclasses.replace(groups[1], samples=(flat, *groups[1].samples[1:]))
    found = select(entries(groups), CLIPSEG, family="phrasecut")
    assert found.sample_ids == ("s5", "s6", "s7")
    assert found.excluded == 5
    assert len(select(entries(groups), NATIVE, family="phrasecut").sample_ids) == 8


def test_the_excluded_ids_are_phrasecuts_and_bind_no_other_family():
    groups = dataset(4)
    groups[0] = dataclasses.replace(groups[0], samples=tuple(dataclasses.replace(s, image_id="61564") for s in groups[0].samples))
    assert len(select(entries(groups), CLIPSEG, family="refcoco").sample_ids) == 4


def test_a_limit_keeps_every_stratums_share_and_a_smaller_one_is_drawn_the_same_way_again():
    found = select(entries(dataset(600)), NATIVE, family="x", limit=60)
    assert len(found.sample_ids) == 60
    numbers = np.array([int(ident[1:]) for ident in found.sample_ids])
    assert (np.diff(numbers) > 0).all()
    one_few_many = np.array([0, 1, 1, 1, 2, 2])[numbers % 6]
    assert np.bincount(one_few_many).tolist() == [10, 30, 20]
    assert found == select(entries(dataset(600)), NATIVE, family="x", limit=60)


def test_a_limit_beyond_the_dataset_keeps_all():
    assert len(select(entries(dataset(8)), NATIVE, family="x", limit=100).sample_ids) == 8


def test_skipped_samples_are_not_selected():
    assert select(entries(dataset(4)), NATIVE, family="x", skip={"s1"}).sample_ids == ("s0", "s2", "s3")
