"""How photographs get to the network's grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ldznet_bench.models.diffusion_pixels import demo_pixels, demo_size, square_pixels


@pytest.mark.parametrize(
    ("photograph", "resized"),
    [
        ((512, 512), (384, 384)),
        ((640, 480), (384, 320)),
        ((480, 640), (320, 384)),
        ((500, 333), (448, 256)),
        ((576, 1024), (256, 512)),
        ((1920, 1080), (512, 256)),
        ((5000, 500), (1152, 64)),
        ((900, 400), (576, 256)),
    ],
)
def test_sizes_of_the_authors_notebook(photograph: tuple[int, int], resized: tuple[int, int]) -> None:
    """(width, height), as the facts list them."""
    assert demo_size(photograph[1], photograph[0], 384, 64) == resized[::-1]


@pytest.mark.parametrize(
    ("photograph", "resized"), [((20_000, 100), (2304, 64)), ((20_000, 1), (2304, 64)), ((1, 9999), (64, 2304)), ((1, 1), (384, 384))]
)
def test_sizes_that_the_authors_floor_to_zero(photograph: tuple[int, int], resized: tuple[int, int]) -> None:
    assert demo_size(photograph[1], photograph[0], 384, 64) == resized[::-1]


SIDES = st.integers(1, 30_000)


@given(SIDES, SIDES)
def test_demo_size_is_the_authors_wherever_theirs_is_not_zero(height: int, width: int) -> None:
    new_width = int(math.sqrt(384 * 384 / (height / width)))
    theirs = int(height / width * new_width) // 64 * 64, new_width // 64 * 64
    if 0 not in theirs:
        assert demo_size(height, width, 384, 64) == theirs


@given(SIDES, SIDES, st.sampled_from([(384, 64), (96, 16), (128, 64)]))
def test_demo_size_is_never_too_large_nor_empty(height: int, width: int, sizes: tuple[int, int]) -> None:
    side, multiple = sizes
    rows, columns = demo_size(height, width, side, multiple)
    assert rows % multiple == columns % multiple == 0
    assert 0 < rows * columns <= side * side


def photograph(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_values_are_scaled_to_minus_one_and_one() -> None:
    image = Image.fromarray(np.array([[[0, 255, 51]]], dtype=np.uint8))
    assert square_pixels(image, 1).flatten().tolist() == pytest.approx([-1, 1, -0.6])


def test_square_keeps_the_corners() -> None:
    """Aligned corners: the four corner pixels stay what they were."""
    image = photograph(50, 70)
    corners = (torch.from_numpy(np.array(image)[[0, 0, -1, -1], [0, -1, 0, -1]]).float() / 255 * 2 - 1).T
    assert torch.allclose(square_pixels(image, 96)[0][:, [0, 0, -1, -1], [0, -1, 0, -1]], corners, atol=1e-4)


def test_square_of_the_right_size_is_untouched() -> None:
    image = photograph(96, 96)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    assert torch.equal(square_pixels(image, 96), expected)


def test_demo_resizes_by_lanczos() -> None:
    image = photograph(480, 640)
    expected = np.array(image.resize((384, 320), Image.Resampling.LANCZOS))
    assert torch.equal(demo_pixels(image, 384, 64)[0].permute(1, 2, 0), torch.from_numpy(expected).float() / 255 * 2 - 1)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    assert square_pixels(photograph(8, 8).convert(mode), 16).shape == (1, 3, 16, 16)
