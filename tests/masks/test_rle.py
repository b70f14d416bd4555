"""Run-length codes against pycocotools, and what a hostile file may hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from ldznet_bench.errors import BenchError, DataError, PredictionError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Rle
from ldznet_bench.masks.spans import spans_of

# pycocotools 2.0.11 still makes its masks in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

masks = hnp.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def by_coco(mask):
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))


@settings(max_examples=300, deadline=None)
@given(masks)
def test_encode_is_byte_equal_to_pycocotools(mask):
    assert rle.encode(mask).counts == by_coco(mask)["counts"]


@settings(max_examples=100, deadline=None)
@given(st.lists(masks, min_size=1, max_size=6))
def test_codes_written_at_once_are_those_written_alone(several):
    assert rle.strings([spans_of(mask) for mask in several], [mask.size for mask in several]) == [by_coco(mask)["counts"] for mask in several]


@settings(max_examples=300, deadline=None)
@given(masks)
def test_decode_undoes_encode(mask):
    decoded = rle.decode(rle.encode(mask))
    assert np.array_equal(decoded, mask)
    assert (decoded.dtype, decoded.flags.c_contiguous, decoded.flags.writeable) == (bool, True, True)


@settings(max_examples=100, deadline=None)
@given(masks)
def test_area(mask):
    assert rle.area(rle.encode(mask)) == mask.sum()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 1.0])
def test_large_masks(share):
    mask = np.random.default_rng(1).random((1201, 1603)) < share
    code = rle.encode(mask)
    assert code.counts == by_coco(mask)["counts"]
    assert np.array_equal(rle.decode(code), mask)


def test_any_memory_order_encodes_the_same():
    mask = np.random.default_rng(2).random((30, 40)) < 0.3
    assert rle.encode(np.asfortranarray(mask)) == rle.encode(mask) == rle.encode(np.repeat(mask, 2, axis=1)[:, ::2])


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 3, 4)])
def test_encode_refuses_what_is_no_mask(shape):
    with pytest.raises(ValueError, match="mask"):
        rle.encode(np.zeros(shape, dtype=bool))


# Codes that others wrote


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 6))
def test_runs_of_no_length_decode_as_in_pycocotools(counts, height):
    counts = [*counts, -sum(counts) % height + height]
    size = [height, sum(counts) // height]
    code = coco.frPyObjects({"size": size, "counts": counts}, *size)
    assert rle.from_uncompressed(counts, *size).counts == code["counts"]
    assert np.array_equal(rle.decode(Rle(*size, code["counts"])), coco.decode(code))


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=12), st.integers(1, 9), st.integers(1, 9))
def test_any_bytes_are_decoded_as_pycocotools_does_or_refused(code, height, width):
    try:
        ours = rle.decode(Rle(height, width, code))
    except DataError:
        return
    assert np.array_equal(ours, coco.decode({"size": [height, width], "counts": code}))


@settings(max_examples=300, deadline=None)
@given(masks, st.data())
def test_a_damaged_code_never_decodes_to_anything_but_a_mask(mask, data):
    code = bytearray(rle.encode(mask).counts)
    code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = rle.decode(Rle(*mask.shape, bytes(code)))
    except DataError:
        return
    assert decoded.shape == mask.shape


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (b"", "empty"),
        (b"o", "cut short"),
        (b"`4P", "cut short"),
        (b"!", "character"),
        (b"0\x000", "character"),
        (b"\xff", "character"),
        (b"4", "sum to 4"),
        (b"?N", "negative"),
        (b"oooooooo0", "35 bits"),
        (b"oooooo7", "longer than the bitmap"),
    ],
)
def test_codes_that_pycocotools_would_trust(code, why):
    with pytest.raises(DataError, match=why):
        rle.decode(Rle(4, 4, code))


def test_predictions_raise_their_own_error():
    with pytest.raises(PredictionError):
        rle.decode(Rle(4, 4, b"4"), PredictionError)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (-4, -4), (2**30, 2**30)])
def test_bitmaps_that_cannot_be_are_refused_before_memory_is_asked_for(height, width):
    with pytest.raises(DataError, match="pixels are possible"):
        rle.decode(Rle(height, width, b"0"))


# COCO dicts


@pytest.mark.parametrize("kind", ["str", "bytes", "list"])
def test_from_coco_takes_every_form(kind):
    mask = np.random.default_rng(3).random((5, 7)) < 0.4
    counts = {"str": by_coco(mask)["counts"].decode(), "bytes": by_coco(mask)["counts"], "list": rle.runs(rle.encode(mask)).tolist()}[kind]
    code = rle.from_coco({"size": [5, 7], "counts": counts}, 5, 7)
    assert np.array_equal(rle.decode(code), mask)


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"size": [4, 4]},
        {"counts": "0"},
        {"size": 16, "counts": "04"},
        {"size": [4], "counts": "04"},
        {"size": ["4", "4"], "counts": "04"},
        {"size": [4.0, 4.0], "counts": "04"},
        {"size": [True, 16], "counts": "04"},
        {"size": [4, 4], "counts": None},
        {"size": [4, 4], "counts": 16},
        {"size": [4, 4], "counts": "é"},
        {"size": [4, 4], "counts": "\ud800"},
        {"size": [4, 4], "counts": [3, 14]},
        {"size": [4, 4], "counts": [-1, 17]},
        {"size": [4, 4], "counts": [8.0, 8.0]},
        {"size": [4, 4], "counts": [True, 15]},
        {"size": [4, 4], "counts": ["16"]},
        {"size": [4, 4], "counts": [[16]]},
        {"size": [4, 4], "counts": [{}]},
        {"size": [4, 4], "counts": [2**70]},
        {"size": [4, 4], "counts": [2**63, -1]},
        {"size": [4, 4], "counts": [2**64 - 1, 17]},
        {"size": [4, 4], "counts": []},
        {"size": [2**31, 2**31], "counts": []},
        ["size", "counts"],
        "size counts",
    ],
    ids=repr,
)
def test_from_coco_refuses(obj):
    with pytest.raises(BenchError) as caught:
        rle.from_coco(obj, error=PredictionError)
    assert type(caught.value) is PredictionError


def test_from_coco_refuses_another_size():
    with pytest.raises(DataError, match="states 4 rows and 5 columns where 5 and 4"):
        rle.from_coco({"size": [4, 5], "counts": [20]}, 5, 4)


def test_crowd_regions_of_refcoco(refcoco_goldens):
    crowds = [ref for ref in refcoco_goldens.expected["refs"].values() if isinstance(ref["segmentation"], dict)]
    assert crowds
    for ref in crowds:
        crowd, size = ref["segmentation"], (ref["height"], ref["width"])
        expected = coco.decode(coco.frPyObjects(crowd, *size))
        assert np.array_equal(rle.decode(rle.from_coco(crowd, *size)), expected)
