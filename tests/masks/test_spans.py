"""Spans against the masks that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ldznet_bench.masks.spans import NOTHING, SpansOfMany, StoredMask, area, filled, shared, spans_of, spans_of_bits, spans_of_stored, united

shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@st.composite
def several(draw):
    shape = draw(shapes)
    return [draw(hnp.arrays(bool, shape)) for _ in range(draw(st.integers(2, 5)))]


def bits(mask):
    return np.packbits(mask.ravel(), bitorder="little")


def begins_and_ends(mask):
    """Pixel by pixel."""
    column_major, found, before = mask.T.ravel().tolist(), [], False
    for position, value in enumerate([*column_major, False]):
        if value != before:
            found.append(position)
        before = value
    return found


@settings(max_examples=200, deadline=None)
@given(several())
def test_spans_their_mask_and_its_area(masks):
    many = SpansOfMany.of(masks)
    assert len(many) == len(masks)
    for number, mask in enumerate(masks):
        spans = spans_of(mask)
        assert spans.tolist() == many[number].tolist() == begins_and_ends(mask)
        assert area(spans) == mask.sum()
        assert np.array_equal(filled(spans, *mask.shape), mask)
    found = spans_of_bits([bits(mask) for mask in masks], *masks[0].shape)
    assert [spans.tolist() for spans in found] == [begins_and_ends(mask) for mask in masks]


@pytest.mark.parametrize("width", [1, 63, 64, 65, 127, 128, 129, 200])
def test_rows_of_bits_end_anywhere_in_a_word(width):
    draw = np.random.default_rng(width)
    for height in (1, 2, 7, 64):
        masks = [draw.random((height, width)) < share for share in (0, 0.02, 0.5, 0.98, 1)]
        found = spans_of_bits([bits(mask) for mask in masks], height, width)
        assert [spans.tolist() for spans in found] == [begins_and_ends(mask) for mask in masks]


def test_stored_masks_of_several_sizes_find_their_spans_together():
    draw = np.random.default_rng(0)
    masks = [draw.random(((5, 9), (9, 5), (1, 130))[number % 3]) < 0.4 for number in range(40)]
    stored = [StoredMask(mask.shape, bits=bits(mask)) if number % 4 else StoredMask(mask.shape, spans_of(mask)) for number, mask in enumerate(masks)]
    assert [spans.tolist() for spans in spans_of_stored(stored)] == [begins_and_ends(mask) for mask in masks]
    assert all(np.array_equal(its.pixels, mask) for its, mask in zip(stored, masks, strict=True))


def test_a_stored_mask_of_nothing():
    assert not StoredMask((3, 4), NOTHING).pixels.any()
    assert spans_of_stored([StoredMask((3, 4), NOTHING)])[0].size == 0


@settings(max_examples=300, deadline=None)
@given(several())
def test_what_masks_share_is_counted_as_pixels_are(masks):
    other, *rest = masks
    (found,) = shared([SpansOfMany.of(rest)], [spans_of(other)])
    assert found == ([int(mask.sum()) for mask in rest], [int((mask & other).sum()) for mask in rest], int(other.sum()))


@settings(max_examples=200, deadline=None)
@given(st.lists(several(), min_size=1, max_size=5))
def test_pairs_counted_at_once_are_those_counted_alone(pairs):
    masks, others = [SpansOfMany.of(rest) for _, *rest in pairs], [spans_of(other) for other, *_ in pairs]
    assert shared(masks, others) == [shared([its], [other])[0] for its, other in zip(masks, others, strict=True)]


def test_pairs_of_the_largest_masks_do_not_touch():
    whole = np.array([0, 2**28])
    masks, others = [SpansOfMany(whole, np.array([0, 2]))] * 3, [whole, np.array([], np.int64), np.array([2**28 - 1, 2**28])]
    assert shared(masks, others) == [([2**28], [2**28], 2**28), ([2**28], [0], 0), ([2**28], [1], 1)]


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks(value):
    mask = np.full((3, 4), value)
    (found,) = shared([SpansOfMany.of([~mask, mask])], [spans_of(mask)])
    assert found == ([12 * (not value), 12 * value], [0, 12 * value], 12 * value)


def test_a_mask_in_any_memory_order():
    mask = np.random.default_rng(0).random((30, 40)) < 0.3
    assert spans_of(np.asfortranarray(mask)).tolist() == spans_of(mask).tolist()


@settings(max_examples=300, deadline=None)
@given(several())
def test_the_union_of_several(masks):
    assert united([spans_of(mask) for mask in masks]).tolist() == spans_of(np.logical_or.reduce(masks)).tolist()
    assert united([]).tolist() == []


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(bool, shapes), *[st.integers(0, 3)] * 4)
def test_a_mask_that_is_background_but_for_a_box(inner, left, right, upper, lower):
    # No margin: the box meets that border of the whole; otherwise one row or column of background is the box's own.
    whole = np.pad(inner, ((upper, lower), (left, right)))
    corner = (max(left - 1, 0), max(upper - 1, 0))
    box = whole[corner[1] : whole.shape[0] - max(lower - 1, 0), corner[0] : whole.shape[1] - max(right - 1, 0)]
    assert spans_of(box, corner, whole.shape[0]).tolist() == spans_of(whole).tolist()
