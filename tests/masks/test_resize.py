"""Nearest-neighbour resizing against torch and Pillow themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ldznet_bench.masks.resize import nearest_floor, nearest_pil

masks = hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)))
sides = st.integers(1, 40)


def by_torch(mask, height, width, dtype=torch.uint8):
    batch = torch.from_numpy(mask).to(dtype)[None, None]
    return torch.nn.functional.interpolate(batch, size=(height, width), mode="nearest")[0, 0].numpy() > 0


@pytest.mark.parametrize("out", [1, 7, 48, 352, 384, 480, 1000])
def test_every_size_up_to_a_thousand_takes_torchs_pixels(out):
    wrong = []
    for size in range(1, 1001):
        ladder = torch.arange(size, dtype=torch.float32)[None, None]
        expected = torch.nn.functional.interpolate(ladder, size=out, mode="nearest")[0, 0].numpy().astype(int)
        # The index of the source row, in binary, column by column.
        bits = (np.arange(size)[:, None] >> np.arange(10)) & 1 == 1
        taken = nearest_floor(bits, out, 10) @ (1 << np.arange(10))
        if not np.array_equal(taken, expected):
            wrong.append(size)
    assert wrong == []


@settings(max_examples=150, deadline=None)
@given(masks, sides, sides, st.sampled_from([torch.uint8, torch.float32]))
def test_nearest_floor_equals_torch(mask, height, width, dtype):
    assert np.array_equal(nearest_floor(mask, height, width), by_torch(mask, height, width, dtype))


def test_float64_would_take_other_rows():
    exact = np.floor(np.arange(352) * (480 / 352)).astype(int)
    rows = np.arange(480)[:, None] == exact[None, :]
    assert not np.array_equal(nearest_floor(rows, 352, 352), rows[exact])


@settings(max_examples=150, deadline=None)
@given(masks, sides, sides)
def test_nearest_pil_equals_pillow(mask, height, width):
    image = Image.fromarray(mask.astype(np.uint8))
    expected = np.asarray(image.resize((width, height), Image.Resampling.NEAREST)) > 0
    assert np.array_equal(nearest_pil(mask, height, width), expected)


@pytest.mark.parametrize("width", [64, 128, 500, 640])
def test_nearest_pil_accumulates_the_source_position(width):
    position, columns = width / 480 / 2, []
    for _ in range(480):
        columns.append(int(position))
        position += width / 480
    mask = np.random.default_rng(width).random((3, width)) < 0.5
    assert np.array_equal(nearest_pil(mask, 3, 480), mask[:, columns])


@pytest.mark.parametrize("resize", [nearest_floor, nearest_pil])
def test_result_is_bool_contiguous_and_writable(resize):
    out = resize(np.asfortranarray(np.eye(9, 5, dtype=bool)), 12, 4)
    assert (out.shape, out.dtype, out.flags.c_contiguous, out.flags.writeable) == ((12, 4), bool, True, True)
