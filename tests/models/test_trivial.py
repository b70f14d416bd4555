"""Segmenters without weights: held against a pure Python PCG64 and the rules in their docstrings."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.models.segmenter import Pair
from ldznet_bench.models.trivial import WEIGHT_FREE, Box, Center, Empty, Full, Noise, Oracle

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**64 - 1)


def pcg64(seed: int, count: int) -> list[int]:
    """PCG XSL RR 128/64 (O'Neill 2014), seeded as numpy seeds it: the obvious way."""
    words = [int(word) for word in np.random.SeedSequence(seed).generate_state(4, np.uint64)]
    mask = 2**128 - 1
    multiplier = (2549297995355413924 << 64) + 4865540595714422341
    increment = (((words[2] << 64) + words[3]) << 1 | 1) & mask
    state = (increment + ((words[0] << 64) + words[1])) & mask
    state = (state * multiplier + increment) & mask
    numbers = []
    for _ in range(count):
        state = (state * multiplier + increment) & mask
        value, turn = (state >> 64) ^ (state & (2**64 - 1)), state >> 122
        numbers.append((value >> turn | value << (64 - turn)) & (2**64 - 1))
    return numbers


def pair(height: int, width: int, seed: int) -> Pair:
    return Pair("s", "phrase", height, width, seed, None, None)


@given(sizes, sizes, seeds)
def test_box_spans_two_uniform_corners(height: int, width: int, seed: int) -> None:
    x = sorted((draw * width) >> 64 for draw in pcg64(seed, 4)[:2])
    y = sorted((draw * height) >> 64 for draw in pcg64(seed, 4)[2:])
    expected = np.array([[y[0] <= row <= y[1] and x[0] <= column <= x[1] for column in range(width)] for row in range(height)])
    np.testing.assert_array_equal(Box().score(height, width, seed), expected.astype(np.float32))


def test_box_does_not_change_between_versions() -> None:
    box = np.argwhere(Box().score(375, 500, 0xDEADBEEF))
    assert (box.min(0).tolist(), box.max(0).tolist()) == ([326, 174], [342, 312])


def test_box_corners_are_uniform() -> None:
    first_columns = [int(np.nonzero(Box().score(1, 4, seed))[1].min()) for seed in range(4000)]
    # The smaller of two uniform draws from four columns: 7, 5, 3 and 1 sixteenths; four deviations of the count.
    for column, share in enumerate((7 / 16, 5 / 16, 3 / 16, 1 / 16)):
        assert abs(first_columns.count(column) - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5


@given(sizes, sizes, seeds)
def test_noise_is_24_bits_of_the_raw_stream(height: int, width: int, seed: int) -> None:
    expected = [(draw >> 40) / 2**24 for draw in pcg64(seed, height * width)]
    assert Noise().score(height, width, seed).ravel().tolist() == expected


def test_noise_does_not_change_between_versions() -> None:
    assert Noise().score(1, 3, 7).ravel().tolist() == [0.6250954270362854, 0.8972137570381165, 0.7756856679916382]


@given(sizes, sizes)
def test_center_is_half_of_each_side_in_the_middle(height: int, width: int) -> None:
    rows, columns = np.nonzero(Center().score(height, width, 0))
    for found, size in ((rows, height), (columns, width)):
        before, inside, after = found.min(), found.max() - found.min() + 1, size - 1 - found.max()
        assert inside == -(-size // 2)
        assert 0 <= after - before <= 1


def test_empty_and_full() -> None:
    assert not Empty().score(3, 4, 0).any()
    assert Full().score(3, 4, 0).all()


@pytest.mark.parametrize("name", [name for name in WEIGHT_FREE if name != "oracle"])
def test_maps_lie_on_the_annotation_canvas(name: str) -> None:
    (scores,) = WEIGHT_FREE[name]().predict([pair(5, 7, 3)])
    assert (scores.shape, scores.dtype) == ((5, 7), np.float32)


@pytest.mark.parametrize("name", ["box", "noise"])
def test_a_map_does_not_depend_on_its_batch(name: str) -> None:
    pairs = [pair(6, 9, seed) for seed in range(5)]
    together = WEIGHT_FREE[name]().predict(pairs)
    alone = [WEIGHT_FREE[name]().predict([one])[0] for one in reversed(pairs)]
    np.testing.assert_array_equal(np.stack(together), np.stack(alone[::-1]))


@pytest.mark.parametrize("name", sorted(WEIGHT_FREE))
def test_only_noise_is_dense(name: str) -> None:
    assert WEIGHT_FREE[name].binary == (name != "noise")


@pytest.mark.parametrize("name", sorted(WEIGHT_FREE))
def test_batching_and_weights_do_not_enter_the_identity(name: str) -> None:
    segmenter = WEIGHT_FREE[name]()
    assert (segmenter.name, segmenter.micro_batch, segmenter.weights, segmenter.recipe) == (name, None, None, {"rule": 1})


def test_oracle_cannot_decode() -> None:
    with pytest.raises(TypeError, match="does not see the truth"):
        Oracle().decode([pair(2, 2, 0)])


def test_no_image_is_opened() -> None:
    assert Full().encode_image([object()]) == [None]  # type: ignore[list-item]


def test_needs_no_torch() -> None:
    code = "import sys; from ldznet_bench.models.load import load_model; load_model('box'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
