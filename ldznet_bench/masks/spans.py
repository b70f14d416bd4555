"""A mask as spans: where its runs of pixels begin and end down the columns. What masks share then costs by their outlines, not by their areas.

Spans are int64 (2n,), strictly ascending: the begin and the end of each run by turns, as column-major positions (``column * height + row``). COCO's
run-length codes are the differences of these numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Spans = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]
NOTHING: Spans = np.empty(0, dtype=np.int64)
_ROOM = 32  # bits for positions within a mask, which has at most 2^28 pixels
_TOGETHER = 8  # masks at once: of 640x480 they are 300 KB as bits, and stay in the processor's cache


def spans_of(mask: Mask, corner: tuple[int, int] = (0, 0), height: int | None = None) -> Spans:
    """The spans of a mask, or of one that is all background but for a box.

    Args:
        mask: bool (h, w), h and w at least 1, in any memory order: the whole mask, or the box. The border of a box is background too, except
            where it is the border of the whole.
        corner: left column and upper row of the box.
        height: rows of the whole; None for those of `mask`.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"expected a non-empty (h, w) mask, got shape {mask.shape}")
    mask = np.ascontiguousarray(mask, dtype=np.bool_)
    (rows, width), (left, upper) = mask.shape, corner
    height = rows if height is None else height
    # Changes down the columns are found in row-major order and sorted: no transposed copy.
    changes = np.flatnonzero(mask[1:] != mask[:-1])
    row = changes // width
    column = changes - row * width
    across = np.flatnonzero(mask[0, 1:] != mask[-1, :-1])  # from the foot of a column to the head of the next
    ends = np.array([0] * bool(mask[0, 0]) + [width] * bool(mask[-1, -1]), dtype=np.int64)
    spans: Spans = np.concatenate((column * height + row + (upper + 1), (across + 1) * height, ends * height))
    spans += left * height
    spans.sort()
    return spans


def spans_of_bits(many: Sequence[Bits], height: int, width: int) -> list[Spans]:
    """The spans of masks of one size that have one bit a pixel, at half of what `spans_of` takes for those of a byte a pixel.

    Args:
        many: uint8 (⌈height * width / 8⌉,) each, at least one: the pixels row by row, the first one in the lowest bit, as
            ``np.packbits(mask.ravel(), bitorder="little")`` gives them; what follows the last pixel is 0.
        height: rows, at least 1.
        width: columns, at least 1.
    """
    pixels = height * width
    words = np.zeros((len(many), pixels // 64 + 2), dtype="<u8")
    octets = words.view(np.uint8)
    for number, bits in enumerate(many):
        octets[number, : bits.size] = bits
    mask, changes = _changes_down(words, pixels, width)
    row = changes // width
    foot = pixels - width
    first, last = (_bools(octets[:, start >> 3 : (start + width + 7) >> 3])[:, start & 7 :][:, :width] for start in (0, foot))
    across = np.flatnonzero(first[:, 1:] != last[:, :-1])  # from the foot of a column to the head of the next
    after = across // (width - 1 or 1)
    begun, open_ended = np.flatnonzero(first[:, 0]), np.flatnonzero(last[:, -1])
    places = (
        (mask << _ROOM) + (changes - row * width) * height + row + 1,
        (after << _ROOM) + (across - after * (width - 1) + 1) * height,
        begun << _ROOM,
        (open_ended << _ROOM) + pixels,
    )
    found = np.concatenate(places)
    found.sort()
    stops = np.searchsorted(found, np.arange(1, len(many) + 1) << _ROOM).tolist()
    found &= (1 << _ROOM) - 1
    return [found[start:stop] for start, stop in itertools.pairwise((0, *stops))]


def _changes_down(words: npt.NDArray[np.uint64], pixels: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which masks, and which of their pixels in row-major order, differ from the pixel below.

    Args:
        words: (n, ⌊pixels / 64⌋ + 2), a mask each.
        pixels: of a mask.
        width: of its rows.
    """
    compared = pixels - width  # nothing is below the last row
    used, (skipped, shift) = -(-compared // 64), divmod(width, 64)
    changed = words[:, skipped : skipped + used] >> np.uint64(shift)  # of each pixel the one a row further down
    if shift:
        changed |= words[:, skipped + 1 : skipped + 1 + used] << np.uint64(64 - shift)
    changed ^= words[:, :used]
    if compared & 63:
        changed[:, -1] &= np.uint64((1 << (compared & 63)) - 1)
    flat = changed.ravel()
    places = np.flatnonzero(flat != 0)  # comparing first is faster than looking for what is not 0
    bits = np.flatnonzero(_bools(flat[places].view(np.uint8)))
    found = (places[bits >> 6] << 6) + (bits & 63)
    begins = np.arange(len(words) + 1) * (used << 6)
    mask = np.repeat(np.arange(len(words)), np.diff(np.searchsorted(found, begins)))
    return mask, found - begins[mask]


def _bools(bits: Bits) -> npt.NDArray[np.bool_]:
    return np.unpackbits(bits, axis=-1, bitorder="little").view(np.bool_)


def united(many: Sequence[Spans]) -> Spans:
    """The spans of the union of several masks of one size, which may be none."""
    events = np.concatenate([NOTHING, *many]) << 1
    events[1::2] |= 1  # an end
    events.sort()
    inside = np.cumsum(1 - 2 * (events & 1)) > 0
    events >>= 1
    last = np.append(events[1:] != events[:-1], True)[: events.size]  # of those at its position
    events, inside = events[last], inside[last]
    spans: Spans = events[inside != np.concatenate(((False,), inside[:-1]))[: inside.size]]
    return spans


def filled(toggles: Spans, height: int, width: int) -> Mask:
    """The mask whose value changes at each of some positions, its spans say: bool (height, width), C-contiguous, writable."""
    toggles = toggles[: np.searchsorted(toggles, height * width)]
    # Parity is carried down the columns, eight at a time: accumulating 64-bit words costs 43 µs at 640x480, bytes 650 µs.
    padded = np.zeros((height, -(-width // 8) * 8), dtype=np.uint8)
    column, row = np.divmod(toggles, height)
    padded[row, column] = 1
    padded[0, :width] = np.searchsorted(toggles, np.arange(width) * height, side="right") & 1
    words = padded.view(np.uint64)
    np.bitwise_xor.accumulate(words, axis=0, out=words)
    return np.ascontiguousarray(padded[:, :width]).view(np.bool_)


def area(spans: Spans) -> int:
    """How many pixels spans cover."""
    return int(spans[1::2].sum() - spans[::2].sum())


@dataclass(frozen=True, slots=True, eq=False)
class StoredMask:
    """A mask as it was stored, by its spans or as bits, one of which is given; what counting asks for is made of it then.

    Attributes:
        shape: (rows, columns).
        spans: int64 (2n,).
        bits: as `spans_of_bits` takes them.
    """

    shape: tuple[int, int]
    spans: Spans | None = None
    bits: Bits | None = None

    @property
    def pixels(self) -> Mask:
        """Bool (rows, columns)."""
        height, width = self.shape
        if self.spans is not None:
            return filled(self.spans, height, width)
        return _bools(cast(Bits, self.bits))[: height * width].reshape(height, width)


def spans_of_stored(masks: Sequence[StoredMask]) -> list[Spans]:
    """The spans of several masks, found together for those of one size."""
    found = [NOTHING if mask.spans is None else mask.spans for mask in masks]
    alike: dict[tuple[int, int], list[int]] = {}
    for place, mask in enumerate(masks):
        if mask.bits is not None:
            alike.setdefault(mask.shape, []).append(place)
    for shape, places in alike.items():
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            for place, spans in zip(some, spans_of_bits([cast(Bits, masks[place].bits) for place in some], *shape), strict=True):
                found[place] = spans
    return found


@dataclass(frozen=True, slots=True, eq=False)
class SpansOfMany:
    """The spans of several masks of one size, one after the other.

    Attributes:
        spans: int64 (2n,).
        ends: int64 (k + 1,): mask i has ``spans[ends[i]:ends[i + 1]]``.
    """

    spans: Spans
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> SpansOfMany:
        """The spans of k masks, at least one."""
        return cls.joined([spans_of(mask) for mask in masks])

    @classmethod
    def joined(cls, each: Sequence[Spans]) -> SpansOfMany:
        """The same from the spans of each, at least one."""
        return cls(np.concatenate(each), np.cumsum([0, *map(len, each)]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> Spans:
        return self.spans[self.ends[number] : self.ends[number + 1]]


class Shared(NamedTuple):
    """Pixels of one or more masks of a size, and of another mask.

    Attributes:
        areas: of each of the masks.
        both: how many pixels of each the other mask has too.
        other: of the other mask.
    """

    areas: list[int]
    both: list[int]
    other: int


def shared(masks: Sequence[SpansOfMany], others: Sequence[Spans]) -> list[Shared]:
    """What masks share with another one, for several such pairs at once: so short are spans that calls cost more than counting.

    Args:
        masks: of each pair; at least one pair.
        others: spans of the other mask, of the same size within a pair.
    """
    counts, lengths, other_lengths = ([len(one) for one in each] for each in (masks, (its.spans for its in masks), others))
    places = np.arange(len(masks), dtype=np.int64) << _ROOM  # each pair lies behind the one before
    spans = np.concatenate([its.spans for its in masks]) + np.repeat(places, lengths)
    other = np.concatenate(others) + np.repeat(places, other_lengths)
    # Begins below zero and ends above: what their sum leaves is the pixels between them.
    signed = other.copy()
    np.negative(signed[::2], out=signed[::2])
    before = _sums(signed)
    passed = np.searchsorted(other, spans, side="right")
    # Pixels of the other mask ahead of each position: its whole spans, and what is behind within an open one.
    ahead = before[passed] + (passed & 1) * spans
    # Where the masks of a pair end, in numbers of spans; the first begins where the last one of the pair before does.
    ends = np.concatenate([its.ends[1:] for its in masks]) + np.repeat(np.cumsum(lengths) - lengths, counts)
    areas, both = (np.diff(_sums(each[1::2] - each[::2])[ends >> 1], prepend=0).tolist() for each in (spans, ahead))
    other_areas = np.diff(before[np.cumsum(other_lengths)], prepend=0).tolist()
    stops = itertools.pairwise((0, *itertools.accumulate(counts)))
    return [Shared(areas[start:stop], both[start:stop], its) for (start, stop), its in zip(stops, other_areas, strict=True)]


def _sums(values: Spans) -> Spans:
    """What the first 0, 1, 2 … of some numbers sum up to."""
    sums = np.zeros(values.size + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
